"""What each key does: one method a row of `KEYS`, all of them calls on the session.

A method returns what there is to say about it where the picture does not show it, and raises `NothingDone` where there
was nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from imaging.preprocessing.windows import WINDOWS
from pipelines.viewer.answers import NO_FINDING, NothingDone, not_measured, not_moved, taken_back
from pipelines.viewer.axes import order_of, some_slices_on
from pipelines.viewer.planes import PLANES

if TYPE_CHECKING:
    from pipelines.viewer.planes import Plane
    from pipelines.viewer.review import Reviewed
    from pipelines.viewer.session import Session

#: A centre that would move by less than this along each axis stays. The picture cannot tell such places apart (it is
#: half of the way from a voxel's middle to its edge), and what a float rounds is far less.
UNMOVED_VOXELS: Final = 0.25

#: A radius under half a voxel is none: nothing narrower than a voxel can be measured.
LEAST_RADIUS_VOXELS: Final = 0.5


class Actions:
    """The actions of the keys; `Cockpit` adds the wiring."""

    viewer: Any
    session: Session
    plane: Plane
    on_comment: Callable[[], None]
    on_study: Callable[[int], None]
    _cut_before: str = "axial"

    def show_plane(self) -> None:
        """Orient the camera and write the letters of the plane that the viewer's axes are in now."""
        raise AttributeError("show_plane")

    def window_lung(self) -> None:
        """Lung window."""
        self.session.set_window(*WINDOWS["lung"])

    def window_mediastinum(self) -> None:
        """Mediastinal window."""
        self.session.set_window(*WINDOWS["mediastinum"])

    def window_bone(self) -> None:
        """Bone window."""
        self.session.set_window(*WINDOWS["bone"])

    def invert(self) -> None:
        """Black to white."""
        self.session.invert()

    def axial(self) -> None:
        """The axial plane."""
        self._cut("axial")

    def coronal(self) -> None:
        """The coronal plane."""
        self._cut("coronal")

    def sagittal(self) -> None:
        """The sagittal plane."""
        self._cut("sagittal")

    def _cut(self, name: str) -> None:
        order = order_of(PLANES[name], self.viewer.dims.ndim)
        if self.viewer.dims.ndisplay == 2 and self.viewer.dims.order == order:
            self.viewer.reset_view()
        self.viewer.dims.ndisplay = 2
        self.viewer.dims.order = order
        self.show_plane()

    def volume_3d(self) -> None:
        """3D, seen from the front, and back to the plane before."""
        if self.viewer.dims.ndisplay == 3:
            self._cut(self._cut_before)
            self.viewer.reset_view()
            return
        self._cut_before = self.plane.name
        self.viewer.dims.order = order_of(PLANES["coronal"], self.viewer.dims.ndim)
        self.viewer.dims.ndisplay = 3
        self.show_plane()
        self.viewer.reset_view()

    def slice_up(self) -> None:
        """One slice up the axis that is cut."""
        self.scroll(1)

    def slice_down(self) -> None:
        """One slice down."""
        self.scroll(-1)

    def scroll(self, by: int) -> None:
        """Move by slices through the plane."""
        session = self.session
        session.go_to(some_slices_on(session.grid, session.point_mm, self.plane.order[0], by))

    def slab(self) -> None:
        """The next slab thickness."""
        self.session.next_slab()

    def next_finding(self) -> None:
        """The next finding."""
        self._step(1)

    def previous_finding(self) -> None:
        """The finding before."""
        self._step(-1)

    def _step(self, by: int) -> None:
        if not self.session.findings:
            raise NothingDone("There is no finding in the list.")
        self.session.step(by)

    def _current(self) -> Reviewed:
        """The selected finding, which most decisions need."""
        if (row := self.session.current) is None:
            raise NothingDone(NO_FINDING)
        return row

    def accept(self) -> None:
        """Accept the selected finding."""
        self._current()
        self.session.decide("accept")

    def reject(self) -> None:
        """Reject the selected finding."""
        self._current()
        self.session.decide("reject")

    def edit_centre(self) -> str:
        """The selected finding's centre goes to the crosshair, which accepts it; where nothing moves, neither."""
        row = self._current()
        if self.session.is_at(row.finding.centre_mm, within_voxels=UNMOVED_VOXELS):
            raise not_moved(row)
        away = float(np.linalg.norm(np.subtract(row.finding.centre_mm, self.session.point_mm)))
        self.session.decide("edit", centre_mm=list(self.session.point_mm))
        return f"Finding {row.finding.number} moved by {away:.1f} mm and accepted."

    def measure(self) -> str:
        """Twice the distance from the centre to the crosshair is the diameter."""
        row = self._current()
        if self.session.is_at(row.finding.centre_mm, within_voxels=LEAST_RADIUS_VOXELS):
            raise not_measured(row)
        radius = float(np.linalg.norm(np.subtract(row.finding.centre_mm, self.session.point_mm)))
        self.session.decide("edit", diameter_mm=round(2 * radius, 1))
        return f"Finding {row.finding.number} measured as {2 * radius:.1f} mm and accepted."

    def add_missed(self) -> None:
        """A missed nodule at the crosshair."""
        self.session.add_missed()

    def comment(self) -> None:
        """Go to the comment field."""
        self._current()
        self.on_comment()

    def ruler(self) -> None:
        """Begin a ruler at the crosshair, or end it there."""
        self.session.step_ruler()

    def end_ruler(self) -> None:
        """Keep the ruler that the mouse has drawn."""
        self.session.end_ruler()

    def undo(self) -> str:
        """Take back the last decision or ruler."""
        before = {row.finding.tracking_uid: row for row in self.session.findings}
        event = self.session.undo()
        if event is None:
            raise NothingDone("There is no decision to take back.")
        after = {row.finding.tracking_uid: row for row in self.session.findings}
        uid = event.finding
        return taken_back(event, before.get(uid), after.get(uid), reviewer=self.session.reviewer)

    def opacity(self) -> None:
        """The next opacity of the heat maps."""
        self.session.next_opacity()

    def hide_ai(self) -> None:
        """Hide what the AI drew, or show it again."""
        self.session.toggle_ai()

    def identify(self) -> None:
        """Show who the patient is, or hide it again."""
        self.session.toggle_identifiers()

    def next_study(self) -> None:
        """The next study of the worklist."""
        self.on_study(1)

    def previous_study(self) -> None:
        """The study before."""
        self.on_study(-1)
