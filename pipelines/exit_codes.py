"""Every exit code of the ``nodulus`` command, in one table; the documentation and the tests are made from it."""

from __future__ import annotations

from enum import IntEnum

from imaging.errors import CODES, ImagingError


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    BUG = 1
    USAGE = 2
    CASES_FAILED = 3
    REFUSED = 4
    MODEL_MISSING = 5
    PEER_REFUSED = 6
    STOPPED = 130


#: Exit code -> when it is given.
MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; a CT without a finding is done too",
    Exit.BUG: "a bug in nodulus, or a result that cannot be written (disk full)",
    Exit.USAGE: "the command line asks for something that cannot be done",
    Exit.CASES_FAILED: "a batch went through, but some of its cases failed or were refused",
    Exit.REFUSED: "the input is refused; the code says why and what to do",
    Exit.MODEL_MISSING: "the weights are missing, changed or unsuitable",
    Exit.PEER_REFUSED: "another system (PACS) refused or did not answer",
    Exit.STOPPED: "stopped by Ctrl-C or SIGTERM; nothing half-written is left",
}

_BY_KIND: dict[str, Exit] = {
    "input": Exit.REFUSED,
    "model": Exit.MODEL_MISSING,
    "output": Exit.BUG,
    "usage": Exit.USAGE,
    "peer": Exit.PEER_REFUSED,
    "notice": Exit.BUG,
}


def exit_code_of(error: BaseException) -> Exit:
    """The exit code that an error ends a command with."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.STOPPED
    if isinstance(error, ImagingError):
        return _BY_KIND[CODES[error.code].kind]
    return Exit.BUG
