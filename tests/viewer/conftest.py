"""An asymmetric phantom whose every direction can be told apart, and a result on it."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import numpy as np
import pytest

from imaging.findings import Finding, OperatingPoint, Report
from imaging.geometry import Grid, Volume
from imaging.geometry.volume import Origin
from imaging.provenance import Provenance
from pipelines.viewer.review import FILE_NAME


def pytest_runtest_setup(item):
    """Without a display Qt ends the whole process; skip instead, or fail where everything has to be there."""
    if item.get_closest_marker("gui") and not any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY")):
        if os.environ.get("NODULUS_REQUIRE_ALL"):
            pytest.fail("there is no display (run under xvfb-run), and NODULUS_REQUIRE_ALL is set")
        pytest.skip("there is no display; run under xvfb-run")


def pytest_collection_modifyitems(items):
    """Tests with a window of their own come last: napari's fixture takes the registry of plugins with it.

    A later ordinary window would register every command of every plugin once more, which napari refuses.
    """
    items.sort(key=lambda item: "make_napari_viewer_proxy" in getattr(item, "fixturenames", ()))


SERIES = "1.2.826.0.1.3680043.8.498.1"

#: LPS mm of three marks, none of which is the mirror image of another, and their diameters.
MARKS = (((-41.0, -22.0, -160.0), 10.0), ((57.0, 18.0, -100.0), 6.0), ((-20.0, 35.0, -60.0), 8.0))


def axial_grid() -> Grid:
    return Grid.from_spacing((60, 80, 96), spacing_mm=(2.5, 1.5, 1.5), origin_mm=(-71.0, -62.0, -190.0))


def phantom(grid: Grid | None = None) -> Volume:
    """Air, a body, and marks: bone on the patient's left, water at the back, a bright dot at the top."""
    grid = axial_grid() if grid is None else grid
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    array = np.full(grid.shape, -850.0, dtype=np.float32)
    array[x > 60] = 700.0
    array[(y > 45) & (x <= 60)] = 0.0
    array[(z > -52) & (x <= 60) & (y <= 45)] = 300.0
    for centre, diameter in MARKS:
        array[((points - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter / 2) ** 2] = 40.0
    return Volume(array, grid, origin=Origin(seriesuid=SERIES, format="dicom", study_date="20260102"))


def findings() -> tuple[Finding, ...]:
    return tuple(
        Finding(
            number=number,
            tracking_uid=f"{SERIES}.{number}",
            centre_mm=centre,
            score=0.9 - 0.2 * number,
            logit=1.0,
            diameter_mm=diameter,
            side="right" if centre[0] < 0 else "left",
            zone=("lower", "middle", "upper")[number - 1],
            attributes={"solid": 0.8, "spiculated": 0.3},
        )
        for number, (centre, diameter) in enumerate(MARKS, start=1)
    )


def a_report(**changes) -> Report:
    values = {
        "seriesuid": SERIES,
        "study_instance_uid": "1.2.3",
        "study_date": "20260102",
        "findings": findings(),
        "notices": (),
        "operating_point": OperatingPoint(0.3, 1.5, "a phantom"),
        "provenance": Provenance("nodulus", None, "phantom-weights", "0" * 64),
        "grid": axial_grid().to_json(),
    }
    return Report(**(values | changes))


def a_map(grid: Grid) -> np.ndarray:
    """1 at the centre of the first mark, falling off with distance."""
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    return np.exp(-((points - np.asarray(MARKS[0][0])) ** 2).sum(axis=-1) / 200).astype(np.float32)


def nodule_labels(grid: Grid) -> np.ndarray:
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, (centre, diameter) in enumerate(MARKS, start=1):
        labels[((points - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter / 2) ** 2] = number
    return labels


@pytest.fixture
def volume() -> Volume:
    return phantom()


@pytest.fixture
def session(volume, tmp_path: Path):
    """A session with a result and a folder for its decisions."""
    from pipelines.viewer.session import Session

    session = Session(volume, reviewer="Dr. A. Reader")
    grid = volume.grid
    maps = {"nodules": (nodule_labels(grid), grid), "grad_cam": (a_map(grid), grid), "similarity": (a_map(grid), grid)}
    session.set_result(a_report(), maps, folder=tmp_path / "result")
    return session


@pytest.fixture
def dicom_session(tmp_path: Path, volume):
    """A session on the phantom as a DICOM series, with a result folder as ``nodulus predict`` leaves it."""
    from dataclasses import replace

    from imaging.outputs import write_case
    from imaging.outputs.case import CaseResult
    from imaging.simulation.dicom_series import write_series
    from pipelines.viewer.opening import open_session

    write_series(volume, tmp_path / "dicom", rng=np.random.default_rng(1))
    ct = open_session(tmp_path / "dicom").volume
    report = replace(a_report(), seriesuid=ct.seriesuid, grid=ct.grid.to_json())
    report = replace(report, findings=tuple(replace(f, tracking_uid=f"2.25.{f.number}") for f in report.findings))
    case = CaseResult(ct, report, None, nodule_labels(ct.grid), grad_cam=a_map(ct.grid))
    write_case(case, tmp_path / "result", formats=("csv", "json", "maps"))
    return open_session(tmp_path / "dicom", tmp_path / "result", reviewer="Dr. A. Reader")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Decisions and results of these tests go to a folder of their own."""
    monkeypatch.setenv("NODULUS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def open_window():
    """One window for most tests, because making one takes seconds; each test opens a session of its own in it."""
    import napari

    viewer = napari.Viewer(show=True)
    gc.freeze()  # napari collects garbage with each layer that goes; what is here by now need not be looked at again
    yield viewer
    gc.unfreeze()
    viewer.close()


@pytest.fixture
def desk(require_tool, qapp, open_window, session, qtbot):
    """The window with a fresh session in it, and hands: keys and mouse on the picture."""
    desk = Desk(open_window, session, qtbot)
    yield desk
    desk.panel.leave()


@pytest.fixture
def own_desk(make_napari_viewer_proxy, qtbot):
    """A window of this test alone, which forbids napari's private names and tells what leaks."""
    return lambda session: Desk(make_napari_viewer_proxy(show=True), session, qtbot)


class Desk:
    """The reader's hands and eyes; the picture's widget is found as any Qt widget, without napari's private names."""

    def __init__(self, viewer, session, qtbot):
        from pipelines.viewer.window import show

        self.viewer, self.session, self.qtbot = viewer, session, qtbot
        self.panel = show(viewer, session)
        viewer.window.resize(1200, 800)
        self.settle()
        viewer.reset_view()
        self.settle()

    @property
    def cockpit(self):
        return self.panel.cockpit

    @property
    def canvas(self):
        from qtpy.QtWidgets import QWidget

        widgets = self.panel.window().centralWidget().findChildren(QWidget)
        return next(w for w in widgets if type(w).__name__ == "CanvasBackendDesktop")

    @property
    def planes(self):
        from pipelines.viewer.docking import docked

        return docked(self.viewer, "planes")

    def settle(self):
        from qtpy.QtWidgets import QApplication

        for _ in range(3):
            QApplication.processEvents()

    def press(self, key):
        from qtpy.QtCore import Qt

        self.canvas.setFocus()
        self.qtbot.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"))
        self.settle()

    def drop(self, *paths):
        """Let paths fall on the picture, as from a file manager."""
        from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
        from qtpy.QtGui import QDragEnterEvent, QDropEvent
        from qtpy.QtWidgets import QApplication

        target = self.canvas
        while not target.acceptDrops():
            target = target.parentWidget()
        self.mime = QMimeData()  # must outlive the event
        self.mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        copy = Qt.DropAction.CopyAction
        QApplication.sendEvent(target, QDragEnterEvent(QPoint(50, 50), copy, self.mime, left, none))
        QApplication.sendEvent(target, QDropEvent(QPointF(50, 50), copy, self.mime, left, none))
        self.settle()

    def answer(self, with_dialog, *, seconds=60):
        """Call `with_dialog` on the next modal dialog, once it is there; returns what tells whether it came."""
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        came = []

        def look(tries):
            dialog = QApplication.activeModalWidget()
            if dialog is not None:
                came.append(dialog)
                try:
                    with_dialog(dialog)
                except BaseException:
                    dialog.close()  # else nobody ever would
                    raise
            elif tries:
                QTimer.singleShot(50, lambda: look(tries - 1))

        QTimer.singleShot(50, lambda: look(seconds * 20))
        return came

    def seen(self):
        """The picture as (rows, columns) of grey, without what lies on the CT."""
        for layer in self.viewer.layers:
            layer.visible = layer.metadata.get("nodulus") == "ct"
        for overlay in self.viewer.canvas.overlays.values():
            overlay.visible = False
        self.settle()
        return self.viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=-1)

    def letters(self):
        table = self.viewer.canvas.overlays
        return {edge: table[f"nodulus_{edge}"].text for edge in ("left", "right", "top", "bottom")}

    def lines(self):
        path = self.session.folder / FILE_NAME
        return [json.loads(line)["action"] for line in path.read_text().splitlines()] if path.exists() else []
