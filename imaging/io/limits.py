"""How much of an input is read before it is refused as too large; every cap in one place.

Each cap can be set by an environment variable, for all of nodulus at once:

| variable             | field    | default        | what it caps                                                    |
|----------------------|----------|----------------|-----------------------------------------------------------------|
| NODULUS_MAX_VOXELS   | voxels   | 1,073,741,824  | voxels of one volume (1024 x 1024 x 800 are 838,860,800)        |
| NODULUS_MAX_BYTES    | bytes    | 17,179,869,184 | bytes of one file, or of one archive member when unpacked       |
| NODULUS_MAX_UNPACKED | unpacked | 68,719,476,736 | bytes of all members of one archive when unpacked               |
| NODULUS_MAX_FILES    | files    | 200,000        | files in a folder, members in an archive                        |
| NODULUS_MAX_RATIO    | ratio    | 400            | growth of an archive member over 4 GiB when unpacked            |
| NODULUS_MAX_NESTING  | nesting  | 1              | archives within archives (or within folders) that are looked into |
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from imaging.errors import InputError, UsageError

#: Below this size a member may grow by any factor: an evenly grey volume compresses a thousandfold.
RATIO_FREE_BYTES = 4 * 2**30


def _configured(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise UsageError("usage.option", f"{variable}={text!r} is not a whole number of 0 or more")
    return int(text)


@dataclass(frozen=True)
class Limits:
    """The caps; a field that is not given comes from its environment variable, else from the table above.

    Raises:
        UsageError: ``usage.option`` if an environment variable is not a whole number.

    >>> Limits(voxels=1000).voxels
    1000
    """

    voxels: int = field(default_factory=lambda: _configured("NODULUS_MAX_VOXELS", 2**30))
    bytes: int = field(default_factory=lambda: _configured("NODULUS_MAX_BYTES", 16 * 2**30))
    unpacked: int = field(default_factory=lambda: _configured("NODULUS_MAX_UNPACKED", 64 * 2**30))
    files: int = field(default_factory=lambda: _configured("NODULUS_MAX_FILES", 200_000))
    ratio: int = field(default_factory=lambda: _configured("NODULUS_MAX_RATIO", 400))
    nesting: int = field(default_factory=lambda: _configured("NODULUS_MAX_NESTING", 1))

    def check_voxels(self, *sizes: int, where: str | Path | None = None) -> None:
        """Refuse a volume of these sizes (slices, rows, columns ...) before anything of it is allocated.

        Raises:
            InputError: ``input.too_large`` if the product is over `voxels`.
        """
        count = 1
        for size in sizes:
            count *= int(size)
        if count > self.voxels:
            text = " x ".join(f"{int(size):,}" for size in sizes)
            raise InputError(
                "input.too_large",
                f"{text} are {count:,} voxels; the limit is {self.voxels:,} (NODULUS_MAX_VOXELS)",
                where=where,
            )

    def check_bytes(self, count: int, *, where: str | Path | None = None) -> None:
        """Refuse a file or member of this many bytes before it is read.

        Raises:
            InputError: ``input.too_large`` if the count is over `bytes`.
        """
        if count > self.bytes:
            raise InputError(
                "input.too_large",
                f"{count:,} bytes; the limit is {self.bytes:,} (NODULUS_MAX_BYTES)",
                where=where,
            )
