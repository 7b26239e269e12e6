"""The reading panel: what the AI says, the findings, the decisions of the reader, and the button that runs the AI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox

from imaging.errors import ImagingError
from pipelines.viewer.cockpit import Cockpit
from pipelines.viewer.find_nodules import keep
from pipelines.viewer.layers import NAMES
from pipelines.viewer.opening import own_folder
from pipelines.viewer.panel_look import PanelLook
from pipelines.viewer.results import show_result
from pipelines.viewer.session import Session

if TYPE_CHECKING:
    import napari

    from imaging.outputs.case import CaseResult


class ReadingPanel(PanelLook):
    """Docked beside the picture; it takes up every CT that nodulus opens in its viewer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.cockpit: Cockpit | None = None
        self._adopting = False
        self.setMinimumWidth(330)
        self._build()
        self._bind_keys()
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        for layer in tuple(self.viewer.layers):
            self._take(layer)
        self._show()

    # --- what it looks like -----------------------------------------------------------------------------------------
    def _show(self, change: str = "") -> None:
        session = self.session
        self.banner.setText(session.banner if session else "Open a CT: drop a folder, a zip or a file on the picture.")
        waiting = session is None or session.report is None or session.undecided or not session.findings
        self.banner.setStyleSheet(f"font-weight: bold; padding: 4px; color: {'#ffb000' if waiting else '#2fd08a'};")
        if change == "selection":
            self.findings.mark(session)
        else:
            self.findings.show_session(session)
        row = session.current if session else None
        self.details.setText("" if row is None else details(row))
        self.comment.setText("" if row is None else row.comment)
        self.comment.setEnabled(row is not None)
        for action in ("accept", "reject", "edit_centre"):
            self.buttons[action].setEnabled(row is not None)
        self.export.setEnabled(session is not None and session.report is not None)
        if session is not None:
            self.notices.setText("\n".join(f"• {notice.message} ({notice.code})" for notice in session.notices))
            if not self.reviewer.hasFocus():
                self.reviewer.setText(session.reviewer)

    def tell(self, text: str) -> None:
        """Say what was refused; it stays until the next thing happens."""
        self.message.setText(text)

    # --- the session ------------------------------------------------------------------------------------------------
    @property
    def session(self) -> Session | None:
        """The session that is open."""
        return self.cockpit.session if self.cockpit else None

    def adopt(self, session: Session) -> None:
        """Show another session; the one before is closed, its decisions are on the disk."""
        if self.cockpit is not None:
            if self.cockpit.session is session:
                return
            self.leave()
        self._adopting = True
        try:
            self.cockpit = Cockpit(self.viewer, session, tell=self.tell)
        finally:
            self._adopting = False
        self.cockpit.layer("ct").name = NAMES["ct"]  # napari numbers it while the one before is still there
        self.cockpit.on_comment = self.comment.setFocus
        self.cockpit.on_study = self._page
        self._unsubscribe = session.subscribe(self._on_change)
        self.message.clear()
        self.window().installEventFilter(self)
        self._show()

    def leave(self) -> None:
        """Take the open session's layers and wiring away."""
        if self.cockpit is None:
            return
        self._unsubscribe()
        self.cockpit.close()
        for layer in self.cockpit.own_layers():
            self.viewer.layers.remove(layer)
        self.cockpit = None

    def _on_change(self, change: str) -> None:
        if change in ("findings", "selection", "maps"):
            self._show(change)

    def _on_inserted(self, event: Any) -> None:
        self._take(event.value)

    def _take(self, layer: Any) -> None:
        if layer.metadata.get("nodulus") == "ct" and not self._adopting:
            self.adopt(layer.metadata["session"])

    def _volume(self) -> Any:
        return self.session.volume if self.session else None

    # --- what the reader does ---------------------------------------------------------------------------------------
    def _do(self, action: str) -> None:
        if self.cockpit is not None:
            self.message.clear()
            self.cockpit.do(action)

    def _save_comment(self) -> None:
        if self.session is not None and self.session.current is not None:
            text = self.comment.text()
            session = self.session
            self._try(lambda: session.decide("comment", text=text))
            self.findings.setFocus()

    def _choose(self, tracking_uid: str) -> None:
        if self.session is not None:
            self.session.select(tracking_uid)

    def _set_reviewer(self) -> None:
        if self.session is not None:
            self.session.reviewer = self.reviewer.text().strip()

    def _on_result(self, result: CaseResult) -> None:
        session = self.session
        if session is None or session.volume.seriesuid != result.volume.seriesuid:
            return
        folder = own_folder(session.volume.seriesuid)
        if session.folder in (None, folder):
            self._try(lambda: keep(result, folder))
        self._try(lambda: show_result(session, result, folder=session.folder or folder))

    def _try(self, action: Any) -> None:
        try:
            action()
        except ImagingError as error:
            self.tell(str(error))

    def _page(self, by: int) -> None:
        """Page through the worklist, if one is docked in this window."""
        from pipelines.viewer.worklist_widget import WorklistPanel

        for widget in self.viewer.window.dock_widgets.values():
            if isinstance(widget, WorklistPanel):
                widget.step(by)

    def _export(self) -> None:
        from pipelines.viewer.export_dialog import export

        if self.session is not None:
            self._try(lambda: export(self, self.session))

    # --- closing ----------------------------------------------------------------------------------------------------
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Closing the window with decisions that are not on the disk asks first."""
        if event.type() == QEvent.Type.Close and self.session is not None and self.session.log.unsaved:
            self._try(self.session.log.save)
            if self.session.log.unsaved and not self.ask_to_lose():
                event.ignore()
                return True
        return super().eventFilter(watched, event)

    def ask_to_lose(self) -> bool:
        """Whether the reader wants to close although decisions would be lost."""
        count = len(self.session.log.unsaved) if self.session else 0
        text = f"{count} decisions could not be written to the disk and would be lost. Close all the same?"
        return QMessageBox.question(self, "nodulus", text) == QMessageBox.StandardButton.Yes


def details(row: Any) -> str:
    """The selected finding in words."""
    from pipelines.viewer.finding_list import tooltip

    return tooltip(row, least=0.5)
