"""The small pictures of napari's layer list follow when the reader rests: drawing them takes longer than the CT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

#: After so long without a move the layer list shows what the layers show, ms.
REST_MS: Final = 250


class LateThumbnails:
    """Holds back what layers say of their thumbnails while a reader moves, and lets them say it when he rests."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._held: list[Any] = []
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self.tell)

    @contextmanager
    def held(self, some: list[Any]) -> Iterator[None]:
        """What happens within is told of later."""
        with ExitStack() as unheard:
            for layer in some:
                unheard.enter_context(layer.events.thumbnail.blocker())
            yield
        self._held = [*self._held, *(layer for layer in some if layer not in self._held)]
        self._timer.start()

    def tell(self) -> None:
        """Tell of all that was held back."""
        self._timer.stop()
        held, self._held = self._held, []
        for layer in held:
            layer.events.thumbnail()
