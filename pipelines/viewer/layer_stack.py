"""The session's layers in a napari viewer: added, found by their role, and kept as the session says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imaging.preprocessing.windows import WINDOWS
from pipelines.viewer import layers, rings, ruler_layers
from pipelines.viewer.drawings import AI_ROLES, HEAT_ROLES, LABEL_COLOURS
from pipelines.viewer.keys import KEYS
from pipelines.viewer.planes import plane_of, slab_reach
from pipelines.viewer.session import Session

#: What the sliders of the layer controls span.
HU_RANGE = (-3000.0, 5000.0)

#: Thickness of the slice in which napari looks for rings; images are told to ignore it unless a slab is on.
RING_REACH_MM = 80.0


class LayerStack:
    """The base of `Cockpit` that knows the layers."""

    viewer: Any
    session: Session
    _not_mean: list[Any]
    _windowing = False
    _drawing = False

    def do(self, action: str) -> None:
        """Run the action of a key."""
        raise AttributeError("do")

    def layer(self, role: str) -> Any:
        """This session's layer of a role, or None."""
        return next((layer for layer in self.own_layers() if layer.metadata["nodulus"] == role), None)

    def own_layers(self) -> list[Any]:
        """All layers that show this session."""
        return [layer for layer in self.viewer.layers if layer.metadata.get("session") is self.session]

    def _add(self, data: layers.LayerData) -> Any:
        layer = self.viewer.add_layer(layers.made(data))
        if layer.metadata["nodulus"] in LABEL_COLOURS:
            layer.contour = 1
        if layer.metadata["nodulus"] in AI_ROLES:
            layer.events.visible.connect(self._on_eye)
        self._bind(layer)
        return layer

    def _bind(self, layer: Any) -> None:
        """Layer keys win over the viewer's in napari, so ours stand on our layers too."""
        for row in KEYS:
            layer.bind_key(row.key, self._key(row.action), overwrite=True)

    def _show_result(self) -> None:
        active = self.viewer.layers.selection.active
        for layer in [layer for layer in self.own_layers() if layer.metadata["nodulus"] in AI_ROLES]:
            self.viewer.layers.remove(layer)
        for data in layers.result_layers(self.session):
            self._add(data)
        for layer in self.own_layers():
            self._bind(layer)
        self._on_zoom()
        if active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _show_drawings(self) -> None:
        """Open and close the eyes of the AI's layers as the session says."""
        self._drawing = True
        try:
            for layer in self.own_layers():
                if layer.metadata["nodulus"] in AI_ROLES:
                    layer.visible = self.session.shows(layer.metadata["nodulus"])
        finally:
            self._drawing = False

    def _on_eye(self, event: Any) -> None:
        """An eye in the layer list counts in the other planes too, and when the AI is hidden and shown again."""
        if not self._drawing:
            self.session.open_eye(event.source.metadata["nodulus"], event.source.visible)

    def _key(self, action: str) -> Callable[[Any], None]:
        def press(_: Any) -> None:
            self.do(action)

        return press

    @property
    def window_shown(self) -> tuple[float, float]:
        """(centre, width) in HU of the picture: in 3D always the bone window, whose maximum shows more than lung's."""
        return self.session.window if self.viewer.dims.ndisplay == 2 else WINDOWS["bone"]

    def _show_window(self) -> None:
        ct = self.layer("ct")
        self._windowing = True  # napari cuts the window before off at the range that its slider spans
        try:
            ct.contrast_limits_range = HU_RANGE
            ct.contrast_limits = layers.contrast_limits(self.window_shown)
        finally:
            self._windowing = False
        ct.colormap = "gray_r" if self.session.inverted else "gray"

    def _show_rings(self) -> None:
        layer = self.layer("findings")
        if layer is None or len(layer.data) != len(self.session.findings):
            if layer is not None:
                self.viewer.layers.remove(layer)
            if not self.session.findings:
                return
            self._add_quietly([layers.findings_layer(self.session)])
            layer = self.layer("findings")
        points, features, look = rings.rings(self.session.findings)
        shown, size = np.ones(len(points), dtype=bool), np.asarray(look["size"], dtype=float)
        if self.session.slab_mm and self.viewer.dims.ndisplay == 2:
            points, shown, size = rings.laid_into(self.session, plane_of(self.viewer.dims.order), points, size)
        if not np.array_equal(layer.data, points):
            layer.data = points
        layer.features = features
        layer.size, layer.border_color, layer.shown = size, look["border_color"], shown
        layer.refresh_text()
        self._on_zoom()

    def _show_slab(self) -> None:
        for layer in self.own_layers():
            if layer.metadata["nodulus"] in ("ct", *HEAT_ROLES):
                layer.projection_mode = layers.projection(self.session)
        slab_mm, spacing_mm = self.session.slab_mm, self.session.grid.spacing_mm
        # In whole slices, else napari takes one less on one side. Never less than lines between two slices need.
        reach = [slab_reach(step, slab_mm) or 0.49 for step in spacing_mm]
        slab = tuple(2 * n * step for n, step in zip(reach, spacing_mm, strict=True))
        self.viewer.dims.thickness = slab if slab_mm else (RING_REACH_MM,) * 3

    def _on_inserted(self, event: Any) -> None:
        self._show_slice_of(event.value)

    def _show_slice_of(self, layer: Any) -> None:
        """A picture of somebody else shows its slice; napari would show its mean over our rings' reach."""
        if layer not in self.own_layers() and getattr(layer, "projection_mode", None) == "mean":
            layer.projection_mode = "none"
            self._not_mean.append(layer)

    def _give_back(self) -> None:
        """Other people's pictures are as they were."""
        for layer in self._not_mean:
            layer.projection_mode = "mean"
        self._not_mean.clear()

    def _show_rulers(self) -> None:
        """The rulers that the picture meets; all of them in 3D."""
        session, plane, point = self.session, plane_of(self.viewer.dims.order), self.session.point_mm
        shown = session.drawn_rulers
        if self.viewer.dims.ndisplay == 2:
            shown = tuple(r for r in shown if r.meets(plane, session.grid, point, slab_mm=session.slab_mm))
        # In 2D into the slice, else napari leaves out ends that lie farther away than its slice is thick.
        drawn = shown if self.viewer.dims.ndisplay == 3 else tuple(ruler.laid_into(plane, point) for ruler in shown)
        lines, texts = (self.layer(role) for role in ruler_layers.ROLES)
        if lines is None or texts is None:
            if shown:
                self._add_quietly(ruler_layers.ruler_layers(session, drawn, ruler_layers.features(shown)))
        elif not np.array_equal(lines.data, vectors := ruler_layers.vectors(drawn)):
            lines.data = vectors
            texts.data = ruler_layers.ends(drawn)
            texts.features = ruler_layers.features(shown)
            texts.refresh_text()

    def _add_quietly(self, several: list[layers.LayerData]) -> None:
        """Add layers; the one that was selected stays it."""
        active = self.viewer.layers.selection.active
        for data in several:
            self._add(data)
        self._on_zoom()
        if active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _on_zoom(self, _: Any = None) -> None:
        """Lines keep their width on the screen."""
        pixel_mm = 1.0 / max(self.viewer.scene.camera.zoom, 1e-3)
        if (layer := self.layer("crosshair")) is not None:
            layer.edge_width = 1.4 * pixel_mm
        if (layer := self.layer("rulers")) is not None:
            layer.edge_width = 2.0 * pixel_mm
        if (layer := self.layer("findings")) is not None and len(layer.data):
            layer.border_width = 2.0 * pixel_mm
