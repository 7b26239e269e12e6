"""Ties a session to a napari viewer: keys, mouse, planes, letters, readout, rings. Public napari API only, no Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from imaging.errors import ImagingError
from pipelines.viewer import layers, mouse
from pipelines.viewer.actions import Actions
from pipelines.viewer.answers import NothingDone
from pipelines.viewer.axes import on_slices, slice_of, slider_ranges, to_world
from pipelines.viewer.drawings import HEAT_ROLES
from pipelines.viewer.keys import KEYS
from pipelines.viewer.layer_stack import LayerStack
from pipelines.viewer.moves import Moves
from pipelines.viewer.overlays import Overlays
from pipelines.viewer.planes import Plane, plane_of
from pipelines.viewer.session import Session
from pipelines.viewer.shader_reuse import reuse
from pipelines.viewer.viewing import name_of


class Voice(Protocol):
    """Who says to the reader what a key led to (`ReadingPanel`)."""

    def refuse(self, error: ImagingError) -> None:
        """Say what was refused."""

    def answer(self, text: str, *, done: bool) -> None:
        """Say what the last key did, or why it did nothing; an empty text takes the answer before away."""


class Cockpit(LayerStack, Actions):
    """One viewer's wiring; every public method without arguments is the action of a row of `KEYS`.

    Args:
        viewer: a napari viewer.
        session: what it shows; its layers are added unless the reader has added them already.
        voice: says what was refused and what a key did; napari's notifications by default.
    """

    def __init__(self, viewer: Any, session: Session, *, voice: Voice | None = None) -> None:
        self.viewer = viewer
        self.session = session
        self.on_comment: Callable[[], None] = lambda: None
        self.on_study: Callable[[int], None] = lambda by: None
        self._voice: Voice = voice or Notifications()
        self._moving = False
        self._ndisplay = viewer.dims.ndisplay
        self._readout = ""
        reuse()
        self._overlays = Overlays(viewer)
        self._moves = Moves(viewer)
        self._thickness_before = viewer.dims.thickness
        self._not_mean = []
        for layer in viewer.layers:
            self._show_slice_of(layer)
        self._unsubscribe = session.subscribe(self._on_change)
        if self.layer("ct") is None:
            self._add(layers.ct_layer(session))
        self._show_result()
        if self.layer("crosshair") is None:
            self._add(layers.crosshair_layer(session))
        viewer.layers.events.inserted.connect(self._on_inserted)
        self._on_range()  # moves a point that napari had out of range; nobody has scrolled
        viewer.dims.events.point.connect(self._on_dims)
        viewer.dims.events.order.connect(self._on_order)
        viewer.dims.events.ndisplay.connect(self._on_order)
        viewer.dims.events.ndisplay.connect(self._on_ndisplay, position="last")
        viewer.dims.events.range.connect(self._on_range)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)
        viewer.events.status.connect(self._on_status)
        self._disconnect_mouse = mouse.connect(self)
        self._keys_before = {row.key: viewer.bind_key(row.key, None) for row in KEYS}
        for row in KEYS:
            viewer.bind_key(row.key, self._key(row.action))
        self.layer("ct").events.contrast_limits.connect(self._on_contrast)
        viewer.layers.selection.active = self.layer("ct")
        self.axial()
        viewer.reset_view()
        self._on_zoom()  # told only if the zoom is another than that of the CT before
        for change in ("point", "window", "slab", "rulers"):
            self._on_change(change)

    def close(self) -> None:
        """Undo the wiring; the layers stay."""
        self._unsubscribe()
        self._moves.settle()
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.dims.thickness = self._thickness_before
        self._give_back()
        for row in KEYS:
            self.viewer.bind_key(row.key, self._keys_before[row.key])
        if (ct := self.layer("ct")) is not None:
            ct.events.contrast_limits.disconnect(self._on_contrast)
        self.viewer.dims.events.point.disconnect(self._on_dims)
        self.viewer.dims.events.order.disconnect(self._on_order)
        self.viewer.dims.events.ndisplay.disconnect(self._on_order)
        self.viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        self.viewer.dims.events.range.disconnect(self._on_range)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self.viewer.events.status.disconnect(self._on_status)
        self._disconnect_mouse()
        self._overlays.hide()

    def do(self, action: str) -> None:
        """Run the action of a key; a refusal is told in its own words, with what to do next."""
        self._voice.answer("", done=True)
        try:
            said = getattr(self, action)()
        except NothingDone as why:
            self._voice.answer(str(why), done=False)
        except ImagingError as error:
            self._voice.refuse(error)
        else:
            self._voice.answer(said or "", done=True)

    # --- what the session says --------------------------------------------------------------------------------------
    def _on_change(self, change: str) -> None:
        if change == "point":
            self._show_point()
            self._show_rulers()
            if self.session.slab_mm:
                self._show_rings()
        elif change == "rulers":
            self._show_rulers()
        elif change == "maps":
            self._show_result()
        elif change == "findings":
            self._show_rings()
        elif change == "window":
            self._show_window()
        elif change == "slab":
            self._show_slab()
            self._show_rulers()
            self._show_rings()
        elif change in ("ai", "eyes"):
            self._show_drawings()
        elif change == "opacity":
            for role in HEAT_ROLES:
                if (layer := self.layer(role)) is not None:
                    layer.opacity = self.session.opacity
        elif change == "selection" and self.session.current is not None:
            self.centre_on(self.session.point_mm)
        if change != "selection":  # no text over the picture speaks of it
            self._write_overlays()

    def _show_point(self) -> None:
        with self._moves.light(self.own_layers()):
            self._move_to_point()

    def _move_to_point(self) -> None:
        dims = self.viewer.dims
        layer = self.layer("crosshair")
        if layer is not None:
            # Unheard: else napari measures and slices all layers for it, and once more when the point moves.
            with layer.events.blocker_all():
                layer.data = layers.crosshair(self.session)
        self._moving = True
        try:
            # On the slider's own steps: else its widget moves the point again, and every layer is sliced twice.
            steps = zip(on_slices(self.session.grid, self.session.point_mm), dims.range[-3:], strict=True)
            ours = tuple(r.start + round((p - r.start) / r.step) * r.step for p, r in steps)
            point = (*dims.point[:-3], *ours)
            if point != dims.point:
                dims.point = point
            elif layer is not None:
                layer.refresh()
        finally:
            self._moving = False

    def centre_on(self, point_mm: tuple[float, float, float]) -> None:
        """Put a point into the middle of the picture."""
        camera = self.viewer.scene.camera
        others = self.viewer.dims.ndim - 3
        world = to_world(point_mm)
        camera.center = tuple(float(world[axis - others]) for axis in self.viewer.dims.displayed)

    def _write_overlays(self) -> None:
        session = self.session
        ct = self.layer("ct")
        low, high = layers.contrast_limits(self.window_shown) if ct is None else ct.contrast_limits
        centre, width = (low + high) / 2, high - low
        window = f"W {width:.0f} L {centre:.0f} {name_of((centre, width))}"
        lines = [session.short_banner, window.replace("-", "−").rstrip()]
        lines += [f"maximum of {session.slab_mm:.0f} mm"] if session.slab_mm else []
        lines += ["inverted"] if session.inverted else []
        lines += [session.drawing_name("similarity")] if session.asked_for and session.shows("similarity") else []
        lines += ["AI hidden"] if session.report and not session.ai_shown else []
        lines += [f"ruler: {session.unfinished.label}"] if session.unfinished else []
        self._overlays.write("\n".join(lines), in_a_corner(session.readout(session.point_mm, self.plane)))
        self._overlays.identify(session.identifiers if session.identifiers_shown else "")

    # --- what the viewer says ---------------------------------------------------------------------------------------
    @property
    def plane(self) -> Plane:  # type: ignore[override]
        """The plane that is shown."""
        return plane_of(self.viewer.dims.order)

    def _on_dims(self, _: Any = None) -> None:
        dims, grid, through = self.viewer.dims, self.session.grid, self.plane.order[0]
        if self._moving or dims.ndim < 3 or dims.ndisplay != self._ndisplay:
            return  # between 2D and 3D napari puts its slider where the camera looks; nobody has scrolled
        world = to_world(self.session.point_mm).copy()
        before = slice_of(grid, world)[through]
        world[through] = dims.point[-3:][through]
        if slice_of(grid, world)[through] == before:
            return  # napari's slider stands on whole slices, the point may lie between them
        x, y, z = to_world(world)
        self.session.go_to((float(x), float(y), float(z)))

    def _on_order(self, _: Any = None) -> None:
        if self.viewer.dims.ndim >= 3:
            self._show_window()
            self.show_plane()
            self._show_rulers()
            self._show_rings()

    def _on_ndisplay(self, _: Any = None) -> None:
        """After napari's own answer to a change between 2D and 3D: the crosshair stays where the reader put it."""
        self._ndisplay = self.viewer.dims.ndisplay
        if self.viewer.dims.ndim >= 3:
            self._show_point()

    def _on_range(self, _: Any = None) -> None:
        """Sliders go by slices of the CT, whatever lies over it."""
        dims = self.viewer.dims
        if dims.ndim >= 3 and (ranges := slider_ranges(self.session.grid, dims.range)) != dims.range:
            dims.range = ranges

    def _on_contrast(self, _: Any = None) -> None:
        """napari's own sliders are a hand on the window too; what stands in the corner is what is drawn."""
        if self._windowing:
            return
        low, high = self.layer("ct").contrast_limits
        if self.viewer.dims.ndisplay == 3:
            self._write_overlays()
        elif (low, high) != layers.contrast_limits(self.session.window):
            self.session.set_window((low + high) / 2, high - low)

    def show_plane(self) -> None:
        """Orient the camera and write the letters of the plane that the viewer's axes are in now."""
        plane = self.plane
        self.viewer.scene.camera.orientation = plane.orientation
        self._overlays.letter(plane.letters if self.viewer.dims.ndisplay == 2 else {})
        self._write_overlays()

    def show_readout(self, point_mm: tuple[float, float, float]) -> None:
        """The value and the place under the cursor."""
        text = self.session.readout(point_mm, self.plane)
        self._readout = text
        self.viewer.status = text
        self._overlays.write(None, in_a_corner(text))

    def _on_status(self, event: Any) -> None:
        """napari's own status (indices without a unit) comes a moment later from a thread; ours goes over it."""
        if self._readout and event.value != self._readout and isinstance(event.value, dict):
            self.viewer.status = self._readout


def in_a_corner(readout: str) -> str:
    """A readout in short lines, which leave the letter at the edge of a narrow picture free.

    >>> print(in_a_corner("HU 91 · LPS (56.5, 86.2, −115.6) mm · slice 91/133"))
    HU 91
    LPS in mm
    56.5, 86.2, −115.6
    slice 91/133
    """
    return readout.replace(" · ", "\n").replace("LPS (", "LPS in mm\n").replace(") mm", "")


class Notifications:
    """The voice of a cockpit without a panel."""

    def refuse(self, error: ImagingError) -> None:
        """Say what was refused."""
        from napari.utils.notifications import show_error

        show_error(str(error))

    def answer(self, text: str, *, done: bool) -> None:
        """Say what the last key did, or why it did nothing."""
        from napari.utils.notifications import show_info, show_warning

        if text:
            (show_info if done else show_warning)(text)
