"""A search with words: where they lie is seen, and which words they were is said."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from viewer.conftest import MARKS, a_map, a_report, nodule_labels

from imaging.geometry import Grid
from imaging.provenance import Provenance
from pipelines.viewer.pictures import picture
from pipelines.viewer.planes import PLANES, to_picture

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

WORDS = "ground-glass nodule"


def asked(prompt):
    """A report on a search with these words, or with none."""
    return replace(a_report(), provenance=Provenance("nodulus", None, "w", "0" * 64, {"prompt": prompt}))


def elsewhere(grid: Grid) -> np.ndarray:
    """0.6 at the centre of the second mark, falling off with distance."""
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    return (0.6 * np.exp(-((points - np.asarray(MARKS[1][0])) ** 2).sum(axis=-1) / 200)).astype(np.float32)


def search(session, prompt):
    """What a search with these words brings: Grad-CAM on the first mark, the words on the second."""
    grid = session.volume.grid
    maps = {"grad_cam": (a_map(grid), grid), "similarity": (elsewhere(grid), grid)}
    session.set_result(asked(prompt), maps, folder=session.folder)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        (WORDS, f"similarity: {WORDS}"),
        ("a nodule\nof \x07 two lines ", "similarity: a nodule of two lines"),
        ("w " * 100, "similarity: " + "w " * 19 + "w…"),
        ("", "similarity to a nodule"),
        (None, "similarity to a nodule"),
    ],
)
def test_the_map_of_words_names_them_and_is_the_one_that_is_seen(session, prompt, name):
    search(session, prompt)
    assert session.drawing_name("similarity") == name
    assert session.shows("similarity") == bool(prompt)
    assert session.shows("grad_cam") == (not prompt)


def test_words_without_a_map_leave_grad_cam_seen(session):
    session.set_result(asked(WORDS), {"grad_cam": (a_map(session.volume.grid), session.volume.grid)})
    assert session.shows("grad_cam")


@pytest.mark.parametrize(("prompt", "mark"), [(WORDS, 1), (None, 0)])
@pytest.mark.parametrize("name", PLANES)
def test_the_small_planes_show_the_same_map(session, prompt, mark, name):
    search(session, prompt)
    for at, (centre, _) in enumerate(MARKS[:2]):
        session.go_to(centre)
        r, c = (round(v) for v in to_picture(session.grid, PLANES[name], centre))
        colour = picture(session, PLANES[name])[r, c].astype(int)
        assert (np.ptp(colour) > 20) == (at == mark), (at, colour)


def test_the_place_most_like_the_words_is_the_middle_of_their_map(session):
    search(session, WORDS)
    np.testing.assert_allclose(session.place_of_highest("similarity"), MARKS[1][0], atol=1.25)


@pytest.mark.parametrize(
    ("role", "colour"), [("lungs", (38, 166, 154)), ("nodules", (64, 196, 255)), ("segmentation", (255, 128, 171))]
)
def test_the_small_planes_outline_every_mask_whose_eye_is_open(session, role, colour):
    """The first mark is 10 mm wide: its outline is 4 to 5 mm from its middle, and nothing inside is painted."""
    session.set_result(a_report(), {role: (nodule_labels(session.volume.grid), session.volume.grid)})
    session.go_to(MARKS[0][0])
    for opened in (True, False):
        session.open_eye(role, opened)
        for plane in PLANES.values():
            painted = np.argwhere((picture(session, plane) == colour).all(axis=-1))
            r, c = to_picture(session.grid, plane, MARKS[0][0])
            _, vertical, horizontal = plane.order
            away = (painted - (r, c)) * (session.grid.spacing_mm[vertical], session.grid.spacing_mm[horizontal])
            assert (len(painted) > 8) == opened
            distance = np.hypot(*away.T)
            assert not opened or (distance.min() > 2.0 and distance.max() < 5.5), distance


# --- in the window ---------------------------------------------------------------------------------------------------
def eyes(desk):
    return {role: desk.cockpit.layer(role).visible for role in ("similarity", "grad_cam", "findings")}


def corner(desk):
    return desk.viewer.canvas.overlays["nodulus_state"].text


@pytest.mark.gui
def test_after_a_search_with_words_their_map_is_open_and_named(desk):
    search(desk.session, WORDS)
    desk.settle()
    assert desk.cockpit.layer("similarity").name == f"similarity: {WORDS}"
    assert eyes(desk) == {"similarity": True, "grad_cam": False, "findings": True}
    assert f"similarity: {WORDS}" in corner(desk)
    desk.press("H")
    assert not any(eyes(desk).values())
    assert WORDS not in corner(desk)
    search(desk.session, "solid nodule")  # it comes while everything is hidden
    desk.settle()
    assert not any(eyes(desk).values())
    desk.press("H")
    assert eyes(desk) == {"similarity": True, "grad_cam": False, "findings": True}
    search(desk.session, None)
    desk.settle()
    assert eyes(desk) == {"similarity": False, "grad_cam": True, "findings": True}
    assert "similarity" not in corner(desk)


@pytest.mark.gui
def test_an_eye_of_the_layer_list_counts_in_every_plane_and_stays(desk):
    session = desk.session
    search(session, WORDS)
    for role, opened in (("similarity", False), ("grad_cam", True), ("findings", False)):
        desk.cockpit.layer(role).visible = opened
    session.go_to(MARKS[0][0])
    r, c = (round(v) for v in to_picture(session.grid, PLANES["coronal"], MARKS[0][0]))
    assert np.ptp(picture(session, PLANES["coronal"])[r, c].astype(int)) > 20
    assert "similarity" not in corner(desk)
    as_left = {"similarity": False, "grad_cam": True, "findings": False}
    desk.press("H")
    desk.cockpit.layer("similarity").visible = True
    desk.cockpit.layer("similarity").visible = False
    assert not any(eyes(desk).values())
    desk.press("H")
    assert eyes(desk) == as_left
    session.lay_over(np.zeros(session.grid.shape, np.uint8), session.grid)
    assert eyes(desk) == as_left
    search(session, WORDS)
    assert eyes(desk) == {"similarity": True, "grad_cam": False, "findings": True}, "what is new is seen"


@pytest.mark.gui
def test_the_button_goes_to_the_place_most_like_the_words(desk):
    from qtpy.QtCore import Qt

    assert not desk.panel.most_similar.isVisible()
    search(desk.session, WORDS)
    desk.settle()
    assert desk.panel.most_similar.text() == "Go to the most similar place (0.60)"
    desk.qtbot.mouseClick(desk.panel.most_similar, Qt.MouseButton.LeftButton)
    np.testing.assert_allclose(desk.session.point_mm, MARKS[1][0], atol=1.25)
    x, y, _ = desk.session.point_mm
    assert desk.viewer.scene.camera.center[-2:] == pytest.approx((y, x))
