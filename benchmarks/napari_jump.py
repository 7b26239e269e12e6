"""How long a jump to a finding takes in the viewer, and how much memory a large CT with all its layers needs.

    xvfb-run -a -s "-screen 0 1600x1200x24" python -m benchmarks.napari_jump

Bars: a jump under 100 ms on the clock and peak memory under 3 GB on 512 x 512 x 400, main picture and both other planes
drawn.

Without a graphics card the processor draws the picture, with threads of its own beside the window's: the bar is held
against the clock of such a run, which is what a reader waits. A second run tells where the time goes. There the picture
is drawn in the window's own thread, so that the time of that thread holds everything that a jump costs, and what other
programs take of the machine meanwhile does not count.
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
#: Rounds through all findings, of which the first fills caches.
ROUNDS = 5
#: The figure of the bar.
JUMP = "a jump, clock, ms"
BAR_MS = 100


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


def opened(shape: tuple[int, int, int], count: int) -> tuple[Any, Any]:
    """A viewer in its window, and the session that it shows."""
    import napari
    from qtpy.QtWidgets import QApplication

    from pipelines.viewer.window import arrange, show

    viewer = napari.Viewer(show=True)
    session = a_session(shape, count, np.random.default_rng(1))
    show(viewer, session)
    arrange(viewer)
    for _ in range(10):
        QApplication.processEvents()
    return viewer, session


def wait(shape: tuple[int, int, int], count: int) -> dict[str, float]:
    """What a reader waits, on the clock, with the renderer's own threads: until every pixel is drawn."""
    from qtpy.QtWidgets import QApplication
    from vispy.gloo import gl

    viewer, session = opened(shape, count)
    waited = []
    for _ in range(ROUNDS * count):
        start = time.perf_counter()
        session.step(1)
        QApplication.processEvents()
        gl.glFinish()
        waited.append(1000 * (time.perf_counter() - start))
    viewer.close()
    waited = waited[count:]  # the first round fills caches
    return {JUMP: statistics.median(waited), "one jump in ten takes longer than, ms": float(np.quantile(waited, 0.9))}


def run(shape: tuple[int, int, int], count: int) -> dict[str, float]:
    """Where the time goes, of the window's thread; LP_NUM_THREADS=0 keeps all drawing in it."""
    import napari  # noqa: F401 - its memory counts among the imports
    from qtpy.QtWidgets import QApplication
    from vispy.gloo.wrappers import BaseGlooFunctions
    from vispy.scene import SceneCanvas

    from pipelines.viewer.ortho import PlaneView

    drawn, planes = Share(SceneCanvas, "_draw_scene"), Share(PlaneView, "paintEvent")
    filled = Share(BaseGlooFunctions, "flush")
    imported = peak_gb()
    viewer, session = opened(shape, count)
    whole, events, picture, others, pixels = [], [], [], [], []
    for _ in range(ROUNDS * count):
        drawn.ms = planes.ms = filled.ms = 0.0
        busy = time.thread_time()
        session.step(1)
        told = time.thread_time()
        QApplication.processEvents()
        whole.append(1000 * (time.thread_time() - busy))
        events.append(1000 * (told - busy))
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
        "window of 1500 x 950, picture and both other planes drawn by the processor (no graphics card), "
        f"{len(os.sched_getaffinity(0))} cores, medians of {(ROUNDS - 1) * count} jumps after a first round. "
        "The clock counts all that a reader waits "
        "for, the picture drawn by the renderer's own threads. Processor time, in a second run, is that of the "
        f"window's thread with all drawing in it.\n\n{table}\n"
        f"Bars: a jump under {BAR_MS} ms: {'met' if numbers[JUMP] < BAR_MS else 'missed'}; "
        f"memory under 3 GB: {'met' if numbers['peak memory, GB'] < 3 else 'missed'}; "
        f"no volume copied: {'missed' if copied else 'met'}.{where_the_time_goes(numbers)}"
    )


def where_the_time_goes(numbers: dict[str, float]) -> str:
    """Where the processor's time goes that no change of the plugin can save."""
    bare = numbers["a jump with no layer shown, processor, ms"]
    pixels = numbers["of which filling its pixels, ms"]
    return (
        f" With no layer shown at all a jump costs {bare:.0f} ms of the processor (napari's events and scene, both "
        "other planes, Qt laying the picture and the panels over one another), and filling the pixels of the picture "
        f"{pixels:.0f} ms. A graphics card takes over the pixels and the laying over one another."
    )


def in_a_process(part: str, options: argparse.Namespace, threads: str | None) -> dict[str, float]:
    """Measure one part in a process of its own: the renderer reads its number of threads once."""
    shape = [str(side) for side in options.shape]
    command = [sys.executable, "-m", "benchmarks.napari_jump", "--part", part, "--shape", *shape]
    environment = {name: value for name, value in os.environ.items() if name != "LP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as scratch:
        environment |= {"NODULUS_HOME": scratch} | ({"LP_NUM_THREADS": threads} if threads else {})
        done = subprocess.run(
            [*command, "--findings", str(options.findings)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Print the table, and write it into docs/results.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 512, 512))
    parser.add_argument("--findings", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--part", choices=("wait", "run"), help="measure one part only, and print it as JSON")
    options = parser.parse_args()
    shape = tuple(options.shape)
    if options.part:
        print(json.dumps({"wait": wait, "run": run}[options.part](shape, options.findings)))
        return
    numbers = in_a_process("wait", options, None) | in_a_process("run", options, "0")
    text = body(numbers, shape, options.findings)
    title = "Jump to a finding in the viewer"
    command = "Command: `python -m benchmarks.napari_jump --write` · seed 1 · data: noise"
    print(text)
    if options.write:
        replace_section("napari-jump", f"## {title}\n\n{text}\n\n{command}\n")


if __name__ == "__main__":
    main()
