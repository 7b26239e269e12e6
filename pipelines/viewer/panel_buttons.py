"""The buttons under the list of findings."""

from __future__ import annotations

from typing import Final

#: The buttons: text and the action of `KEYS`.
BUTTONS: Final = (
    ("Accept", "accept"),
    ("Reject", "reject"),
    ("Move", "edit_centre"),
    ("Add", "add_missed"),
    ("Undo", "undo"),
)
