"""How long a jump to a finding takes in the viewer, and how much memory a large CT with all its layers needs.

    xvfb-run -a -s "-screen 0 1600x1200x24" python -m benchmarks.napari_jump

Bars: a jump under 100 ms and peak memory under 3 GB on 512 x 512 x 400, main picture and both other planes drawn.

Without a graphics card the processor draws the picture. It is told to do so in the window's own thread, so that the
time of that thread holds everything that a jump costs, and what other programs take of the machine meanwhile does not
count. Time on the clock is given beside it.
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
from typing import Any

import numpy as np

from benchmarks.results_table import markdown_table, replace_section
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


class Share:
    """Processor time that the window's thread spends in one function."""

    def __init__(self, owner: Any, name: str) -> None:
        self.ms = 0.0
        inner = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*args, **options)
            finally:
                self.ms += 1000 * (time.thread_time() - start)

        setattr(owner, name, timed)


def jump_ms(session: Any) -> float:
    """Processor time of the next jump, until its pixels are drawn."""
    from qtpy.QtWidgets import QApplication

    start = time.thread_time()
    session.step(1)
    QApplication.processEvents()
    return 1000 * (time.thread_time() - start)


def with_less(viewer: Any, session: Any, count: int) -> dict[str, float]:
    """What a jump costs when only the CT is shown, and when nothing is: what no better drawing of results can save."""
    numbers = {}
    for name, roles in (("only the CT shown", ("ct",)), ("no layer shown", ())):
        for layer in viewer.layers:
            layer.visible = layer.metadata["nodulus"] in roles
        numbers[f"a jump with {name}, processor, ms"] = statistics.median(jump_ms(session) for _ in range(count))
    return numbers


def run(shape: tuple[int, int, int], count: int) -> dict[str, float]:
    """Open the window, jump through all findings three times, and measure until the pixels are drawn."""
    import napari
    from qtpy.QtWidgets import QApplication
    from vispy.gloo.wrappers import BaseGlooFunctions
    from vispy.scene import SceneCanvas

    from pipelines.viewer.ortho import PlaneView
    from pipelines.viewer.window import arrange, show

    drawn, planes = Share(SceneCanvas, "_draw_scene"), Share(PlaneView, "paintEvent")
    filled = Share(BaseGlooFunctions, "flush")
    imported = peak_gb()
    viewer = napari.Viewer(show=True)
    session = a_session(shape, count, np.random.default_rng(1))
    show(viewer, session)
    arrange(viewer)
    for _ in range(10):
        QApplication.processEvents()
    clock, whole, events, picture, others, pixels = [], [], [], [], [], []
    for _ in range(3 * count):
        drawn.ms = planes.ms = filled.ms = 0.0
        start, busy = time.perf_counter(), time.thread_time()
        session.step(1)
        told = time.thread_time()
        QApplication.processEvents()
        whole.append(1000 * (time.thread_time() - busy))
        events.append(1000 * (told - busy))
        clock.append(1000 * (time.perf_counter() - start))
        picture.append(drawn.ms)
        others.append(planes.ms)
        pixels.append(filled.ms)
    numbers = with_less(viewer, session, count)
    tracemalloc.start()
    session.step(1)
    QApplication.processEvents()
    allocated = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    viewer.close()
    first = count  # the first round fills caches
    median = {
        "a jump, processor": whole,
        "of which slicing and events": events,
        "of which preparing the picture": picture,
        "of which filling its pixels": pixels,
        "of which drawing the other planes": others,
    }
    rest = [all_ms - sum(parts) for all_ms, *parts in zip(whole, events, picture, pixels, others, strict=True)]
    median["of which the window's lists and composition"] = rest
    median["a jump, clock"] = clock
    return {f"{name}, ms": statistics.median(values[first:]) for name, values in median.items()} | {
        "slowest jump, processor, ms": max(whole[first:]),
        **numbers,
        "peak memory, GB": peak_gb(),
        "peak memory over the imports, GB": peak_gb() - imported,
        "allocated in one jump, MB": allocated,
        "the volume, MB": float(np.prod(shape)) * 4 / 1e6,
    }


def body(numbers: dict[str, float], shape: tuple[int, int, int], count: int) -> str:
    """The section of docs/results.md without its heading."""
    size = f"{shape[2]} x {shape[1]} x {shape[0]}"
    table = markdown_table(("what", "measured"), [(name, f"{value:.4g}") for name, value in numbers.items()])
    copied = numbers["allocated in one jump, MB"] > numbers["the volume, MB"] / 10
    return (
        f"Next finding in a noise CT of {size} with {count} findings, heat map, similarity, lungs and outlines; a "
        "window of 1500 x 950, picture and both other planes drawn by the processor (no graphics card), medians after "
        "a first round. Processor time is that of the window's thread with all drawing in it; the clock also counts "
        f"what other programs took of the machine.\n\n{table}\n"
        f"Bars: a jump under 100 ms: {'met' if numbers['a jump, processor, ms'] < 100 else 'missed'}; "
        f"memory under 3 GB: {'met' if numbers['peak memory, GB'] < 3 else 'missed'}; "
        f"no volume copied: {'missed' if copied else 'met'}.{what_stands_in_the_way(numbers)}"
    )


def what_stands_in_the_way(numbers: dict[str, float]) -> str:
    """Where the time goes that no change of the plugin can save; nothing where the bar is met."""
    if numbers["a jump, processor, ms"] < 100:
        return ""
    bare = numbers["a jump with no layer shown, processor, ms"]
    pixels = numbers["of which filling its pixels, ms"]
    return (
        f" What stands in the way: with no layer shown at all a jump costs {bare:.0f} ms (napari's events and scene, "
        "both other planes, Qt laying the picture and the panels over one another), and filling the pixels of the "
        f"picture {pixels:.0f} ms, about the same for each image on it whatever its blending and interpolation. A "
        "graphics card takes over the pixels and the laying over one another."
    )


def main() -> None:
    """Print the table, and write it into docs/results.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 512, 512))
    parser.add_argument("--findings", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args()
    os.environ["LP_NUM_THREADS"] = "0"  # Mesa's software renderer then draws in the calling thread
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NODULUS_HOME"] = scratch
        text = body(run(tuple(options.shape), options.findings), tuple(options.shape), options.findings)
    title = "Jump to a finding in the viewer"
    command = "Command: `python -m benchmarks.napari_jump --write` · seed 1 · data: noise"
    print(text)
    if options.write:
        replace_section("napari-jump", f"## {title}\n\n{text}\n\n{command}\n")


if __name__ == "__main__":
    main()
