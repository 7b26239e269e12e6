"""What the panel answers to a key, and how long a refusal stands: nothing is recorded unasked."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pipelines.viewer.actions import UNMOVED_VOXELS
from pipelines.viewer.review import FILE_NAME, Event, ReviewLog

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


def shifted(session, voxels):
    """The selected finding's centre, moved by (z, y, x) voxels, as an LPS point."""
    index = session.grid.to_index(session.current.finding.centre_mm) + np.asarray(voxels, dtype=float)
    return tuple(float(value) for value in session.grid.to_mm(index))


# --- diameter and centre ---------------------------------------------------------------------------------------------
def test_d_on_the_middle_records_nothing_and_says_what_to_do(desk):
    desk.press("N")
    desk.press("A")
    desk.press("D")
    assert desk.lines() == ["accept"]
    said = desk.panel.answered.text()
    assert "Nothing was measured" in said
    assert "finding 1" in said
    assert "rim" in said
    assert desk.panel.answered.isVisible()
    desk.session.go_to(shifted(desk.session, (0, 0, 2)))
    desk.press("D")
    assert desk.lines() == ["accept", "edit"]
    assert desk.session.current.finding.diameter_mm == pytest.approx(6.0)
    assert desk.panel.answered.text() == "Finding 1 measured as 6.0 mm and accepted."


@pytest.mark.parametrize("way", ["key", "button"])
def test_e_with_a_crosshair_that_has_not_moved_records_nothing_and_says_so(desk, way):
    desk.press("N")
    desk.press("Up")
    desk.press("Down")
    if way == "key":
        desk.press("E")
    else:
        desk.panel.buttons["edit_centre"].click()
    assert desk.lines() == []
    assert desk.session.current.state == "undecided"
    assert "Nothing was moved" in desk.panel.answered.text()
    assert "finding 1" in desk.panel.answered.text()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1, 1])
def test_less_than_a_quarter_of_a_voxel_is_no_move_and_more_is_one(desk, axis, side):
    desk.press("N")
    for part, moved in ((0.9, []), (1.1, ["edit"])):
        voxels = np.zeros(3)
        voxels[axis] = side * part * UNMOVED_VOXELS
        desk.session.go_to(shifted(desk.session, voxels))
        desk.press("E")
        assert desk.lines() == moved
    assert desk.session.current.finding.centre_mm == desk.session.point_mm


def test_a_finding_whose_middle_the_crosshair_cannot_reach_is_not_moved_by_e(desk):
    """In the outer half of the last slice the crosshair stands on the middle of that slice."""
    from dataclasses import replace

    from viewer.conftest import a_report, findings

    grid = desk.session.grid
    edge = tuple(float(value) for value in grid.to_mm((grid.shape[0] - 0.55, 40, 40)))
    found = (replace(findings()[0], centre_mm=edge),)
    desk.session.set_result(a_report(findings=found), {}, folder=desk.session.folder)
    desk.press("N")
    desk.press("E")
    assert desk.lines() == []


@pytest.mark.parametrize("key", ["A", "R", "E", "D", "C"])
def test_a_decision_without_a_finding_says_what_to_select(desk, key):
    desk.press(key)
    assert "Select a finding first" in desk.panel.answered.text()
    assert desk.lines() == []


def test_n_in_an_empty_list_and_pages_without_a_worklist_say_so(desk):
    from viewer.conftest import a_report

    desk.session.set_result(a_report(findings=()), {}, folder=desk.session.folder)
    desk.press("N")
    assert desk.panel.answered.text() == "There is no finding in the list."
    desk.press("PageDown")
    assert "worklist" in desk.panel.answered.text()


def test_an_answer_goes_with_the_next_key(desk):
    desk.press("N")
    desk.press("E")
    assert desk.panel.answered.isVisible()
    desk.press("A")
    assert desk.panel.answered.isHidden()


# --- undo ------------------------------------------------------------------------------------------------------------
def test_u_says_what_it_took_back(desk):
    def undone():
        desk.press("U")
        return desk.panel.answered.text()

    desk.press("N")
    desk.press("A")
    desk.press("R")
    desk.session.go_to(shifted(desk.session, (0, 0, 3)))
    desk.press("D")
    desk.press("E")
    desk.session.decide("comment", text="as in 2019")
    desk.session.go_to((20.0, 0.0, -120.0))
    desk.press("M")
    desk.press("T")
    desk.session.go_to((20.0, 12.0, -120.0))
    desk.press("T")
    assert undone() == "Taken back: the ruler of 12.0 mm."
    assert undone() == "Taken back: finding 4, marked as missed. It is gone from the list."
    assert undone() == "Taken back: finding 1, comment “as in 2019”."
    assert undone() == "Taken back: finding 1, moved."
    assert undone() == "Taken back: finding 1, measured as 9.0 mm. It is rejected again."
    assert undone() == "Taken back: finding 1, rejected. It is accepted again."
    assert undone() == "Taken back: finding 1, accepted. It is undecided again."
    assert undone() == "There is no decision to take back."
    assert desk.lines().count("undo") == 7


def test_u_says_whose_decision_it_took_back_if_it_was_another_readers(desk):
    session = desk.session
    log = ReviewLog(session.folder / FILE_NAME, session.volume.seriesuid)
    for uid in (session.findings[1].finding.tracking_uid, "1.2.3.4"):
        log.append(Event("reject", session.volume.seriesuid, "Dr. B. Second", uid))
    session.set_result(session.report, {}, folder=session.folder)
    desk.press("U")
    assert desk.panel.answered.text() == (
        "Taken back: a decision on a finding that is not in this result, by Dr. B. Second."
    )
    desk.press("U")
    assert desk.panel.answered.text() == ("Taken back: finding 2, rejected, by Dr. B. Second. It is undecided again.")


# --- how long a refusal stands ---------------------------------------------------------------------------------------
@pytest.fixture
def refused(desk, dicom_session):
    """A desk that has just refused a result of another series; the CT that it belongs to is not open."""
    desk.drop(dicom_session.folder)
    assert "result.other_series" in desk.panel.message.text()
    return desk


def test_a_refusal_goes_when_a_ct_opens_well(refused, dicom_session):
    refused.drop(dicom_session.source)
    assert refused.panel.session is not refused.session
    assert refused.panel.message.isHidden()


def test_a_refusal_goes_when_a_result_or_a_segmentation_opens_well(desk, dicom_session, tmp_path):
    from imaging.outputs import seg
    from imaging.outputs.case import CaseResult

    desk.panel.adopt(dicom_session)
    labels = dicom_session.maps["nodules"]
    path = seg.write(CaseResult(dicom_session.volume, dicom_session.report, None, labels), tmp_path)["seg.dcm"]
    report = (dicom_session.folder / "report.json").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text(report.replace(dicom_session.volume.seriesuid, "1.2.3"))
    for well in (dicom_session.folder, path):
        desk.drop(tmp_path / "other")
        assert "result.other_series" in desk.panel.message.text()
        desk.drop(well)
        assert desk.panel.message.text() == ""
        assert desk.panel.message.isHidden()


def test_a_refusal_goes_when_a_search_ends_well(refused):
    from imaging.outputs.case import CaseResult

    session = refused.session
    refused.panel._on_result(CaseResult(session.volume, session.report, None, session.maps["nodules"]))
    assert refused.panel.message.isHidden()


def test_a_refusal_stays_when_something_else_is_pressed(refused):
    refused.press("N")
    refused.panel.buttons["accept"].click()
    refused.press("D")
    assert "result.other_series" in refused.panel.message.text()
    assert refused.panel.message.isVisible()
    assert "Nothing was measured" in refused.panel.answered.text()


def test_what_the_disk_refused_stands_until_the_disk_takes_it(desk, monkeypatch):
    def full(path, lines):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.viewer.review._append", full)
        desk.press("N")
        desk.press("A")
        desk.press("N")
        assert "review.unwritten" in desk.panel.message.text()
    desk.press("A")
    assert desk.lines() == ["accept", "accept"]
    assert desk.panel.message.isHidden()
