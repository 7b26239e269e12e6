"""Keeps the libraries' own warnings out of terminals and logs: they can quote the header, a patient's name included."""

from __future__ import annotations

import errno
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any


def silence_libraries() -> None:
    """For a whole process, at its start: no Python warnings, no log records without a handler."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    if not isinstance(threading.excepthook, _ButForAFullDisk):
        threading.excepthook = _ButForAFullDisk(threading.excepthook)


class _ButForAFullDisk:
    """A library's thread that cannot write tells whoever waits for it; its traceback would say the same once more."""

    def __init__(self, others: Callable[[Any], Any]) -> None:
        self._others = others

    def __call__(self, told: Any) -> None:
        if not (isinstance(told.exc_value, OSError) and told.exc_value.errno in (errno.ENOSPC, errno.EDQUOT)):
            self._others(told)
