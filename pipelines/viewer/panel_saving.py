"""What the reading panel does so that no decision is lost: drafts are kept, unwritten decisions are written again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox

from imaging.errors import ImagingError
from imaging.outputs import words
from pipelines.viewer.panel_look import PanelLook

if TYPE_CHECKING:
    from pipelines.viewer.session import Session


class PanelSaving(PanelLook):
    """The base of `ReadingPanel` that knows drafts and unwritten decisions."""

    session: Session | None
    draft_of: str | None = None
    _told_code = ""  # of the refusal that stands in the panel

    def _try(self, action: Any) -> None:
        try:
            action()
        except ImagingError as error:
            self.refuse(error)

    # --- drafts -----------------------------------------------------------------------------------------------------
    def _begin_draft(self, _: str = "") -> None:
        """The text in the field belongs to the finding that is selected now, wherever the reader goes next."""
        if self.session is not None and self.draft_of is None:
            self.draft_of = self.session.selected

    def _keep_draft(self) -> None:
        """A comment that was typed and not entered is a comment too."""
        uid, self.draft_of = self.draft_of, None
        session = self.session
        if session is None or uid is None:
            return
        text = self.comment.text().strip()
        said = next((row.comment for row in session.findings if row.finding.tracking_uid == uid), text)
        if text != said:
            self._try(lambda: session.decide("comment", finding=uid, text=text))

    def _set_diameter(self) -> None:
        """A typed diameter is an edit; the same one as before is none."""
        session, value = self.session, round(self.diameter.value(), 1)
        row = session.current if session else None
        if session is not None and row is not None and value > 0 and value != round(row.finding.diameter_mm or 0.0, 1):
            self._try(lambda: session.decide("edit", diameter_mm=value))

    # --- unwritten decisions ----------------------------------------------------------------------------------------
    def _show_unsaved(self) -> None:
        count = len(self.session.log.unsaved) if self.session else 0
        self.save.setText(f"Save {words.count(count, 'decision')} again")
        self.save.setVisible(count > 0)
        self.save_elsewhere.setVisible(count > 0)
        if not count and self._told_code == "review.unwritten":
            self.tell("")

    def _save(self) -> None:
        """Write again what the disk refused."""
        if self.session is not None:
            self._try(self.session.log.save)
            self._show_unsaved()

    def _save_elsewhere(self) -> None:
        """A result on a disk that is only read cannot hold its review."""
        session = self.session
        chosen = QFileDialog.getExistingDirectory(self, "A folder for the decisions") if session is not None else ""
        if session is not None and chosen:
            self._try(lambda: session.move_review(Path(chosen)))
            self._show_unsaved()

    def may_leave(self) -> bool:
        """Whether the session may be closed: everything is on the disk, or the reader agrees to lose what is not."""
        self._keep_draft()
        if self.session is None or not self.session.log.unsaved:
            return True
        self._save()
        return not self.session.log.unsaved or self.ask_to_lose()

    def ask_to_lose(self) -> bool:
        """Whether the reader wants to go on although decisions would be lost."""
        count = len(self.session.log.unsaved) if self.session else 0
        text = f"{words.count(count, 'decision')} could not be written to the disk and would be lost."
        buttons = QMessageBox.StandardButton.Discard | QMessageBox.StandardButton.Cancel
        answer = QMessageBox.warning(self, "nodulus", text, buttons, QMessageBox.StandardButton.Cancel)
        return answer == QMessageBox.StandardButton.Discard

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Closing the window with decisions that are not on the disk asks first; a running search ends."""
        if event.type() == QEvent.Type.Close:
            if not self.may_leave():
                event.ignore()
                return True
            self.finder.stop()
        return super().eventFilter(watched, event)
