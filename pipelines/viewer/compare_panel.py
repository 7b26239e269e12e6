"""Another study beside the picture: the same place in the lungs at the same scale, and how the findings changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRectF, Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QProgressBar, QPushButton, QSplitter, QVBoxLayout, QWidget

from pipelines.viewer.comparison import ASSUMPTIONS, Beside, Comparison, compare, prepare
from pipelines.viewer.growth_table import GrowthTable
from pipelines.viewer.ortho import PlaneView
from pipelines.viewer.planes import plane_of, to_picture
from pipelines.viewer.work import Work
from pipelines.viewer.wrapping import WrappedLabel

if TYPE_CHECKING:
    import napari

    from pipelines.viewer.session import Session


class BesideView(PlaneView):
    """The other study in the plane and at the scale of the main picture, its middle at the same place in the lungs."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(plane_of(viewer.dims.order))
        self.viewer = viewer
        self.comparison: Comparison | None = None

    def frame(self) -> QRectF:
        """Where the picture lies in the widget; most of it may lie outside."""
        assert self.comparison is not None
        grid, camera = self.comparison.other.grid, self.viewer.scene.camera
        _, vertical, horizontal = self.plane.order
        scale = camera.zoom / self.devicePixelRatioF()
        row, column = to_picture(grid, self.plane, self._middle())
        high, wide = grid.spacing_mm[vertical] * scale, grid.spacing_mm[horizontal] * scale
        left, top = self.width() / 2 - (column + 0.5) * wide, self.height() / 2 - (row + 0.5) * high
        return QRectF(left, top, grid.shape[horizontal] * wide, grid.shape[vertical] * high)

    def _middle(self) -> tuple[float, float, float]:
        """The point of the other study that lies in the middle of the widget."""
        assert self.comparison is not None
        world = list(self.comparison.session.point_mm[::-1])
        world[self.plane.order[1]], world[self.plane.order[2]] = self.viewer.scene.camera.center[-2:]
        x, y, z = self.comparison.alignment.there(world[::-1])
        return float(x), float(y), float(z)


class ComparePanel(QWidget):
    """Docked beside the picture; it lets go of the comparison when another CT is opened."""

    nodulus_role = "compare"

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.comparison: Comparison | None = None
        self._unsubscribe: list[Any] = []
        self.work = Work(self._on_progress, self._on_prepared, self.tell)
        self._build()
        self.viewer.layers.events.removed.connect(self._on_removed)
        self.viewer.dims.events.order.connect(self._turn)
        self.viewer.scene.camera.events.connect(lambda _: self.view.update())
        self._show()

    def _build(self) -> None:
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.title.setStyleSheet("font-weight: bold;")
        self.open = QPushButton("Other study …")
        self.open.clicked.connect(self._press)
        self.end = QPushButton("End")
        self.end.clicked.connect(self.leave)
        self.bar = QProgressBar()
        self.view = BesideView(self.viewer)
        self.table = GrowthTable()
        self.table.chosen.connect(self._choose)
        self.assumptions = QLabel(ASSUMPTIONS)
        self.assumptions.setWordWrap(True)
        self.notices, self.message = WrappedLabel(), WrappedLabel()
        self.message.setStyleSheet("color: #ff8a65;")
        self.notices.setStyleSheet("color: #ffb000;")
        top = QHBoxLayout()
        for widget, stretch in ((self.title, 1), (self.open, 0), (self.end, 0)):
            top.addWidget(widget, stretch)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.view)
        split.addWidget(self.table)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self.bar)
        layout.addWidget(split, 1)
        for label in (self.notices, self.message, self.assumptions):
            layout.addWidget(label)
        self.setMinimumWidth(360)

    # --- opening ----------------------------------------------------------------------------------------------------
    def _press(self) -> None:
        if self.work.running:
            self.work.stop()
            return
        if self._session() is None:
            self.tell("Open a CT first.")
        elif chosen := QFileDialog.getExistingDirectory(self, "Folder of the other study"):
            self.begin(Path(chosen))

    def begin(self, path: Path, result: Path | None = None) -> None:
        """Open the other study and align it beside the window; a refusal is said in its own words."""
        session = self._session()
        if session is None:
            self.tell("Open a CT first.")
            return
        self.tell("")
        self.open.setText("Cancel")
        self.bar.setValue(0)
        self.bar.show()
        self._for = session
        self.work.start(lambda on_progress: prepare(session, path, result, on_progress=on_progress))

    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _on_prepared(self, beside: Beside | None) -> None:
        self._show()
        if beside is not None and self._session() is self._for:
            self.adopt(compare(self._for, beside))

    def adopt(self, comparison: Comparison) -> None:
        """Show a comparison; the one before is let go."""
        self.leave()
        self.comparison = self.view.comparison = comparison
        self.view.session = comparison.other
        self._unsubscribe = [comparison.session.subscribe(self._on_change), comparison.other.subscribe(self._on_change)]
        self._show()

    def leave(self) -> None:
        """End the comparison; both studies' decisions are on the disk."""
        if self.comparison is not None:
            for unsubscribe in self._unsubscribe:
                unsubscribe()
            self.comparison.close()
        self.comparison = self.view.comparison = self.view.session = None
        self._show()

    def _session(self) -> Session | None:
        ct = [layer for layer in self.viewer.layers if layer.metadata.get("nodulus") == "ct"]
        return ct[-1].metadata["session"] if ct else None

    # --- what it shows ----------------------------------------------------------------------------------------------
    def tell(self, text: str) -> None:
        """Say what was refused; an empty text takes it away."""
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _show(self) -> None:
        comparison = self.comparison
        self.title.setText(comparison.title if comparison else "No other study is open.")
        self.open.setText("Cancel" if self.work.running else "Other study …")
        self.bar.setVisible(self.work.running)
        self.end.setEnabled(comparison is not None)
        notices = comparison.notices if comparison else ()
        self.notices.setText("\n".join(f"• {notice.message} ({notice.code})" for notice in notices))
        self.notices.setVisible(bool(notices))
        self.assumptions.setVisible(comparison is not None)
        self.table.show_comparison(comparison)
        self.view.update()

    def _on_change(self, change: str) -> None:
        if change in ("findings", "selection"):
            self.table.show_comparison(self.comparison)
        self.view.update()

    def _choose(self, at: int) -> None:
        if self.comparison is not None:
            self.comparison.show(self.comparison.rows[at])

    def _turn(self, _: Any = None) -> None:
        self.view.plane = plane_of(self.viewer.dims.order)
        self.view.update()

    def _on_removed(self, event: Any) -> None:
        told = event.value.metadata
        ours = self.comparison is not None and told.get("session") is self.comparison.session
        if ours and told.get("nodulus") == "ct":
            self.leave()
