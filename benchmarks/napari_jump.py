"""How long a jump to a finding takes in the viewer, and how much memory a large CT with all its layers needs.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/napari_jump.py

Bars: median jump under 100 ms and peak memory under 3 GB on 512 x 512 x 400, main picture and both other planes drawn.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from imaging.findings import Finding, OperatingPoint, Report
from imaging.geometry import Grid, Volume
from imaging.geometry.volume import Origin
from imaging.provenance import Provenance

SERIES = "1.2.826.0.1.3680043.8.498.2"


def a_session(shape: tuple[int, int, int], count: int, rng: np.random.Generator):
    """A noise CT with every kind of layer and `count` findings at random places."""
    from pipelines.viewer.session import Session

    grid = Grid.from_spacing(shape, spacing_mm=(0.8, 0.7, 0.7), origin_mm=(-180.0, -180.0, -300.0))
    array = np.empty(shape, dtype=np.float32)
    for index in range(shape[0]):
        array[index] = rng.normal(-800, 60, shape[1:])
    volume = Volume(array, grid, origin=Origin(SERIES, "dicom"))
    low, high = grid.to_mm([10, 60, 60]), grid.to_mm(np.asarray(shape) - (10, 60, 60))
    points = rng.uniform(low, high, (count, 3))
    findings = tuple(
        Finding(n, f"{SERIES}.{n}", (float(p[0]), float(p[1]), float(p[2])), 1 - n / 100, 0.0, diameter_mm=8.0)
        for n, p in enumerate(points, start=1)
    )
    report = Report(
        SERIES, None, None, findings, (), OperatingPoint(0.5, None, ""), Provenance("", None, "", ""), grid.to_json()
    )
    heat = np.zeros(shape, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    for number, index in enumerate(np.rint(grid.to_index(points)).astype(int), start=1):
        box = tuple(slice(max(0, i - 8), i + 9) for i in index)
        heat[box] = 1.0
        labels[box] = number
    session = Session(volume, reviewer="benchmark")
    maps = {"lungs": (labels, grid), "nodules": (labels.copy(), grid), "grad_cam": (heat, grid)}
    session.set_result(report, maps | {"similarity": (heat.copy(), grid)}, folder=Path(os.environ["NODULUS_HOME"]))
    return session


def peak_gb() -> float:
    """Peak resident memory of this process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def run(shape: tuple[int, int, int], count: int) -> dict[str, float]:
    """Open the window, jump through all findings twice, and measure until the pixels are drawn."""
    import napari
    from qtpy.QtWidgets import QApplication

    from pipelines.viewer.window import arrange, show

    imported = peak_gb()
    viewer = napari.Viewer(show=True)
    session = a_session(shape, count, np.random.default_rng(1))
    show(viewer, session)
    arrange(viewer)
    for _ in range(10):
        QApplication.processEvents()
    times, cpu = [], []
    for _ in range(2 * count):
        start, busy = time.perf_counter(), time.thread_time()
        session.step(1)
        QApplication.processEvents()
        cpu.append(1000 * (time.thread_time() - busy))
        times.append(1000 * (time.perf_counter() - start))
    tracemalloc.start()
    session.step(1)
    QApplication.processEvents()
    allocated = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    viewer.close()
    return {
        "median jump ms": statistics.median(times),
        "median jump CPU ms": statistics.median(cpu),
        "slowest jump ms": max(times),
        "peak GB": peak_gb(),
        "peak over import GB": peak_gb() - imported,
        "allocated in one jump MB": allocated,
    }


def main() -> None:
    """Print one line a number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 512, 512))
    parser.add_argument("--findings", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NODULUS_HOME"] = scratch
        for name, value in run(tuple(options.shape), options.findings).items():
            print(f"{name:28s} {value:8.2f}")


if __name__ == "__main__":
    main()
