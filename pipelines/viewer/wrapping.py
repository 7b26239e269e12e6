"""A label whose text never makes its panel wider: UIDs and paths may break after their dots and strokes."""

from __future__ import annotations

import re
from typing import Final

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

#: Where a line may end without anything being seen.
BREAK: Final = "\u200b"

#: Characters of a word that may be broken; shorter ones fit in a line.
LONG: Final = 28


class WrappedLabel(QLabel):
    """Selectable text in as many lines as it takes; `text` gives it back as it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setMinimumWidth(1)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def setText(self, text: str) -> None:
        """Show a text; long words may break after a dot, a stroke or an underscore."""
        super().setText(re.sub(rf"\S{{{LONG},}}", lambda word: re.sub(r"(?<=[./\\_-])(?=.)", BREAK, word[0]), text))

    def text(self) -> str:
        """The text without the places where it may break."""
        return super().text().replace(BREAK, "")
