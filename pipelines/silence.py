"""Keeps the libraries' own warnings out of terminals and logs: they can quote the header, a patient's name included."""

from __future__ import annotations

import logging
import warnings


def silence_libraries() -> None:
    """For a whole process, at its start: no Python warnings, no log records without a handler."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
