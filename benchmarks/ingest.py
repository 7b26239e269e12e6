"""Benchmark of reading: one CT series, by nodulus and by its peers, time and memory side by side.

    python -m benchmarks.ingest [FOLDER] [--slices N] [--repeats N] [--syntax NAME ...] [--peer NAME ...] [--write]

Without FOLDER it makes its own series: 512 x 512, with noise as a scanner's, uncompressed and compressed. Each peer
runs in its own process, at its defaults: once on a tiny series (so that everything is imported), then on the series,
with the peak of its memory over that moment, then as often as asked for the median time. The disk's cache is warm.
Peers that are not installed are named as absent: ``pip install -e ".[bench]"`` brings them.

Bars: nodulus with all its checks at most 1.6 x the plain pydicom loop on uncompressed and 2.1 x SimpleITK on compressed
series, and at most 1.5 x the bytes of the float32 array. Only nodulus checks what it reads; times alone say nothing of
who is right.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Bars of the ratio to a peer, by whether the series is compressed.
BARS = {False: ("pydicom loop", 1.6), True: ("SimpleITK", 2.1)}
MEMORY_BAR = 1.5
SYNTAXES = ("explicit", "jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000")
SEED = 0


@dataclass(frozen=True)
class Run:
    """What one peer did: median seconds, by the clock and of the processors, and peak bytes over import; or why not."""

    seconds: float | None = None
    processor_seconds: float | None = None
    peak_bytes: int | None = None
    reason: str = ""


# --- the peers, each as its documentation reads a folder ------------------------------------------------------------


def _nodulus(folder: Path) -> Any:
    import imaging

    return imaging.read_volume(folder)


def _pydicom_loop(folder: Path) -> Any:
    import pydicom

    datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
    datasets.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    array = np.empty((len(datasets), datasets[0].Rows, datasets[0].Columns), dtype=np.float32)
    for plane, one in zip(array, datasets, strict=True):
        np.multiply(one.pixel_array, np.float32(one.RescaleSlope), out=plane)
        plane += np.float32(one.RescaleIntercept)
    return array


def _simpleitk(folder: Path) -> Any:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _dcm2niix(folder: Path) -> Any:
    import dcm2niix

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as output:
        return subprocess.run([dcm2niix.bin, "-z", "n", "-o", output, str(folder)], check=True, capture_output=True)


def _dicom2nifti(folder: Path) -> Any:
    import dicom2nifti

    with tempfile.TemporaryDirectory() as output:
        return dicom2nifti.dicom_series_to_nifti(str(folder), str(Path(output) / "ct.nii"), reorient_nifti=False)


def _monai(folder: Path) -> Any:
    from monai.transforms import LoadImage

    return LoadImage(reader="PydicomReader")(folder)


def _highdicom(folder: Path) -> Any:
    import highdicom
    import pydicom

    return highdicom.get_volume_from_series([pydicom.dcmread(path) for path in folder.iterdir()])


PEERS: dict[str, Callable[[Path], Any]] = {
    "nodulus": _nodulus,
    "pydicom loop": _pydicom_loop,
    "SimpleITK": _simpleitk,
    "dcm2niix": _dcm2niix,
    "dicom2nifti": _dicom2nifti,
    "MONAI PydicomReader": _monai,
    "highdicom": _highdicom,
}


# --- in the peer's own process --------------------------------------------------------------------------------------


def measure(peer: str, folder: Path, tiny: Path, repeats: int) -> None:
    """Read the series and print what it took, as one line of JSON."""
    read = PEERS[peer]
    try:
        read(tiny)
    except ImportError as error:
        print(json.dumps({"reason": f"absent ({error.name})"}))
        return
    except Exception as error:  # a peer may fail in any way on a tiny series and still read the real one
        print(f"{peer} on the tiny series: {error}", file=sys.stderr)
    base = _reset_peak()
    try:
        volume = read(folder)
        peak = _peak() - base
        del volume
        seconds, processor_seconds = [], []
        for _ in range(repeats):
            started, busy = time.perf_counter(), sum(os.times()[:4])
            volume = read(folder)
            seconds.append(time.perf_counter() - started)
            processor_seconds.append(sum(os.times()[:4]) - busy)
            del volume
    except Exception as error:
        print(json.dumps({"reason": f"fails: {type(error).__name__}: {error}"[:200]}))
        return
    run = Run(statistics.median(seconds), statistics.median(processor_seconds), peak)
    print(json.dumps(asdict(run)))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _reset_peak() -> int:
    """Forget the peak so far; what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    """The largest memory since the reset, or that of the largest child (which has nothing imported)."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return max(_status("VmHWM"), child + _status("VmRSS") if child else 0)


# --- in the caller's process -----------------------------------------------------------------------------------------


def make_series(folder: Path, slices: int, syntax: str) -> Path:
    """A series of a noisy cylinder of tissue around two of air, written by `imaging.simulation`."""
    from imaging.geometry import Grid, Volume
    from imaging.simulation.dicom_series import SeriesOptions, write_series

    rng = np.random.default_rng(SEED)
    size = 512
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    plane = np.where(rows**2 * 2 + columns**2 < 0.2, 40.0, -1000.0)
    plane[(rows**2 + (np.abs(columns) - 0.2) ** 2) < 0.02] = -850.0
    array = (plane + rng.normal(0, 15, (slices, size, size))).clip(-1024, 3071).astype(np.float32)
    grid = Grid.from_spacing(array.shape, spacing_mm=(1.25, 0.7, 0.7), origin_mm=(-180.0, -180.0, 0.0))
    # In order, because dicom2nifti takes shuffled instance numbers for several volumes.
    write_series(Volume(array, grid), folder, order="sorted", options=SeriesOptions(transfer_syntax=syntax))
    return folder


def run_peer(peer: str, folder: Path, tiny: Path, repeats: int) -> Run:
    """Measure a peer in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ingest", str(folder), "--child", peer, str(tiny)]
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    done = subprocess.run(
        [*command, "--repeats", str(repeats)],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return Run(reason=f"fails: {(done.stderr.strip().splitlines() or ['no output'])[-1]}"[:200])
    return Run(**json.loads(lines[-1]))


def table(runs: dict[str, Run], compressed: bool, array_bytes: int) -> tuple[str, str]:
    """The table of one series, and a sentence on the bars."""
    from benchmarks.results_table import markdown_table

    against, bar = BARS[compressed]
    rival = runs.get(against, Run()).seconds
    rows = []
    for peer, run in runs.items():
        if run.seconds is None or run.processor_seconds is None or run.peak_bytes is None:
            rows.append([peer, run.reason, "", "", ""])
            continue
        ratio = f"{run.seconds / rival:.2f}" if rival else ""
        times = [f"{run.seconds:.3f}", ratio, f"{run.processor_seconds:.2f}"]
        rows.append([peer, *times, f"{run.peak_bytes / array_bytes:.2f}"])
    header = ["reader", "seconds", f"ratio to {against}", "processor seconds", "peak memory / float32 array"]
    text = markdown_table(header, rows)
    ours = runs.get("nodulus", Run())
    if ours.seconds is None or ours.peak_bytes is None or not rival:
        return text, "The bars cannot be judged."
    ratio, memory = ours.seconds / rival, ours.peak_bytes / array_bytes
    kept = "kept" if ratio <= bar and memory <= MEMORY_BAR else "MISSED"
    return text, f"Bars {kept}: {ratio:.2f} of {bar} x {against}, memory {memory:.2f} of {MEMORY_BAR}."


def main() -> None:
    """Read the command line, make the series, run every peer and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="a folder that holds the files of one CT series (default: make one)"
    )
    parser.add_argument("--slices", type=int, default=140)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--syntax", nargs="+", default=list(SYNTAXES), help="transfer syntaxes of the series it makes")
    parser.add_argument("--peer", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results.md")
    parser.add_argument("--child", nargs=2, metavar=("PEER", "TINY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.child[0], options.folder, Path(options.child[1]), options.repeats)
        return
    if options.folder and not any(path.is_file() for path in options.folder.iterdir()):
        parser.error(f"no file lies in {options.folder} itself")
    sections = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for syntax in ["given"] if options.folder else options.syntax:
            tiny = make_series(work / "tiny" / syntax, 4, "explicit" if options.folder else syntax)
            folder = options.folder or make_series(work / syntax, options.slices, syntax)
            sections.append(_section(syntax, folder.resolve(), tiny, options))
            print(sections[-1], flush=True)
    if options.write:
        _write(sections, options)


def _section(syntax: str, folder: Path, tiny: Path, options: argparse.Namespace) -> str:
    import pydicom

    paths = [path for path in folder.iterdir() if path.is_file()]
    first = pydicom.dcmread(paths[0], stop_before_pixels=True)
    compressed = bool(first.file_meta.TransferSyntaxUID.is_compressed)
    runs = {peer: run_peer(peer, folder, tiny, options.repeats) for peer in options.peer}
    text, verdict = table(runs, compressed, len(paths) * first.Rows * first.Columns * 4)
    return f"### {first.file_meta.TransferSyntaxUID.name}, {len(paths)} slices\n\n{text}\n{verdict}\n"


def _write(sections: list[str], options: argparse.Namespace) -> None:
    from benchmarks.results_table import replace_section

    command = f"python -m benchmarks.ingest --slices {options.slices} --repeats {options.repeats}"
    what = (
        "One series of 512 x 512 slices, read by each program at its defaults; medians, warm cache, 2 cores. Seconds "
        "by the clock depend on what else the machine does; processor seconds, of all threads and children, hardly do."
    )
    body = "\n".join(sections)
    replace_section("ingest", f"## Reading a series\n\n{what}\n\n{body}\nCommand: `{command}`")


if __name__ == "__main__":
    main()
