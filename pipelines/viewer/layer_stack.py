"""The session's layers in a napari viewer: added, found by their role, and kept as the session says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imaging.preprocessing.windows import WINDOWS
from pipelines.viewer import layers
from pipelines.viewer.keys import KEYS
from pipelines.viewer.session import Session

#: What the sliders of the layer controls span.
HU_RANGE = (-3000.0, 5000.0)

#: Thickness of the slice in which napari looks for rings; images are told to ignore it unless a slab is on.
RING_REACH_MM = 80.0


class LayerStack:
    """The base of `Cockpit` that knows the layers."""

    viewer: Any
    session: Session

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
        from napari.layers import Layer

        layer = self.viewer.add_layer(Layer.create(*data))
        if layer.metadata["nodulus"] in layers.LABEL_COLOURS:
            layer.contour = 1
        self._bind(layer)
        return layer

    def _bind(self, layer: Any) -> None:
        """Layer keys win over the viewer's in napari, so ours stand on our layers too."""
        for row in KEYS:
            layer.bind_key(row.key, self._key(row.action), overwrite=True)

    def _show_result(self) -> None:
        active = self.viewer.layers.selection.active
        for layer in [layer for layer in self.own_layers() if layer.metadata["nodulus"] in layers.AI_ROLES]:
            self.viewer.layers.remove(layer)
        for data in layers.result_layers(self.session):
            self._add(data)
        for layer in self.own_layers():
            self._bind(layer)
        self._on_zoom()
        if active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def _key(self, action: str) -> Callable[[Any], None]:
        def press(_: Any) -> None:
            self.do(action)

        return press

    def _show_window(self) -> None:
        ct = self.layer("ct")
        window = self.session.window if self.viewer.dims.ndisplay == 2 else WINDOWS["bone"]
        ct.contrast_limits_range = HU_RANGE
        ct.contrast_limits = layers.contrast_limits(window)
        ct.colormap = "gray_r" if self.session.inverted else "gray"

    def _show_rings(self) -> None:
        layer = self.layer("findings")
        if layer is None or len(layer.data) != len(self.session.findings):
            if layer is not None:
                self.viewer.layers.remove(layer)
            if self.session.findings:
                self._add(layers.findings_layer(self.session))
            return
        points, features, look = layers.rings(self.session.findings)
        layer.data = points
        layer.features = features
        layer.size, layer.border_color = look["size"], look["border_color"]
        layer.refresh_text()
        self._on_zoom()

    def _show_slab(self) -> None:
        for layer in self.own_layers():
            if layer.metadata["nodulus"] in ("ct", "grad_cam", "similarity"):
                layer.projection_mode = "max" if self.session.slab_mm else "none"
        self.viewer.dims.thickness = (self.session.slab_mm or RING_REACH_MM,) * 3

    def _on_zoom(self, _: Any = None) -> None:
        """Lines keep their width on the screen."""
        pixel_mm = 1.0 / max(self.viewer.scene.camera.zoom, 1e-3)
        if (layer := self.layer("crosshair")) is not None:
            layer.edge_width = 1.4 * pixel_mm
        if (layer := self.layer("findings")) is not None and len(layer.data):
            layer.border_width = 2.0 * pixel_mm
