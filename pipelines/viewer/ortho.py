"""The two planes that the main picture does not show, linked to it by the session's point."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from pipelines.viewer.axes import some_slices_on
from pipelines.viewer.overlays import LETTER_COLOUR
from pipelines.viewer.pictures import picture
from pipelines.viewer.planes import PLANES, Plane, from_picture, plane_of, to_picture
from pipelines.viewer.rings import STATE_COLOURS, rings_in_plane
from pipelines.viewer.ruler_layers import COLOUR as RULER
from pipelines.viewer.session import Session

if TYPE_CHECKING:
    import napari

CROSSHAIR = "#4fc3f7"


class PlaneView(QWidget):
    """One plane through the session's point: click to move the crosshair, wheel to scroll."""

    def __init__(self, plane: Plane) -> None:
        super().__init__()
        self.plane = plane
        self.session: Session | None = None
        self.setMinimumSize(160, 120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def frame(self) -> QRectF:
        """Where the picture lies in the widget, square in millimetres."""
        assert self.session is not None
        grid = self.session.grid
        _, vertical, horizontal = self.plane.order
        height_mm = grid.shape[vertical] * grid.spacing_mm[vertical]
        width_mm = grid.shape[horizontal] * grid.spacing_mm[horizontal]
        scale = min(self.width() / width_mm, self.height() / height_mm)
        width, height = width_mm * scale, height_mm * scale
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)

    def to_widget(self, row: float, column: float) -> QPointF:
        """Where a picture position (row, column) lies in the widget."""
        frame, (rows, columns) = self.frame(), self._shape()
        return QPointF(
            frame.x() + (column + 0.5) / columns * frame.width(), frame.y() + (row + 0.5) / rows * frame.height()
        )

    def point_at(self, x: float, y: float) -> tuple[float, float, float]:
        """The LPS point under a widget position."""
        assert self.session is not None
        frame, (rows, columns) = self.frame(), self._shape()
        row = (y - frame.y()) / frame.height() * rows - 0.5
        column = (x - frame.x()) / frame.width() * columns - 0.5
        return from_picture(self.session.grid, self.plane, row, column, self.session.point_mm)

    def _shape(self) -> tuple[int, int]:
        assert self.session is not None
        _, vertical, horizontal = self.plane.order
        return self.session.grid.shape[vertical], self.session.grid.shape[horizontal]

    def paintEvent(self, event: Any) -> None:
        """Picture, crosshair, rings, letters."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        if self.session is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            rgb = picture(self.session, self.plane)
            rows, columns, _ = rgb.shape
            painter.drawImage(self.frame(), QImage(rgb.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888))
            self._draw_crosshair(painter)
            if self.session.shows("findings"):
                self._draw_rings(painter)
            self._draw_rulers(painter)
            self._draw_letters(painter)
        painter.end()

    def _draw_crosshair(self, painter: QPainter) -> None:
        assert self.session is not None
        frame = self.frame()
        at = self.to_widget(*to_picture(self.session.grid, self.plane, self.session.point_mm))
        painter.setPen(QPen(QColor(CROSSHAIR), 1))
        gap = 12.0
        for start, end in ((frame.left(), at.x() - gap), (at.x() + gap, frame.right())):
            painter.drawLine(QPointF(start, at.y()), QPointF(max(start, end), at.y()))
        for start, end in ((frame.top(), at.y() - gap), (at.y() + gap, frame.bottom())):
            painter.drawLine(QPointF(at.x(), start), QPointF(at.x(), max(start, end)))

    def _draw_rings(self, painter: QPainter) -> None:
        assert self.session is not None
        _, _, horizontal = self.plane.order
        grid = self.session.grid
        pixels_per_mm = self.frame().width() / (grid.shape[horizontal] * grid.spacing_mm[horizontal])
        for ring in rings_in_plane(self.session, self.plane):
            at, radius = self.to_widget(*to_picture(grid, self.plane, ring.centre_mm)), ring.radius_mm * pixels_per_mm
            painter.setPen(QPen(QColor(STATE_COLOURS[ring.row.state]), 1.5))
            painter.drawEllipse(at, radius, radius)
            self._write(painter, at + QPointF(radius, -radius) * 0.75, str(ring.row.finding.number))

    def _draw_rulers(self, painter: QPainter) -> None:
        assert self.session is not None
        grid = self.session.grid
        painter.setPen(QPen(QColor(RULER), 1.5))
        for ruler in self.session.drawn_rulers:
            if ruler.meets(self.plane, grid, self.session.point_mm, slab_mm=self.session.slab_mm):
                points = (ruler.start_mm, ruler.end_mm)
                start, end = (self.to_widget(*to_picture(grid, self.plane, point)) for point in points)
                painter.drawLine(start, end)
                self._write(painter, end + QPointF(4, 12), ruler.label)

    def _write(self, painter: QPainter, at: QPointF, text: str) -> None:
        """Write from a point to the right, the text's foot there; moved in where it would leave the widget."""
        painter.drawText(moved_in(QRectF(self.rect()), at, painter.fontMetrics().boundingRect(text)), text)

    def _draw_letters(self, painter: QPainter) -> None:
        font = painter.font()
        font.setPointSize(12)
        font.setBold(True)
        painter.setFont(font)
        room = QRectF(self.rect()).adjusted(4, 2, -4, -2)
        sides = {"left": Qt.AlignmentFlag.AlignLeft, "right": Qt.AlignmentFlag.AlignRight}
        ends = {"top": Qt.AlignmentFlag.AlignTop, "bottom": Qt.AlignmentFlag.AlignBottom}
        for edge, letter in self.plane.letters.items():
            across = sides.get(edge, Qt.AlignmentFlag.AlignHCenter)
            where = across | ends.get(edge, Qt.AlignmentFlag.AlignVCenter)
            painter.setPen(QColor("black"))
            painter.drawText(room.translated(1, 1), where, letter)
            painter.setPen(QColor(LETTER_COLOUR))
            painter.drawText(room, where, letter)

    def mousePressEvent(self, event: Any) -> None:
        """Left: the crosshair goes there, on release of a drag too."""
        if self.session is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.session.go_to(self.point_at(event.position().x(), event.position().y()))

    mouseMoveEvent = mousePressEvent

    def wheelEvent(self, event: Any) -> None:
        """Scroll through this plane."""
        if self.session is not None:
            by = 1 if event.angleDelta().y() > 0 else -1
            self.session.go_to(some_slices_on(self.session.grid, self.session.point_mm, self.plane.order[0], by))


def moved_in(room: QRectF, at: QPointF, ink: QRect) -> QPointF:
    """Where a text whose ink is drawn around `at` must begin so that all of it lies in a room.

    >>> at = moved_in(QRectF(0, 0, 100, 50), QPointF(95, 5), QRect(0, -10, 20, 12))
    >>> at.x(), at.y()
    (80.0, 10.0)
    """
    x = min(max(at.x(), room.left() - ink.left()), room.right() - ink.right() - 1)
    y = min(max(at.y(), room.top() - ink.top()), room.bottom() - ink.bottom() - 1)
    return QPointF(x, y)


def _nothing() -> None:
    """What ends no subscription."""


class OtherPlanes(QWidget):
    """Two `PlaneView`s: the planes that the viewer does not show."""

    nodulus_role = "planes"

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session: Session | None = None
        self._unsubscribe: Callable[[], None] = _nothing
        self.views = {name: PlaneView(plane) for name, plane in PLANES.items()}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for view in self.views.values():
            layout.addWidget(view)
        self.setMinimumWidth(200)
        self.viewer.layers.events.inserted.connect(self._follow)
        self.viewer.layers.events.removed.connect(self._follow)
        self.viewer.dims.events.order.connect(self._arrange)
        self._follow()
        self._arrange()

    def _follow(self, _: Any = None) -> None:
        ct = [layer for layer in self.viewer.layers if layer.metadata.get("nodulus") == "ct"]
        session = ct[-1].metadata["session"] if ct else None
        if session is self.session:
            return
        self._unsubscribe()
        self.session = session
        self._unsubscribe = session.subscribe(self._on_change) if session is not None else _nothing
        for view in self.views.values():
            view.session = session
            view.update()

    def _arrange(self, _: Any = None) -> None:
        shown = plane_of(self.viewer.dims.order).name
        for name, view in self.views.items():
            view.setVisible(name != shown)

    def _on_change(self, _: str) -> None:
        for view in self.views.values():
            view.update()
