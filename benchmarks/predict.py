"""Benchmark of the main job: ``nodulus predict`` from a path to all outputs, each stage's time and the peak of memory.

    python -m benchmarks.predict [PATH] [--cores N] [--repeats N] [--weights PATH] [--write]

The command runs in a process of its own, with N cores, start and imports included, and writes every format. A stage's
time runs from its first event to that of the next stage. Without PATH a phantom thorax of the size of an ordinary CT is
made first. The median run by total time is printed.

Bar: LIDC-IDRI-0001 (133 slices) as a zip on 2 cores, explanation included: at most 30 s and 2.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.results_table import Made, markdown_table, replace_section, section
from imaging.provenance import file_sha256
from pipelines.progress import STAGES

#: Seconds and bytes, on two cores, for the series named above.
BAR_S: Final = 30.0
BAR_BYTES: Final = 2.5e9
START: Final = "start and imports"
END: Final = "end"


@dataclass(frozen=True)
class Run:
    """One run: seconds a stage (in order), in all, of all cores; peak resident bytes; the result that it printed."""

    stages: dict[str, float]
    total_s: float
    cpu_s: float
    peak_bytes: int
    result: dict[str, Any]


def run_once(path: Path, *, cores: int, weights: str | None) -> Run:
    """Analyse `path` in a new process with `cores` cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pipelines.cli.main", "predict", str(path), "-o", f"{folder}/out", "--events"]
        command += ["--format", "sr,seg"] + (["--weights", weights] if weights else [])
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(allowed))}
        started = time.perf_counter()
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        ) as process:
            assert process.stdout is not None
            marks = [(time.perf_counter() - started, json.loads(line)) for line in process.stdout]
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        total = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"nodulus predict ended with {process.returncode}: {marks[-1][1] if marks else ''}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(_stage_times(marks, total), total, cpu_s, usage.ru_maxrss * 1024, marks[-1][1])


def _stage_times(marks: list[tuple[float, dict[str, Any]]], total_s: float) -> dict[str, float]:
    """From the first event of each stage to that of the next; what is before and after has its own line."""
    begins = {START: 0.0}
    for second, event in marks:
        begins.setdefault(event.get("stage", END), second)
    names = list(begins)
    ends = [*list(begins.values())[1:], total_s]
    return {name: end - begins[name] for name, end in zip(names, ends, strict=True)}


def table(run: Run) -> str:
    """The stages of a run as a Markdown table."""
    rows = [
        (STAGES[n].label if n in STAGES else n, f"{s:.1f}", f"{s / run.total_s:.0%}") for n, s in run.stages.items()
    ]
    return markdown_table(("stage", "seconds", "share"), [*rows, ("in all", f"{run.total_s:.1f}", "")])


def phantom(folder: Path) -> Path:
    """A phantom of 133 slices of 512 x 512 as DICOM."""
    from pipelines.demo import make_ct

    make_ct(folder / "phantom")
    return folder / "phantom"


def main() -> None:
    """Run, print and, if asked to, write into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.path or phantom(Path(folder))
        runs = [run_once(path, cores=options.cores, weights=options.weights) for _ in range(options.repeats)]
        sha256 = file_sha256(path) if path.is_file() else runs[0].result["report"]["provenance"]["input_sha256"]
    median = sorted(runs, key=lambda run: run.total_s)[len(runs) // 2]
    report = median.result["report"]
    slices, rows, columns = report["grid"]["shape"]
    body = (
        f"`nodulus predict` from `{path.name}` ({slices} slices of {rows} x {columns}) to all outputs on "
        f"{options.cores} cores, median of {options.repeats} runs.\n\n{table(median)}\n"
        f"All cores worked {median.cpu_s:.1f} s. Peak memory {median.peak_bytes / 1e9:.2f} GB; runs took "
        f"{', '.join(f'{run.total_s:.1f}' for run in runs)} s. {len(report['findings'])} findings."
    )
    if options.cores == 2:
        met = median.total_s <= BAR_S and median.peak_bytes <= BAR_BYTES
        body += f" Bar: {BAR_S:.0f} s and {BAR_BYTES / 1e9:.1f} GB: {'met' if met else 'not met'}."
    provenance = report["provenance"]
    data = path.name if options.path else "a phantom"
    command = f"python -m benchmarks.predict {data if options.path else ''} --cores {options.cores}"
    made = Made(command, 0, provenance["weights_name"], provenance["weights_sha256"], data, sha256)
    text = section("Time and memory of one CT", body, made)
    print(text)
    if options.write:
        replace_section("predict", text)


if __name__ == "__main__":
    main()
