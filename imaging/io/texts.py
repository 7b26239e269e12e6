"""Tables and settings that a person names: opened as text, or refused by what is really wrong with the path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from imaging.errors import InputError


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """A file of UTF-8 text, with or without a byte order mark, its line ends as they are.

    What is wrong with the text itself (`UnicodeDecodeError`, `csv.Error`) is left to the caller, who knows the format.

    Raises:
        InputError: ``input.missing`` if there is no such file; ``input.unreadable`` for a folder, or one that may not
            be read.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("input.missing", "there is no file of this name", where=path) from error
    except IsADirectoryError as error:
        text = "it is a folder, not a file"
        raise InputError("input.unreadable", text, where=path, remedy="give the file itself") from error
    except OSError as error:
        raise InputError("input.unreadable", error.strerror or str(error), where=path) from error
