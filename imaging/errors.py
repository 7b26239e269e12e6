"""Every refusal and every warning of nodulus, in one table.

The tree of errors::

    ImagingError                 anything that stops a job; carries .code, .message, .where, .remedy
    ├── InputError               the input is refused (exit code 4)
    ├── ModelError               the weights or the model cannot be used (exit code 5)
    ├── OutputError              a result cannot be written (exit code 1, nothing half-written is left)
    └── UsageError               the caller asked for something impossible (exit code 2)

A `Notice` is the other half: the job went on, but something was repaired, dropped or is in doubt. Codes of both kinds
live in `CODES`; help texts, documentation and tests are made from that table. A code is ``room.what``, lower case.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["input", "model", "output", "usage", "notice"]


@dataclass(frozen=True)
class CodeInfo:
    """One row of the table of codes: its kind, what it means and what to do next."""

    kind: Kind
    meaning: str
    remedy: str


CODES: Final[dict[str, CodeInfo]] = {}


def _register(kind: Kind, rows: dict[str, tuple[str, str]]) -> None:
    for code, (meaning, remedy) in rows.items():
        if code in CODES:
            raise RuntimeError(f"code {code} is registered twice")
        CODES[code] = CodeInfo(kind, meaning, remedy)


class ImagingError(Exception):
    """A job that cannot go on, with a code a program can act on and words a person can act on.

    Args:
        code: a key of `CODES`.
        message: what happened, naming the tag, the value and the expectation.
        where: the file or series it happened in, if there is one.
        remedy: what to do next; by default the one in `CODES`.

    Raises:
        KeyError: if `code` is not in the table, so that no undocumented code can be raised.
    """

    def __init__(
        self, code: str, message: str, *, where: str | Path | None = None, remedy: str | None = None
    ) -> None:
        info = CODES[code]
        self.code = code
        self.message = message
        self.where = None if where is None else str(where)
        self.remedy = info.remedy if remedy is None else remedy
        super().__init__(code, message)

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{self.code}: {self.message}{place}. Next: {self.remedy}"

    def to_json(self) -> dict[str, str | None]:
        """The error as plain values: code, message, where, remedy."""
        return {"code": self.code, "message": self.message, "where": self.where, "remedy": self.remedy}


class InputError(ImagingError):
    """The input is refused; another input may be fine."""


class ModelError(ImagingError):
    """The model or its weights are missing, changed or unsuitable."""


class OutputError(ImagingError):
    """A result could not be written; nothing half-written is left behind."""


class UsageError(ImagingError):
    """The request itself cannot be met, whatever the input."""


@dataclass(frozen=True)
class Notice:
    """One repair, drop or doubt: a code of `CODES` (kind ``notice``) and a sentence with the facts."""

    code: str
    message: str

    def __post_init__(self) -> None:
        if CODES[self.code].kind != "notice":
            raise ValueError(f"{self.code} is not the code of a notice")

    def to_json(self) -> dict[str, str]:
        """The notice as plain values."""
        return {"code": self.code, "message": self.message}


# --- usage -----------------------------------------------------------------------------------------------------------
_register(
    "usage",
    {
        "usage.option": ("an option has a value that cannot be used", "see --help for the allowed values"),
    },
)

# --- geometry --------------------------------------------------------------------------------------------------------
_register(
    "input",
    {
        "geometry.singular": (
            "the affine does not span three dimensions",
            "export the series again from its source; a grid with zero spacing has no place in space",
        ),
    },
)
