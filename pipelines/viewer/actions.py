"""What each key does: one method a row of `KEYS`, all of them calls on the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.preprocessing.windows import WINDOWS
from pipelines.viewer.axes import order_of, to_world
from pipelines.viewer.planes import PLANES

if TYPE_CHECKING:
    from pipelines.viewer.planes import Plane
    from pipelines.viewer.session import Session


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
        through = self.plane.order[0]
        world = to_world(self.session.point_mm).copy()
        world[through] += by * self.session.grid.spacing_mm[through]
        x, y, z = to_world(world)
        self.session.go_to((float(x), float(y), float(z)))

    def slab(self) -> None:
        """The next slab thickness."""
        self.session.next_slab()

    def next_finding(self) -> None:
        """The next finding."""
        self.session.step(1)

    def previous_finding(self) -> None:
        """The finding before."""
        self.session.step(-1)

    def accept(self) -> None:
        """Accept the selected finding."""
        self.session.decide("accept")

    def reject(self) -> None:
        """Reject the selected finding."""
        self.session.decide("reject")

    def edit_centre(self) -> None:
        """The selected finding's centre goes to the crosshair."""
        self.session.decide("edit", centre_mm=list(self.session.point_mm))

    def measure(self) -> None:
        """Twice the distance from the centre to the crosshair is the diameter."""
        if (row := self.session.current) is not None:
            radius = float(np.linalg.norm(np.subtract(row.finding.centre_mm, self.session.point_mm)))
            if radius > 0:
                self.session.decide("edit", diameter_mm=round(2 * radius, 1))

    def add_missed(self) -> None:
        """A missed nodule at the crosshair."""
        self.session.add_missed()

    def comment(self) -> None:
        """Go to the comment field."""
        self.on_comment()

    def ruler(self) -> None:
        """Begin a ruler at the crosshair, or end it there."""
        self.session.step_ruler()

    def end_ruler(self) -> None:
        """Keep the ruler that the mouse has drawn."""
        self.session.end_ruler()

    def undo(self) -> None:
        """Take back the last decision or ruler."""
        self.session.undo()

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
