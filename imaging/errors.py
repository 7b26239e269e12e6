"""Every refusal and every warning of nodulus: the classes here, the codes in ``error_codes.toml`` beside this file.

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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

Kind = Literal["input", "model", "output", "usage", "notice"]


@dataclass(frozen=True)
class CodeInfo:
    """One row of the table of codes: its kind, what it means and what to do next."""

    kind: Kind
    meaning: str
    remedy: str


class _Codes(Mapping[str, CodeInfo]):
    """The rows of ``error_codes.toml`` by code, read when the first is asked for, so that an import costs nothing."""

    def __getitem__(self, code: str) -> CodeInfo:
        return self._rows[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _rows(self) -> dict[str, CodeInfo]:
        import tomllib
        from importlib.resources import files

        rooms = tomllib.loads(files("imaging").joinpath("error_codes.toml").read_text(encoding="utf-8"))
        return {f"{room}.{what}": CodeInfo(**row) for room, rows in rooms.items() for what, row in rows.items()}


#: Code -> what it means.
CODES: Final[Mapping[str, CodeInfo]] = _Codes()


class ImagingError(Exception):
    """A job that cannot go on, with a code a program can act on and words a person can act on.

    Args:
        code: a key of `CODES`.
        message: what happened, naming the tag, the value and the expectation.
        where: the file or series it happened in, if there is one; what cannot be printed in its name is escaped.
        remedy: what to do next; by default the one in `CODES`.

    Raises:
        KeyError: if `code` is not in the table, so that no undocumented code can be raised.
    """

    def __init__(self, code: str, message: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        info = CODES[code]
        self.code = code
        self.message = message
        self.where = None if where is None else printable(where)
        self.remedy = info.remedy if remedy is None else remedy
        super().__init__(code, message)

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{self.code}: {self.message}{place}. Next: {self.remedy}"

    def to_json(self) -> dict[str, str | None]:
        """The error as plain values: code, message, where, remedy."""
        return {"code": self.code, "message": self.message, "where": self.where, "remedy": self.remedy}


def printable(name: str | Path) -> str:
    r"""A name that can be shown, logged and encoded: what cannot be printed is escaped.

    >>> printable("a\nb")
    'a\\nb'
    """
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


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
