"""The mouse over the picture: wheel through slices, right drag for the window, click for the crosshair, readout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from imaging.findings import Point
from pipelines.viewer.axes import in_its_slice, to_world
from pipelines.viewer.planes import Plane
from pipelines.viewer.rings import ring_at
from pipelines.viewer.session import Session

#: HU of window width or centre per canvas pixel of drag, for a width of 1000; narrower windows move more slowly.
HU_PER_PIXEL = 2.0


class Steered(Protocol):
    """What the mouse steers: a viewer that shows a session (`Cockpit`)."""

    viewer: Any
    session: Session

    @property
    def plane(self) -> Plane:
        """The plane that is shown."""

    def layer(self, role: str) -> Any:
        """The session's layer of a role, or None."""

    def do(self, action: str) -> None:
        """Run an action; a refusal is told."""

    def scroll(self, by: int) -> None:
        """Move by slices through the plane."""

    def show_readout(self, point_mm: tuple[float, float, float]) -> None:
        """The value and the place under the cursor."""


def connect(cockpit: Steered) -> Callable[[], None]:
    """Add the callbacks to the viewer; returns what takes them away."""

    def wheel(viewer: Any, event: Any) -> None:
        on_wheel(cockpit, event)

    def drag(viewer: Any, event: Any) -> Iterator[None]:
        yield from on_drag(cockpit, event)

    def move(viewer: Any, event: Any) -> None:
        if (point := _point(event.position)) is not None:
            cockpit.show_readout(point)

    def disconnect() -> None:
        viewer.mouse_wheel_callbacks.remove(wheel)
        viewer.mouse_drag_callbacks.remove(drag)
        viewer.mouse_move_callbacks.remove(move)

    viewer = cockpit.viewer
    viewer.mouse_wheel_callbacks.insert(0, wheel)
    viewer.mouse_drag_callbacks.append(drag)
    viewer.mouse_move_callbacks.append(move)
    return disconnect


def on_wheel(cockpit: Steered, event: Any) -> None:
    """Plain wheel scrolls, Shift + wheel zooms; in 3D the wheel stays napari's."""
    if cockpit.viewer.dims.ndisplay == 3:
        return
    up = max(event.delta, key=abs) > 0
    if "Shift" in event.modifiers:
        cockpit.viewer.scene.camera.zoom *= 1.15 if up else 1 / 1.15
    elif event.modifiers:
        return
    else:
        cockpit.scroll(1 if up else -1)
    event.handled = True


def on_drag(cockpit: Steered, event: Any) -> Iterator[None]:
    """Right drag changes the window; a left click that does not drag puts the crosshair there."""
    if cockpit.viewer.dims.ndisplay == 3:
        return
    if event.button == 1 and tuple(event.modifiers) == ("Shift",):
        yield from _on_ruler(cockpit, event)
        return
    if event.modifiers:
        return
    start, (centre, width) = tuple(event.pos), cockpit.session.window
    dragged = False
    if event.button == 2:
        event.handled = True
    yield
    while event.type == "mouse_move":
        right, down = event.pos[0] - start[0], event.pos[1] - start[1]
        dragged = dragged or abs(right) + abs(down) > 3
        if event.button == 2:
            step = HU_PER_PIXEL * max(0.1, width / 1000)
            cockpit.session.set_window(round(centre + step * down), round(width + step * right))
            event.handled = True
        yield
    if event.button == 1 and not dragged and (point := _point(event.position)) is not None:
        _on_click(cockpit, point)


def _on_click(cockpit: Steered, point: Point) -> None:
    """In a ring: that finding; in the ring of the selected one the crosshair goes there, as a correction needs it."""
    session = cockpit.session
    row = ring_at(session, cockpit.plane, point) if session.shows("findings") else None
    if row is not None and row.finding.tracking_uid != session.selected:
        session.select(row.finding.tracking_uid)
    else:
        session.go_to(_at_the_crosshair(cockpit, point))


def _on_ruler(cockpit: Steered, event: Any) -> Iterator[None]:
    """Stretch a ruler from where the button went down to where it is let go."""
    start, stretched = _point(event.position), False
    event.handled = True
    yield
    while start is not None and event.type == "mouse_move":
        end = _point(event.position) or start
        cockpit.session.stretch_ruler(_at_the_crosshair(cockpit, start), _at_the_crosshair(cockpit, end))
        event.handled = stretched = True
        yield
    if stretched:
        cockpit.do("end_ruler")


def _at_the_crosshair(cockpit: Steered, point: Point) -> Point:
    """A point under the pointer, as far across the plane as the crosshair if that lies in the slice shown."""
    session = cockpit.session
    return in_its_slice(session.grid, cockpit.plane, point, was_mm=session.point_mm)


def _point(position: Any) -> tuple[float, float, float] | None:
    """The LPS point of a world position, or None where the viewer has fewer than three axes; ours are the last."""
    if len(position) < 3:
        return None
    x, y, z = to_world(position[-3:])
    return float(x), float(y), float(z)
