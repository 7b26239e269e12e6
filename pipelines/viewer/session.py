"""One reading session, without a window: a CT, what was found in it, where the reader is, and what was decided.

Every widget shows this model and calls its methods; none holds state of its own. Points are LPS millimetres.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.findings import Point, Report
from imaging.geometry import Grid, Volume
from imaging.geometry.upright import upright_array, upright_volume
from imaging.outputs import words
from pipelines.viewer.drawings import LONGEST_WORDS, Drawings
from pipelines.viewer.identifiers import identifiers_of, on_one_line, shortened
from pipelines.viewer.planes import Plane
from pipelines.viewer.review import FILE_NAME, Action, Earlier, Event, Reviewed, ReviewLog, orphans, readers_of, replay
from pipelines.viewer.rulers import Rulers, rulers_of
from pipelines.viewer.viewing import Viewing


class Session(Rulers, Drawings, Viewing):
    """The state of one reading session; `subscribe` tells what changed.

    What changes is named by a word: ``point``, ``selection``, ``findings``, ``window``, ``slab``,
    ``opacity``, ``ai``, ``eyes``, ``maps``, ``identifiers``, ``rulers``.

    Args:
        volume: the CT as it was read.
        reviewer: the name that decisions are signed with.
        source: where the CT was read from.
    """

    def __init__(self, volume: Volume, *, reviewer: str = "", source: Path | None = None) -> None:
        super().__init__()
        self.volume = volume
        self.source = source
        self.shown = upright_volume(volume)
        self.reviewer = reviewer
        self.report: Report | None = None
        self.folder: Path | None = None
        self.original: Path | None = None
        self.earlier = Earlier()
        self.maps: dict[str, npt.NDArray[Any]] = {}
        self.segmented_by = ""
        self.log = ReviewLog(None, volume.seriesuid)
        self.findings: tuple[Reviewed, ...] = ()
        self.selected: str | None = None
        self.point_mm: Point = self.grid.centre_mm
        self._highest: dict[str, float] = {}

    @property
    def grid(self) -> Grid:  # type: ignore[override]
        """The grid that is shown: along (z, y, x), orthogonal."""
        return self.shown.grid

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Every repair and doubt of the input and of the result, each once."""
        said = self.shown.warnings + (self.report.notices if self.report else ()) + self.log.notices
        lost = orphans(self.report.findings if self.report else (), self.log.events)
        if lost:
            message = (
                f"decisions on {words.count(lost, 'finding')} that this result does not hold; they stay in {FILE_NAME}"
            )
            said += (Notice("review.orphaned", message),)
        return tuple(dict.fromkeys(said))

    @property
    def identifiers(self) -> str:
        """Who the patient is, a line each, from the DICOM header; only for the screen, and only when asked for."""
        return identifiers_of(self.volume)

    # --- the result -------------------------------------------------------------------------------------------------
    def set_result(
        self,
        report: Report,
        maps: Mapping[str, tuple[npt.NDArray[Any], Grid]],
        *,
        folder: Path | None = None,
        original: Path | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        """Take a result: its report, its maps with their grids (any orientation), and the folder its review lives in.

        A segmentation that the reader laid over the CT stays.

        `original` is the DICOM report that the result is, or was written as; a reviewed one names it. `earlier` is what
        readers had decided in it.

        Raises:
            InputError: ``review.other_series`` if the folder's decisions belong to another CT.
        """
        log = ReviewLog(None if folder is None else folder / FILE_NAME, self.volume.seriesuid)
        laid_over = {role: array for role, array in self.maps.items() if role == "segmentation"}
        self.maps = laid_over | {name: self._on_shown_grid(array, grid) for name, (array, grid) in maps.items()}
        self.report, self.folder, self.log, self.original = report, folder, log, original
        self.earlier = earlier or Earlier()
        self._highest = {}
        self.eyes.clear()  # what is new must be seen, and the map of the words that were asked for
        self.selected = None
        self._replay()
        self._tell("maps", "findings", "selection", "rulers")

    def keep_in(self, folder: Path) -> None:
        """Keep decisions in a folder although there is no AI result: a reader can mark nodules without one.

        Raises:
            InputError: ``review.other_series`` if the folder's decisions belong to another CT.
        """
        self.folder, self.log = folder, ReviewLog(folder / FILE_NAME, self.volume.seriesuid)
        self._replay()
        self._tell("findings", "rulers")

    def move_review(self, folder: Path) -> None:
        """Keep the decisions, those made already too, in another folder: the one before cannot be written to.

        Raises:
            InputError: ``review.other_series``.
            OutputError: ``review.unwritten``; they stay where they were.
        """
        self.log.move_to(folder / FILE_NAME)
        self.folder = folder
        self._replay()
        self._tell("findings", "rulers")

    def lay_over(self, labels: npt.NDArray[np.uint8], grid: Grid, *, by: str = "") -> None:
        """Lay a segmentation over the CT, which some product made; the result stays."""
        self.maps["segmentation"] = self._on_shown_grid(labels, grid)
        self.segmented_by = on_one_line(by)
        self._tell("maps")

    def _on_shown_grid(self, array: npt.NDArray[Any], grid: Grid) -> npt.NDArray[Any]:
        from imaging.geometry.resample import resample_array

        order: Any = 0 if np.issubdtype(array.dtype, np.integer) or array.dtype == bool else 1
        upright, upright_grid = upright_array(array, grid, order=order)
        if upright_grid.same_as(self.grid, tolerance_mm=0.1):
            return upright
        return resample_array(upright, upright_grid, self.grid, order=order)

    def _replay(self) -> None:
        rows = replay(self.report.findings if self.report else (), self.log.events, self.earlier.rows)
        self.findings = tuple(sorted(rows, key=lambda row: (row.original is None, -row.finding.score)))
        self.rulers = rulers_of(self.log.events)

    # --- where the reader is ----------------------------------------------------------------------------------------
    def go_to(self, point_mm: Point) -> None:
        """Put the crosshair at a point; it stays inside the voxels of the CT."""
        x, y, z = (float(value) for value in self.grid.to_mm(self._index_inside(point_mm)))
        if np.allclose((x, y, z), self.point_mm, atol=1e-6):
            return
        self.point_mm = (x, y, z)
        self._tell("point")

    def _index_inside(self, point_mm: Point) -> npt.NDArray[np.float64]:
        inside: npt.NDArray[np.float64] = np.clip(self.grid.to_index(point_mm), 0, np.asarray(self.grid.shape) - 1)
        return inside

    def is_at(self, point_mm: Point, *, within_voxels: float) -> bool:
        """Whether the crosshair is as near to a point, along each axis, as so many voxels; or as near as it can get."""
        away = self._index_inside(point_mm) - self.grid.to_index(self.point_mm)
        return bool(np.abs(away).max() < within_voxels)

    def select(self, tracking_uid: str | None) -> None:
        """Select a finding and put the crosshair on it."""
        self.selected = tracking_uid
        row = self.current
        if row is not None:
            self.go_to(row.finding.centre_mm)
        self._tell("selection")

    @property
    def current(self) -> Reviewed | None:
        """The selected finding."""
        return next((row for row in self.findings if row.finding.tracking_uid == self.selected), None)

    def step(self, by: int) -> None:
        """Select the next (1) or previous (-1) finding of the list, round and round."""
        if not self.findings:
            return
        uids = [row.finding.tracking_uid for row in self.findings]
        at = uids.index(self.selected) if self.selected in uids else (-1 if by > 0 else 0)
        self.select(uids[(at + by) % len(uids)])

    def readout(self, point_mm: Point, plane: Plane) -> str:
        """``HU −612 · LPS (x, y, z) mm · slice i/n``, slices counted from 1 at the low end of the axis that is cut."""
        index = np.rint(self.grid.to_index(point_mm)).astype(int)
        place = "LPS ({:.1f}, {:.1f}, {:.1f}) mm".format(*point_mm)
        through = plane.order[0]
        where = f"{place} · slice {index[through] + 1}/{self.grid.shape[through]}"
        if not self.grid.contains(point_mm):
            return f"outside · {place}".replace("-", "−")
        value = float(self.shown.array[tuple(index)])
        return f"{'HU' if self.shown.is_hu else 'value'} {value:.0f} · {where}".replace("-", "−")

    # --- decisions --------------------------------------------------------------------------------------------------
    def decide(self, action: Action, *, finding: str | None = None, **values: Any) -> None:
        """Record one decision on the selected (or the named) finding and bring it to the disk.

        Raises:
            OutputError: ``review.unwritten`` after the decision was taken in memory; it is in `log.unsaved`.
        """
        uid = finding or self.selected
        if uid is None:
            return
        self._record(Event(action, self.volume.seriesuid, self.reviewer, uid, values))

    def _record(self, event: Event) -> None:
        try:
            self.log.append(event)
        finally:
            self._replay()
            self._tell("findings", "rulers")

    def _record_ruler(self, start_mm: Point, end_mm: Point) -> None:
        values = {"start_mm": [round(v, 3) for v in start_mm], "end_mm": [round(v, 3) for v in end_mm]}
        self._record(Event("ruler", self.volume.seriesuid, self.reviewer, "", values))

    def add_missed(self, *, diameter_mm: float | None = None) -> None:
        """Mark a nodule that the AI missed at the crosshair, and select it."""
        uid = f"2.25.{uuid.uuid4().int}"
        try:
            self.decide("add", finding=uid, centre_mm=list(self.point_mm), diameter_mm=diameter_mm)
        finally:
            self.select(uid)

    def undo(self) -> Event | None:
        """Take back the last decision or ruler that still stands (with an event of its own); returns what it was.

        Raises:
            OutputError: ``review.unwritten`` after it was taken back in memory.
        """
        last = self.log.last_standing()
        if last is not None:
            self._record(Event("undo", self.volume.seriesuid, self.reviewer, last.finding, {"event": last.event}))
        return last

    @property
    def readers(self) -> tuple[str, ...]:
        """Everybody whose decisions these are."""
        return readers_of(self.log.events, self.earlier.readers)

    def note_export(self, **identity: str) -> None:
        """Note in the file of decisions which DICOM report was made of them.

        Raises:
            OutputError: ``review.unwritten``.
        """
        self.log.append(Event("export", self.volume.seriesuid, self.reviewer, "", identity))

    @property
    def undecided(self) -> int:
        """How many findings nobody has decided on."""
        return sum(row.state == "undecided" for row in self.findings)

    @property
    def by_nodulus(self) -> bool:
        """Whether nodulus made the list, not another product or a person whose report was opened."""
        return self.report is not None and self.report.provenance.software.startswith("nodulus")

    @property
    def maker(self) -> str:
        """Who says what is in the list: the AI, or who made the report that was opened, as it says."""
        if self.report is None or self.by_nodulus:
            return "AI"
        return f"by {shortened(on_one_line(self.report.provenance.software), most=LONGEST_WORDS)}"

    @property
    def short_banner(self) -> str:
        """`banner` for the corner of the picture."""
        if self.report is None and not self.findings:
            return "no AI result"
        if not self.findings and self.earlier.readers:
            return "reviewed, none left"
        done = len(self.findings) - self.undecided
        if done and not self.undecided:
            return f"reviewed ({done} of {done})"
        # In a line of its own, and cut off, a maker does not run into the letter of the upper edge.
        said = "AI, " if self.maker == "AI" else f"{shortened(self.maker, most=20)},\n"
        return f"{said}not reviewed ({done} of {len(self.findings)})"

    @property
    def banner(self) -> str:
        """What must stay visible: whether a person has looked at what the AI says."""
        if self.report is None and not self.findings:
            return "no AI result"
        if not self.findings and self.earlier.readers:
            return f"reviewed by {self._earlier_readers}: no finding is left of what was decided on"
        if not self.findings:
            found = "AI found nothing above its threshold" if self.maker == "AI" else f"no finding {self.maker}"
            return f"{found}, not reviewed: this does not mean healthy"
        total = len(self.findings)
        if self.undecided:
            return f"{self.maker}, not reviewed: {self.undecided} of {words.count(total, 'finding')} undecided"
        return f"all {total} findings reviewed" if total > 1 else "the only finding is reviewed"

    @property
    def _earlier_readers(self) -> str:
        return shortened(on_one_line(", ".join(self.earlier.readers)), most=LONGEST_WORDS)
