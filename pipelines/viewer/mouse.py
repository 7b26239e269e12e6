"""The mouse over the picture: wheel through slices, right drag for the window, click for the crosshair, readout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.viewer.layers import to_world

if TYPE_CHECKING:
    from pipelines.viewer.cockpit import Cockpit

#: HU of window width or centre per canvas pixel of drag, for a width of 1000; narrower windows move more slowly.
HU_PER_PIXEL = 2.0


def connect(cockpit: Cockpit) -> None:
    """Add the callbacks to the cockpit's viewer and remember them on the cockpit for `disconnect`."""

    def wheel(viewer: Any, event: Any) -> None:
        on_wheel(cockpit, event)

    def drag(viewer: Any, event: Any) -> Iterator[None]:
        yield from on_drag(cockpit, event)

    def move(viewer: Any, event: Any) -> None:
        if (point := _point(event.position)) is not None:
            cockpit.show_readout(point)

    viewer = cockpit.viewer
    cockpit.mouse_callbacks = (wheel, drag, move)  # type: ignore[attr-defined]
    viewer.mouse_wheel_callbacks.insert(0, wheel)
    viewer.mouse_drag_callbacks.append(drag)
    viewer.mouse_move_callbacks.append(move)


def disconnect(cockpit: Cockpit) -> None:
    """Take the callbacks of `connect` away."""
    wheel, drag, move = cockpit.mouse_callbacks  # type: ignore[attr-defined]
    cockpit.viewer.mouse_wheel_callbacks.remove(wheel)
    cockpit.viewer.mouse_drag_callbacks.remove(drag)
    cockpit.viewer.mouse_move_callbacks.remove(move)


def on_wheel(cockpit: Cockpit, event: Any) -> None:
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


def on_drag(cockpit: Cockpit, event: Any) -> Iterator[None]:
    """Right drag changes the window; a left click that does not drag puts the crosshair there."""
    if cockpit.viewer.dims.ndisplay == 3 or event.modifiers:
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
        row = cockpit.session.finding_at(point, within_mm=0.0)
        if row is not None and cockpit.layer("findings") is not None and cockpit.layer("findings").visible:
            cockpit.session.select(row.finding.tracking_uid)
        else:
            cockpit.session.go_to(point)


def _point(position: Any) -> tuple[float, float, float] | None:
    """The LPS point of a world position, or None where the viewer has other than three axes."""
    if len(position) != 3:
        return None
    x, y, z = to_world(position)
    return float(x), float(y), float(z)
