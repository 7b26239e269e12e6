"""The reading panel: what the AI says, the findings, the decisions of the reader, and the button that runs the AI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QEvent, QTimer

from imaging.errors import ImagingError, OutputError
from pipelines.viewer.answers import NothingDone
from pipelines.viewer.cockpit import Cockpit
from pipelines.viewer.docking import docked
from pipelines.viewer.drawings import NAMES
from pipelines.viewer.dropping import Drops
from pipelines.viewer.find_nodules import keep
from pipelines.viewer.opening import own_folder
from pipelines.viewer.panel_saving import PanelSaving
from pipelines.viewer.results import show_result
from pipelines.viewer.session import Session
from pipelines.viewer.slice_numbers import SliceNumbers

if TYPE_CHECKING:
    import napari

    from imaging.outputs.case import CaseResult

#: Colours of what is said to the reader.
REFUSED: Final = "#ff8a65"
DONE: Final = "#2fd08a"


class ReadingPanel(PanelSaving):
    """Docked beside the picture; it takes up every CT that nodulus opens in its viewer."""

    nodulus_role = "panel"

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.cockpit: Cockpit | None = None
        self._drops = Drops(self)
        self._without_ct: list[Session] = []  # whose CT was taken out of the layer list
        self._busy = False  # while a session comes or goes
        self._taken_out = False  # of its window: another panel has the viewer
        self.setMinimumWidth(330)
        self._build()
        self._bind_keys()
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self.viewer.layers.events.removed.connect(self._on_removed)
        for layer in tuple(self.viewer.layers):
            self._take(layer)
        self._show()

    # --- what it looks like -----------------------------------------------------------------------------------------
    def _show(self, change: str = "") -> None:
        session = self.session
        self.banner.setText(session.banner if session else "Open a CT: drop a folder, a zip or a file on the picture.")
        waiting = session is None or session.report is None or session.undecided or not session.findings
        style = f"font-weight: bold; padding: 4px; color: {'#ffb000' if waiting else '#2fd08a'};"
        if style != self.banner.styleSheet():  # a new style lays out the whole panel
            self.banner.setStyleSheet(style)
        if change == "selection":
            self.findings.mark(session)
        else:
            self.findings.show_session(session)
        self.most_similar.setVisible(session is not None and session.asked_for)
        if session is not None and session.asked_for:
            self.most_similar.setText(f"Go to the most similar place ({session.highest('similarity'):.2f})")
            self.most_similar.setToolTip(session.drawing_name("similarity"))
        row = session.current if session else None
        self.details.setText("" if row is None or session is None else details(row, session.maker))
        self._keep_draft()
        self.comment.setText("" if row is None else row.comment)
        self.comment.setCursorPosition(0)
        self.comment.setEnabled(row is not None)
        self.diameter.setValue(0.0 if row is None else row.finding.diameter_mm or 0.0)
        self.diameter.setEnabled(row is not None)
        self.patient.setEnabled(session is not None)
        self.patient.setChecked(session is not None and session.identifiers_shown)
        self._show_unsaved()
        for action in ("accept", "reject", "edit_centre"):
            self.buttons[action].setEnabled(row is not None)
        self.export.setEnabled(session is not None and bool(session.report or session.findings))
        if session is not None:
            self.notices.setText("\n".join(f"• {notice.message} ({notice.code})" for notice in session.notices))
            if not self.reviewer.hasFocus():
                self.reviewer.setText(session.reviewer)

    def tell(self, text: str, *, code: str = "") -> None:
        """Say what was refused; it stays until the next thing is opened, run or exported well."""
        self._told_code = code
        _write(self.message, text, REFUSED)

    def say(self, text: str) -> None:
        """Say what was done; it stays until the next thing is opened, run or exported well."""
        self._told_code = ""
        _write(self.message, text, DONE)

    def refuse(self, error: ImagingError) -> None:
        """Say what was refused, in its own words."""
        self.tell(str(error), code=error.code)

    def answer(self, text: str, *, done: bool) -> None:
        """Say below the buttons what the last key did, or why it did nothing; it stays until the next key."""
        _write(self.answered, text, DONE if done else REFUSED)

    def event(self, event: Any) -> bool:
        """Taken out of its window: the wiring goes, the picture stays for whoever docks the panel again."""
        done = super().event(event)
        if event.type() == QEvent.Type.ParentChange:
            self._taken_out = self.parent() is None
            if self._taken_out:
                self._let_go()
        return bool(done)

    def _let_go(self) -> None:
        """End the wiring to the open session."""
        if self.cockpit is None:
            return
        self._keep_draft()
        self._unsubscribe()
        self._slice_numbers.close()
        cockpit, self.cockpit = self.cockpit, None
        cockpit.close()

    def showEvent(self, event: Any) -> None:
        """In its window at last: what falls on the picture comes here, and closing is noticed."""
        super().showEvent(event)
        if self.cockpit is not None:
            self._slice_numbers.find()
        self._drops.watch(self.window())
        self.window().installEventFilter(self)

    # --- the session ------------------------------------------------------------------------------------------------
    @property
    def session(self) -> Session | None:  # type: ignore[override]
        """The session that is open."""
        return self.cockpit.session if self.cockpit else None

    def adopt(self, session: Session) -> None:
        """Show another session; the one before is closed, its decisions are on the disk."""
        if self.cockpit is not None:
            if self.cockpit.session is session:
                return
            self.leave()
        self._busy = True
        try:
            self.cockpit = Cockpit(self.viewer, session, voice=self)
        finally:
            self._busy = False
        self.cockpit.layer("ct").name = NAMES["ct"]  # napari numbers it while the one before is still there
        self.cockpit.on_comment = self.comment.setFocus
        self.cockpit.on_study = self._page
        self._unsubscribe = session.subscribe(self._on_change)
        self._slice_numbers = SliceNumbers(self.viewer, self.window, session)
        self.tell("")
        self.answer("", done=True)
        self._show()

    def leave(self) -> None:
        """Take the open session's layers and wiring away."""
        if self.cockpit is None:
            return
        cockpit = self.cockpit
        self._let_go()
        for layer in cockpit.own_layers():
            self.viewer.layers.remove(layer)
        self._show()

    def _on_change(self, change: str) -> None:
        if change in ("findings", "selection", "maps", "identifiers"):
            self._show(change)

    def _on_removed(self, event: Any) -> None:
        """Without its CT a session has nothing to show; with decisions that the disk refuses its CT comes back."""
        told, session = event.value.metadata, self.session
        if session is None or self._busy or told.get("session") is not session or told.get("nodulus") != "ct":
            return
        self._without_ct.append(session)
        self._let_go()
        self._show()
        QTimer.singleShot(0, self._tidy_up)  # napari may be taking out more of them, one by one

    def _tidy_up(self) -> None:
        """Take out what is left of a session without its CT; one with decisions in memory alone is shown again."""
        while self._without_ct:
            session = self._without_ct.pop()
            for layer in [layer for layer in self.viewer.layers if layer.metadata.get("session") is session]:
                self.viewer.layers.remove(layer)
            with suppress(OutputError):
                session.log.save()
            if session.log.unsaved and self.session is None and not self._taken_out and self.window().isVisible():
                self._take_back(session)

    def _take_back(self, session: Session) -> None:
        self.adopt(session)
        self.tell("The CT is back: the disk has not taken every decision on it yet. Save them, or open another CT.")

    def _on_inserted(self, event: Any) -> None:
        self._take(event.value)

    def _take(self, layer: Any) -> None:
        if layer.metadata.get("nodulus") == "ct" and not self._busy and not self._taken_out:
            self.adopt(layer.metadata["session"])

    def _volume(self) -> Any:
        return self.session.volume if self.session else None

    # --- what the reader does ---------------------------------------------------------------------------------------
    def act(self, action: str) -> None:
        """Run the action of a key."""
        if self.cockpit is not None:
            self.cockpit.do(action)

    def _save_comment(self) -> None:
        self._keep_draft()
        self.findings.setFocus()

    def _go_to_most_similar(self) -> None:
        if self.session is not None and self.cockpit is not None:
            self.session.go_to(self.session.place_of_highest("similarity"))
            self.cockpit.centre_on(self.session.point_mm)

    def _choose(self, tracking_uid: str) -> None:
        if self.session is not None:
            self.session.select(tracking_uid)

    def _set_reviewer(self) -> None:
        if self.session is not None:
            self.session.reviewer = self.reviewer.text().strip()

    def _on_result(self, result: CaseResult) -> None:
        """Keep the result where it is found again; show it if its CT is still the open one."""
        folder = own_folder(result.volume.seriesuid)
        self.tell("")
        self._try(lambda: keep(result, folder))
        session = self.session
        if session is None or session.volume.seriesuid != result.volume.seriesuid:
            self.say("The search has ended for a CT that is closed; its result is there when you open that CT again.")
        elif self.may_leave():
            self._try(lambda: show_result(session, result, folder=folder))

    def _page(self, by: int) -> None:
        """Page through the worklist, if one is docked in this window."""
        if (worklist := docked(self.viewer, "worklist")) is None:
            raise NothingDone("There is no worklist to page through: open one with Plugins > nodulus > Worklist.")
        worklist.step(by)

    def _export(self) -> None:
        from pipelines.viewer.export_dialog import export

        if self.session is not None:
            self._try(lambda: export(self, self.session))


def _write(label: Any, text: str, colour: str) -> None:
    label.setStyleSheet(f"color: {colour};")
    label.setText(text)
    label.setVisible(bool(text))


def details(row: Any, maker: str) -> str:
    """The selected finding in words."""
    from pipelines.viewer.finding_list import tooltip

    return tooltip(row, maker=maker, least=0.5)
