"""The session model, without a window: places, navigation, readout, decisions on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError, OutputError
from imaging.geometry import Grid
from imaging.geometry.volume import Volume
from pipelines.viewer.planes import PLANES, cut, from_picture, to_picture
from pipelines.viewer.review import FILE_NAME, Event, ReviewLog, replay
from pipelines.viewer.session import Session


def lines(session) -> list[dict]:
    return [json.loads(line) for line in (session.folder / FILE_NAME).read_text().splitlines()]


def test_the_session_needs_no_window():
    code = (
        "import sys; import pipelines.viewer.session, pipelines.viewer.review, pipelines.viewer.keys; "
        "sys.exit(any(n.split('.')[0] in ('qtpy', 'napari', 'PySide6', 'vispy') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- planes ----------------------------------------------------------------------------------------------------------
def test_letters_follow_radiological_convention():
    assert PLANES["axial"].letters == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert PLANES["coronal"].letters == {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    assert PLANES["sagittal"].letters == {"left": "A", "right": "P", "top": "S", "bottom": "I"}


@pytest.mark.parametrize("plane", PLANES.values(), ids=lambda plane: plane.name)
def test_no_plane_is_a_mirror_image(plane):
    """On the screen right x up = towards the reader; the patient's left x back = up must give the same handedness."""
    screen = {"right": (1, 0, 0), "left": (-1, 0, 0), "up": (0, 1, 0), "down": (0, -1, 0)}
    screen |= {"towards": (0, 0, 1), "away": (0, 0, -1)}
    seen = dict(zip(plane.order, (screen[way] for way in plane.orientation), strict=True))
    left, back, up = seen[2], seen[1], seen[0]
    np.testing.assert_array_equal(np.cross(left, back), up)


@pytest.mark.parametrize("plane", PLANES.values(), ids=lambda plane: plane.name)
def test_what_lies_at_an_edge_is_what_the_letter_says(session, plane):
    """The brightest voxel along each edge is found from the letter by its world coordinate."""
    grid = session.grid
    ends = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "I": (2, -1), "S": (2, 1)}
    picture = cut(np.zeros(grid.shape), grid, plane, grid.centre_mm)
    rows, columns = picture.shape
    edges = {
        "left": (rows / 2, 0),
        "right": (rows / 2, columns - 1),
        "top": (0, columns / 2),
        "bottom": (rows - 1, columns / 2),
    }
    for edge, place in edges.items():
        axis, sign = ends[plane.letters[edge]]
        point = from_picture(grid, plane, *place, grid.centre_mm)
        assert np.sign(point[axis] - grid.centre_mm[axis]) == sign


@pytest.mark.parametrize("plane", PLANES.values(), ids=lambda plane: plane.name)
def test_a_cut_shows_each_mark_where_the_millimetres_say(session, plane):
    for row in session.findings:
        centre = row.finding.centre_mm
        picture = cut(session.shown.array, session.grid, plane, centre)
        r, c = to_picture(session.grid, plane, centre)
        assert picture[round(r), round(c)] == 40.0
        np.testing.assert_allclose(from_picture(session.grid, plane, r, c, centre), centre, atol=1e-9)


def test_a_slab_shows_the_brightest_voxel_within_it(session):
    (x, y, z), _ = (session.findings[0].finding.centre_mm, None)
    away = (x, y, z + 7.5)
    r, c = (round(v) for v in to_picture(session.grid, PLANES["axial"], away))
    assert cut(session.shown.array, session.grid, PLANES["axial"], away)[r, c] == -850.0
    assert cut(session.shown.array, session.grid, PLANES["axial"], away, slab_mm=15.0)[r, c] == 40.0
    assert cut(session.shown.array, session.grid, PLANES["axial"], away, slab_mm=5.0)[r, c] == -850.0


# --- places ----------------------------------------------------------------------------------------------------------
def head_first(grid: Grid) -> Grid:
    """The same box stored from head to feet with rows and columns exchanged."""
    affine = np.array(grid.affine)
    affine[:3, 3] = grid.to_mm([grid.shape[0] - 1, 0, 0])
    affine[:3, 0] = -grid.affine[:3, 0]
    affine[:3, [1, 2]] = affine[:3, [2, 1]]
    return Grid((grid.shape[0], grid.shape[2], grid.shape[1]), affine)


def test_any_storage_order_is_shown_at_the_same_places_without_a_copy(session, volume):
    other = head_first(volume.grid)
    stored = np.ascontiguousarray(volume.array[::-1].transpose(0, 2, 1))
    turned = Session(Volume(stored, other, origin=volume.origin))
    np.testing.assert_allclose(turned.grid.affine, session.grid.affine, atol=1e-9)
    np.testing.assert_array_equal(turned.shown.array, session.shown.array)
    assert np.shares_memory(turned.shown.array, stored)


def test_maps_of_another_storage_order_land_on_the_ct(session, volume):
    other = head_first(volume.grid)
    labels = np.ascontiguousarray(session.maps["nodules"][::-1].transpose(0, 2, 1))
    again = Session(volume)
    again.set_result(session.report, {"nodules": (labels, other)})
    np.testing.assert_array_equal(again.maps["nodules"], session.maps["nodules"])


def test_a_map_on_a_coarser_grid_is_brought_to_the_ct(volume, session):
    coarse = Grid.from_spacing((30, 40, 48), spacing_mm=(5, 3, 3), origin_mm=tuple(volume.grid.to_mm([0.5, 0.5, 0.5])))
    x = coarse.to_mm(np.stack(np.indices(coarse.shape), axis=-1))[..., 0].astype(np.float32)
    again = Session(volume)
    again.set_result(session.report, {"similarity": (x, coarse)})
    index = again.grid.to_index((10.0, 0.0, -100.0))
    nearest = tuple(np.rint(index).astype(int))
    assert again.maps["similarity"][nearest] == pytest.approx(again.grid.to_mm(nearest)[0], abs=1e-3)


def test_a_tilted_scan_is_shown_upright_and_says_so(volume):
    affine = np.array(volume.grid.affine)
    affine[1, 0] = 0.5
    tilted = Session(Volume(np.array(volume.array), Grid(volume.grid.shape, affine)))
    assert tilted.grid.is_orthogonal
    assert "geometry.resampled" in [notice.code for notice in tilted.notices]


# --- navigation ------------------------------------------------------------------------------------------------------
def test_next_and_previous_walk_the_list_round_and_round(session):
    seen = []
    session.subscribe(seen.append)
    visited = []
    for _ in range(4):
        session.step(1)
        visited.append(session.current.finding.number)
        assert session.point_mm == pytest.approx(session.current.finding.centre_mm)
    assert visited == [1, 2, 3, 1]
    session.step(-1)
    assert session.current.finding.number == 3
    assert {"point", "selection"} <= set(seen)


def test_the_crosshair_stays_inside_the_ct(session):
    session.go_to((1e4, -1e4, 1e4))
    assert session.grid.contains(session.point_mm)


def test_the_readout_names_value_place_and_slice(session):
    assert (
        session.readout((-41.0, -22.0, -160.0), PLANES["axial"])
        == "HU 40 · LPS (−41.0, −22.0, −160.0) mm · slice 13/60"
    )
    assert session.readout((0.0, 0.0, -100.0), PLANES["coronal"]).startswith(
        "HU −850 · LPS (0.0, 0.0, −100.0) mm · slice 42/80"
    )
    assert session.readout((0.0, 0.0, 900.0), PLANES["axial"]).startswith("outside")


def test_values_that_are_not_hu_are_not_called_so(volume):
    counts = Session(Volume(volume.array, volume.grid, is_hu=False))
    assert counts.readout((0.0, 0.0, -100.0), PLANES["axial"]).startswith("value −850")


# --- decisions -------------------------------------------------------------------------------------------------------
def test_decisions_reach_the_disk_one_line_each_and_come_back(session, volume):
    session.step(1)
    session.decide("accept")
    session.step(1)
    session.decide("reject")
    session.decide("comment", text="vessel, crossing")
    session.go_to((-20.0, 30.0, -62.0))
    session.add_missed()
    assert [line["action"] for line in lines(session)] == ["accept", "reject", "comment", "add"]
    assert all(line["reviewer"] == "Dr. A. Reader" and line["time"].endswith("+00:00") for line in lines(session))

    again = Session(volume)
    again.set_result(session.report, {}, folder=session.folder)
    assert again.findings == session.findings
    assert [row.state for row in again.findings] == ["accepted", "rejected", "undecided", "accepted"]
    assert again.findings[1].comment == "vessel, crossing"
    assert again.findings[3].original is None
    assert again.findings[3].finding.centre_mm == pytest.approx((-20.0, 30.0, -62.0))


def test_an_edit_keeps_what_the_ai_said(session):
    session.step(1)
    session.decide("edit", centre_mm=[-40.0, -21.0, -159.0], diameter_mm=11.5)
    row = session.current
    assert row.finding.centre_mm == (-40.0, -21.0, -159.0)
    assert row.finding.diameter_mm == 11.5
    assert row.original.centre_mm == (-41.0, -22.0, -160.0)
    assert row.edited
    assert row.state == "accepted"


def test_undo_takes_back_one_decision_after_the_other_and_only_appends(session):
    before = session.findings
    session.step(1)
    session.decide("accept")
    session.decide("edit", diameter_mm=20.0)
    session.undo()
    assert session.current.finding.diameter_mm == 10.0
    assert session.current.state == "accepted"
    session.undo()
    assert session.findings == before
    session.undo()
    assert [line["action"] for line in lines(session)] == ["accept", "edit", "undo", "undo"]


def test_ai_not_reviewed_stays_until_each_is_decided(session):
    assert session.banner == "AI, not reviewed: 3 of 3 findings undecided"
    for _ in range(3):
        session.step(1)
        session.decide("accept")
    assert session.banner == "all 3 findings reviewed"


def test_no_finding_never_reads_as_healthy(session, volume):
    from dataclasses import replace

    empty = Session(volume)
    empty.set_result(replace(session.report, findings=()), {})
    assert "does not mean healthy" in empty.banner


def test_a_crash_in_the_middle_of_a_line_loses_nothing_else(session, volume):
    session.step(1)
    session.decide("accept")
    path = session.folder / FILE_NAME
    with path.open("ab") as stream:
        stream.write(b'{"action": "rej')
    again = Session(volume, reviewer="B")
    again.set_result(session.report, {}, folder=session.folder)
    assert again.findings[0].state == "accepted"
    assert [notice.code for notice in again.notices] == ["review.torn_line"]
    again.step(-1)
    again.decide("reject")
    third = ReviewLog(path, volume.seriesuid)
    assert [event.action for event in third.events] == ["accept", "reject"]


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.viewer import review

path, uid = Path(sys.argv[1]), "{uid}"
log = review.ReviewLog(path, uid)
for number in range({whole}):
    log.append(review.Event("comment", uid, "A", "9." + str(number), {{"text": "x" * 5000}}))
whole_write = review._append

def torn(path, lines):
    with path.open("ab") as stream:
        stream.write(lines[: {cut}])
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

review._append = torn
log.append(review.Event("comment", uid, "A", "9.99", {{"text": "y" * 5000}}))
"""


@pytest.mark.parametrize("cut", [0, 1, 40, 5000, 10_000])
def test_a_kill_in_the_middle_of_writing_loses_at_most_the_unfinished_line(tmp_path, volume, cut):
    """A process that is killed with SIGKILL while a line is half on the disk; 10,000 bytes are the line and its end."""
    path = tmp_path / FILE_NAME
    code = KILLED.format(uid=volume.seriesuid, whole=5, cut=cut)
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    log = ReviewLog(path, volume.seriesuid)
    assert [event.finding for event in log.events][:5] == [f"9.{number}" for number in range(5)]
    assert len(log.events) == (6 if cut == 10_000 else 5)
    assert bool(log.notices) == (cut in (1, 40, 5000))
    log.append(Event("accept", volume.seriesuid, "A", "9.0"))
    again = ReviewLog(path, volume.seriesuid)
    assert again.events == log.events


@pytest.mark.parametrize("how", ["full disk", "no folder"])
def test_a_decision_that_cannot_be_written_is_kept_and_written_later(session, monkeypatch, how):
    if how == "no folder":
        session.log.path = None
    else:
        monkeypatch.setattr("pipelines.viewer.review._append", full_disk)
    session.step(1)
    with pytest.raises(OutputError, match=r"review\.unwritten.* 1 decision\b"):
        session.decide("accept")
    assert session.current.state == "accepted"
    assert len(session.log.unsaved) == 1
    monkeypatch.undo()
    session.log.path = session.folder / FILE_NAME
    session.decide("comment", text="after all")
    assert [line["action"] for line in lines(session)] == ["accept", "comment"]
    assert session.log.unsaved == ()


def full_disk(path: Path, data: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_a_write_that_failed_half_way_counts_once(session, volume):
    session.step(1)
    session.decide("accept")
    path = session.folder / FILE_NAME
    path.write_bytes(path.read_bytes() * 2)
    assert len(ReviewLog(path, volume.seriesuid).events) == 1


def test_decisions_move_to_another_folder_with_all_that_were_made_before(session, volume, tmp_path, monkeypatch):
    """What the other file holds already of this series stays, and nothing is there twice."""
    session.step(1)
    session.decide("accept")
    elsewhere = ReviewLog(tmp_path / "elsewhere" / FILE_NAME, volume.seriesuid)
    elsewhere.append(Event("comment", volume.seriesuid, "B", session.findings[1].finding.tracking_uid, {"text": "old"}))
    before = session.log.path.read_bytes()
    monkeypatch.setattr("pipelines.viewer.review._append", full_disk)
    with pytest.raises(OutputError, match=r"review\.unwritten"):
        session.decide("comment", text="not on the disk")
    with pytest.raises(OutputError, match=r"review\.unwritten"):
        session.move_review(tmp_path / "elsewhere")
    assert session.folder == tmp_path / "result", "where it was"
    assert len(session.log.unsaved) == 1
    monkeypatch.undo()
    for _ in range(2):
        session.move_review(tmp_path / "elsewhere")
        assert [line["action"] for line in lines(session)] == ["comment", "accept", "comment"]
    assert session.folder == tmp_path / "elsewhere"
    assert session.log.unsaved == ()
    assert [row.comment for row in session.findings[:2]] == ["not on the disk", "old"]
    session.decide("reject")
    assert [line["action"] for line in lines(session)][-1] == "reject"
    assert (tmp_path / "result" / FILE_NAME).read_bytes() == before
    other = Session(Volume(volume.array, volume.grid))
    with pytest.raises(InputError, match=r"review\.other_series"):
        other.move_review(tmp_path / "elsewhere")


def test_decisions_on_another_ct_are_refused(session, volume):
    session.step(1)
    session.decide("accept")
    other = Session(Volume(volume.array, volume.grid))
    with pytest.raises(InputError) as refusal:
        other.set_result(session.report, {}, folder=session.folder)
    assert refusal.value.code == "review.other_series"


def test_events_on_findings_that_are_gone_change_nothing():
    assert replay((), [Event("accept", "1.2", "A", "9.9")]) == ()


# --- who the patient is ----------------------------------------------------------------------------------------------
def test_identifiers_are_hidden_until_asked_for_and_again_in_the_next_session(dicom_session):
    from pipelines.viewer.opening import open_session

    header = dicom_session.volume.origin.header
    assert not dicom_session.identifiers_shown
    assert str(header.PatientID) in dicom_session.identifiers
    seen = []
    dicom_session.subscribe(seen.append)
    dicom_session.toggle_identifiers()
    assert dicom_session.identifiers_shown
    assert seen == ["identifiers"]
    assert not open_session(dicom_session.source).identifiers_shown


def test_identifiers_read_as_a_person_writes_them(dicom_session, session):
    header = dicom_session.volume.origin.header
    header.PatientName, header.PatientBirthDate, header.PatientID = "ANDERSON^Zebulon^^Dr.=安", "19470225", "M 77"
    lines = dicom_session.identifiers.splitlines()
    assert lines[:3] == ["ANDERSON Zebulon Dr.", "ID M 77", "born 1947-02-25"]
    assert session.identifiers == "this file names no patient"
