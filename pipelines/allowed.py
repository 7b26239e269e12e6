"""Which numbers an option may have: one table for the command line, files of settings and callers of the pipelines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final

from imaging.errors import UsageError, printable


@dataclass(frozen=True)
class Allowed:
    """The numbers that an option may have; never one that is infinite or no number.

    Args:
        least: the smallest.
        most: the largest, None where there is none.
        whole: whether there are whole numbers only.
        above: whether it must be more than `least`.

    >>> str(Allowed(1, 255)), str(Allowed(0.0, whole=False, above=True))
    ('a whole number from 1 to 255', 'a number above 0')
    """

    least: float
    most: float | None = None
    whole: bool = True
    above: bool = False

    def __str__(self) -> str:
        start = (
            f"{'a whole number' if self.whole else 'a number'} {'above' if self.above else 'from'} {self.least:.10g}"
        )
        return start if self.most is None else f"{start} to {self.most:.10g}"

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or (self.whole and not isinstance(value, Integral)):
            return False
        number = value if isinstance(value, int) else float(value)
        enough = number > self.least if self.above else number >= self.least
        return enough and number < math.inf and (self.most is None or number <= self.most)

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not among them.

        Raises:
            UsageError: ``usage.option``.
        """
        if value not in self:
            raise self._refusal(name, repr(value))

    def read(self, name: str, text: str) -> int | float:
        """The number that a text writes.

        Raises:
            UsageError: ``usage.option`` for a text that is none of these numbers.

        >>> SEED.read("--seed", "7")
        7
        """
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            value = None
        if value is None or value not in self:
            raise self._refusal(name, printable(text))
        return value

    def _refusal(self, name: str, shown: str) -> UsageError:
        return UsageError("usage.option", f"{name} must be {self}, not {shown}")


COUNT: Final = Allowed(1)
#: What every generator of chance numbers here takes; the same for all, so that one seed can be used throughout.
SEED: Final = Allowed(0, 2**32 - 1)
SHARE: Final = Allowed(0.0, 1.0, whole=False)
MORE_THAN_0: Final = Allowed(0.0, whole=False, above=True)
#: Each finding has a number in the outlines' file, one byte a voxel.
FINDINGS: Final = Allowed(1, 255)
#: Transformer blocks are counted from 0; how many there are, the weights say.
BLOCK: Final = Allowed(0)
#: Of a bootstrap: fewer give no interval, and each keeps a curve in memory.
RESAMPLES: Final = Allowed(100, 100_000)
#: Of LIDC-IDRI.
READERS: Final = Allowed(1, 4)
#: Of LUNA16.
SUBSET: Final = Allowed(0, 9)
#: Windows to tune a text tower on: three quarters of them hold a nodule.
TUNED_WINDOWS: Final = Allowed(4)
