"""A move from slice to slice without what napari does twice, or draws for nobody yet.

For each move napari asks all layers for their slices twice (once told of the point, once of the slider's step, which
is the same number; the second time nothing is new), paints each layer's small picture for the layer list, and tells the
layer list of every event of every layer, so that it draws all its rows again: a tenth of a jump. Layers are asked once
here, and the list follows when the reader rests.

The names with an underscore are napari's own; without them everything is as napari does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

#: After so long without a move the layer list shows what the layers show, ms.
REST_MS: Final = 250


class Moves:
    """Makes moves of one viewer light, and lets the layer list follow when they end.

    Args:
        viewer: a napari viewer.
    """

    def __init__(self, viewer: Any) -> None:
        from qtpy.QtCore import QTimer

        # A plugin gets its viewer behind a guard of public names.
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._owed: list[Any] = []
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self.settle)

    @contextmanager
    def light(self, some: list[Any]) -> Iterator[None]:
        """Within, layers are asked for their slices once; the layer list hears of these layers later."""
        listed = getattr(self._viewer.layers, "_reemit_child_event", None)
        with ExitStack() as unheard:
            if slices := getattr(self._viewer, "_update_layers", None):
                # The point's event comes as well, and has sliced everything by then.
                unheard.enter_context(self._viewer.dims.events.current_step.blocker(slices))
            for layer in some:
                if listed is not None:
                    unheard.enter_context(layer.events.blocker(listed))
                unheard.enter_context(_no_thumbnail(layer))
            try:
                yield
            finally:
                self._owed = [*self._owed, *(layer for layer in some if layer not in self._owed)]
                self._timer.start()

    def settle(self) -> None:
        """Paint the small pictures that are owed, of which the layer list then hears."""
        self._timer.stop()
        owed, self._owed = self._owed, []
        for layer in owed:
            layer.refresh(data_displayed=False, highlight=False, extent=False)


@contextmanager
def _no_thumbnail(layer: Any) -> Iterator[None]:
    layer._update_thumbnail = lambda *_: None
    try:
        yield
    finally:
        with suppress(AttributeError):  # a move within the move has taken it off
            del layer._update_thumbnail
