"""What a run writes while it goes: ``log.csv`` always, and TensorBoard's events where tensorboard is installed."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imaging.io.atomic import as_output_errors, write_text

if TYPE_CHECKING:
    from imaging.training.engine import Told

LOG = "log.csv"
EVENTS = "tensorboard"
COLUMNS: Final = (
    "step",
    "rate",
    "nodule",
    "attributes",
    "windows_per_s",
    "elapsed_s",
    "auroc_val_windows",
    "auroc_val_scans",
)


class RunLog:
    """The log of a run, one line every now and then and one a round.

    Args:
        folder: of the run.
        step: the run goes on after this step; lines of later steps, which a stopped run left, are dropped.

    Raises:
        OutputError: ``output.*``, here and wherever a line is written.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / LOG
        self._began_s = time.monotonic()
        kept = [",".join(COLUMNS), *(line for line in _lines(self._path) if int(line.partition(",")[0]) <= step)]
        write_text(self._path, "\n".join(kept) + "\n")
        with as_output_errors(folder / EVENTS):
            self._events = _events(folder)

    def told(self, told: Told) -> None:
        """A line of losses."""
        facts = {"rate": told.rate, "windows_per_s": round(told.windows_per_s, 2), **told.losses}
        self.write(told.step, facts)

    def write(self, step: int, facts: Mapping[str, Any]) -> None:
        """A line of what is known at a step."""
        known = {name: facts[name] for name in COLUMNS if facts.get(name) is not None} | {"step": step}
        with as_output_errors(self._path), self._path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writerow(known | {"elapsed_s": round(time.monotonic() - self._began_s, 1)})
        if self._events is not None:
            with as_output_errors(self._path.parent / EVENTS):  # a thread writes them, and tells at the next
                self._events.log({name: value for name, value in known.items() if name != "step"}, step=step)

    def close(self) -> None:
        """The run is over."""
        if self._events is not None:
            with as_output_errors(self._path.parent / EVENTS):
                self._events.finish()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []


def _events(folder: Path) -> Any:
    """accelerate's tracker for TensorBoard, or None where that is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from accelerate.tracking import TensorBoardTracker

    tracker = TensorBoardTracker(EVENTS, folder)
    tracker.start()
    return tracker
