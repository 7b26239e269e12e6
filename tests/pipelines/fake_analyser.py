"""An analyser whose cases say what shall happen, and a batch run on it: ``python fake_analyser.py IN OUT [JOBS]``.

A case is a text file: ``ok``, ``refuse``, ``bug``, ``memory``, ``die``, ``full``, ``sleep SECONDS`` or ``uid SERIES``.
Every analysis adds a line with its case to ``log.txt`` beside the input folder.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from imaging.errors import InputError
from imaging.outputs.findings_csv import COLUMNS
from pipelines.result_folder import result_folder

LIMIT = 2_000_000


class FakeAnalyser:
    """Does what the case's text says."""

    def __init__(self, options: dict[str, Any]) -> None:
        if options.get("weights") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.weights_sha256 = str(options.get("weights"))

    def __call__(self, task: Any, *, on_stage: Any) -> tuple[int, str]:
        word, *rest = task.path.read_text().split()
        warnings.warn("Doe^Jane, said a library", stacklevel=1)
        logging.getLogger("a library").warning("Doe^Jane, said another")
        with (task.path.parent.parent / "log.txt").open("a") as log:
            log.write(f"{task.case} {os.environ.get('OMP_NUM_THREADS')}\n")
        on_stage("read", 0, 1)
        with result_folder(task.folder, overwrite=True) as unfinished:
            (unfinished / "findings.csv").write_text(
                ",".join(COLUMNS) + "\n" + ",".join([task.case] * len(COLUMNS)) + "\n"
            )
            on_stage("score", 1, 2)
            self._act(word, rest, unfinished)
            (unfinished / "report.json").write_text("{}")
        return 1, rest[0] if word == "uid" else f"uid of {task.case}"

    def _act(self, word: str, rest: list[str], unfinished: Path) -> None:
        if word == "refuse":
            raise InputError("lungs.none", "a head", where="here")
        if word == "bug":
            raise RuntimeError("Doe^Jane")
        if word == "memory":
            raise MemoryError
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "sleep":
            time.sleep(float(rest[0]))
        if word == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
            (unfinished / "big").write_bytes(bytes(2 * LIMIT))


def main() -> None:
    """Run a batch in this process, to be killed from outside."""
    import pipelines.batch.cases as cases
    from pipelines.batch.run import run_batch
    from pipelines.progress import Lines

    cases.list_series = lambda path: []
    jobs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = run_batch(
            sys.argv[1],
            sys.argv[2],
            formats=("csv",),
            jobs=jobs,
            reporter=Lines(sys.stderr),
            analyser="fake_analyser:FakeAnalyser",
            weights="w",
        )
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if summary.all_done else 3)


if __name__ == "__main__":
    main()
