"""What a reader does beside the picture: drop, choose, type, export, page; and being asked before anything is lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from imaging import read_volume
from imaging.errors import InputError
from imaging.io.nifti import write_nifti
from imaging.simulation.dicom_series import SeriesOptions, write_series
from pipelines.viewer.review import FILE_NAME

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


@pytest.fixture
def series(tmp_path, volume):
    """Two series and a third one of a single image in one folder."""
    for key in ("a", "b", "c"):
        options = SeriesOptions(key=key, description=f"series {key}")
        write_series(volume, tmp_path / "several" / key, options=options, rng=np.random.default_rng(1))
    for path in sorted((tmp_path / "several" / "c").iterdir())[1:]:
        path.unlink()
    return tmp_path / "several"


def full_disk(path, lines):
    raise OSError(28, "No space left on device")


def click(dialog, name):
    from qtpy.QtWidgets import QAbstractButton

    buttons = {button.text().replace("&", ""): button for button in dialog.findChildren(QAbstractButton)}
    buttons[name].click()


# --- dropping --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["folder", "zip", "NIfTI", "files of a series"])
def test_what_falls_on_the_picture_is_opened(desk, series, volume, tmp_path, what):
    folder = series / "a"
    paths = {"folder": folder, "NIfTI": tmp_path / "ct.nii.gz"}
    if what == "zip":
        paths["zip"] = tmp_path / "ct.zip"
        shutil.make_archive(str(tmp_path / "ct"), "zip", folder)
    if what == "NIfTI":
        write_nifti(volume.array, volume.grid, paths[what])
    desk.drop(*(sorted(folder.iterdir()) if what == "files of a series" else [paths[what]]))
    opened = desk.panel.session
    assert opened is not desk.session
    assert [layer.name for layer in desk.viewer.layers].count("CT (HU)") == 1
    np.testing.assert_allclose(opened.shown.array, volume.array, atol=0.6)
    assert opened.grid.same_as(volume.grid, tolerance_mm=0.1)


def test_a_result_that_is_kept_for_the_series_comes_with_it_once(desk, dicom_session):
    from pipelines.viewer.opening import own_folder

    shutil.copytree(dicom_session.folder, own_folder(dicom_session.volume.seriesuid))
    desk.drop(dicom_session.source)
    roles = [layer.metadata["nodulus"] for layer in desk.viewer.layers]
    assert sorted(roles) == ["crosshair", "ct", "findings", "grad_cam", "nodules"]
    assert desk.panel.findings.rowCount() == 3


def test_a_result_folder_falls_over_its_ct_and_over_no_other(desk, dicom_session):
    desk.drop(dicom_session.folder)
    assert "result.other_series" in desk.panel.message.text()
    assert desk.panel.session is desk.session
    desk.drop(dicom_session.source)
    desk.drop(dicom_session.folder)
    assert desk.panel.session.folder == dicom_session.folder
    assert desk.panel.message.isHidden() or "other_series" not in desk.panel.message.text()


def test_a_segmentation_of_another_series_is_refused_and_changes_nothing(desk, dicom_session, tmp_path):
    from imaging.outputs import seg
    from imaging.outputs.case import CaseResult

    labels = dicom_session.maps["nodules"]
    path = seg.write(CaseResult(dicom_session.volume, dicom_session.report, None, labels), tmp_path)["seg.dcm"]
    before = list(desk.viewer.layers)
    desk.drop(path)
    assert "result.other_series" in desk.panel.message.text()
    assert list(desk.viewer.layers) == before
    desk.drop(dicom_session.source)
    desk.drop(path)
    assert desk.cockpit.layer("segmentation") is not None


def test_a_refusal_with_long_names_leaves_every_button_in_sight(desk, dicom_session, tmp_path):
    """A UID of 64 characters made the panel's content wider than the panel."""
    uid = ".".join(["1.2.826.0.1.3680043.8.498", "4" * 20, "7" * 17])
    desk.panel.adopt(dicom_session)
    other = tmp_path / ("other" * 12)
    other.mkdir()
    report = (dicom_session.folder / "report.json").read_text()
    (other / "report.json").write_text(report.replace(dicom_session.volume.seriesuid, uid))
    desk.drop(other)
    said = desk.panel.message.text()
    assert said.startswith("result.other_series: it is of another CT")
    assert uid in said, "as it was set, for who copies it"
    for button in (desk.panel.finder.button, *desk.panel.buttons.values(), desk.panel.export):
        right = button.mapTo(desk.panel, button.rect().topRight()).x()
        assert right < desk.panel.width(), button.text()


def test_a_broken_file_is_refused_in_the_panel_and_the_open_ct_stays(desk, tmp_path):
    path = tmp_path / "broken.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 200)
    with pytest.raises(InputError) as refusal:
        read_volume(path)
    desk.drop(path)
    assert desk.panel.message.text() == str(refusal.value)
    assert desk.panel.session is desk.session


# --- choosing a series -----------------------------------------------------------------------------------------------
def test_several_series_are_offered_and_the_chosen_one_opens(desk, series):
    seen = []

    def choose(dialog):
        seen.extend(dialog.rows.item(row).text() for row in range(dialog.rows.count()))
        usable = [row for row in range(dialog.rows.count()) if dialog.rows.item(row).flags()]
        dialog.rows.setCurrentRow(next(row for row in usable if "series b" in dialog.rows.item(row).text()))
        click(dialog, "Open")

    came = desk.answer(choose)
    desk.drop(series)
    assert came
    assert desk.panel.session.volume.origin.series_description == "series b"
    (unusable,) = [text for text in seen if "not usable" in text]
    assert "series c" in unusable
    assert unusable.rstrip().endswith(")"), "the reason carries its code"
    assert len(seen) == 3


def test_cancelling_the_choice_changes_nothing_and_complains_about_nothing(desk, series):
    came = desk.answer(lambda dialog: click(dialog, "Cancel"))
    desk.drop(series)
    assert came
    assert desk.panel.session is desk.session
    assert desk.panel.message.text() == ""


# --- typing ----------------------------------------------------------------------------------------------------------
def test_decisions_are_signed_with_the_name_that_was_typed(desk):
    from qtpy.QtCore import Qt

    desk.panel.reviewer.selectAll()
    desk.qtbot.keyClicks(desk.panel.reviewer, "Ada Reader")
    desk.qtbot.keyClick(desk.panel.reviewer, Qt.Key.Key_Return)
    desk.press("N")
    desk.press("A")
    assert json.loads((desk.session.folder / FILE_NAME).read_text())["reviewer"] == "Ada Reader"
    assert "accepted by Ada Reader, 20" in desk.panel.details.text()


def test_a_comment_that_was_not_entered_belongs_to_the_finding_it_was_typed_for(desk):
    desk.press("N")
    desk.qtbot.keyClicks(desk.panel.comment, "compare with 2019")
    desk.session.step(1)
    rows = desk.session.findings
    assert [row.comment for row in rows] == ["compare with 2019", "", ""]
    assert desk.panel.comment.text() == ""
    desk.session.step(1)
    assert desk.lines() == ["comment"]


def test_a_typed_diameter_is_an_edit(desk):
    from qtpy.QtCore import Qt

    desk.press("N")
    assert desk.panel.diameter.value() == 10.0
    desk.panel.diameter.selectAll()
    desk.qtbot.keyClicks(desk.panel.diameter, "12.5")
    desk.qtbot.keyClick(desk.panel.diameter, Qt.Key.Key_Return)
    assert desk.session.current.finding.diameter_mm == 12.5
    desk.qtbot.keyClick(desk.panel.diameter, Qt.Key.Key_Return)
    assert desk.lines() == ["edit"]
    assert desk.panel.findings.item(0, 3).text() == "12.5"


def test_who_the_patient_is_is_shown_only_when_asked_for(desk, dicom_session):
    header = dicom_session.volume.origin.header
    header.PatientName, header.PatientID = "ANDERSON^Zebulon", "MRN-77-4711"
    desk.panel.adopt(dicom_session)
    desk.settle()

    def words():
        from qtpy.QtWidgets import QLabel, QLineEdit

        window = desk.panel.window()
        texts = [window.windowTitle(), str(desk.viewer.status), *(layer.name for layer in desk.viewer.layers)]
        texts += [w.text() + w.toolTip() for kind in (QLabel, QLineEdit) for w in window.findChildren(kind)]
        texts += [
            o.text for o in desk.viewer.canvas.overlays.values() if getattr(o, "visible", False) and hasattr(o, "text")
        ]
        return " ".join(texts)

    assert "ANDERSON" not in words()
    assert "4711" not in words()
    desk.press("W")
    patient = desk.viewer.canvas.overlays["nodulus_patient"]
    assert patient.visible
    assert patient.text.startswith("ANDERSON Zebulon\nID MRN-77-4711")
    assert desk.panel.patient.isChecked()
    desk.panel.patient.click()
    assert "ANDERSON" not in words()
    desk.press("W")
    desk.panel.adopt(desk.session)
    assert not desk.session.identifiers_shown
    assert "ANDERSON" not in words()


def test_inversion_turns_black_to_white(desk):
    desk.session.go_to((0.0, 0.0, -100.0))
    before = desk.seen()
    desk.press("I")
    after = desk.seen()
    shown = before > 8
    assert after[shown].mean() == pytest.approx(255 - before[shown].mean(), abs=6)
    assert desk.session.inverted


# --- unsaved ---------------------------------------------------------------------------------------------------------
def test_closing_and_paging_ask_before_anything_is_lost(desk, monkeypatch, dicom_session):
    monkeypatch.setattr("pipelines.viewer.review._append", full_disk)
    desk.press("N")
    desk.press("A")
    assert desk.panel.save.isVisible()
    assert desk.panel.save.text() == "Save 1 decision again"
    asked = []

    def stay(dialog):
        asked.append(dialog.text())
        click(dialog, "Cancel")

    desk.answer(stay)
    desk.panel.window().close()
    assert desk.panel.window().isVisible()
    desk.answer(stay)
    desk.drop(dicom_session.source)
    assert desk.panel.session is desk.session
    assert len(asked) == 2
    assert "1 decision could not be written" in asked[0]
    monkeypatch.undo()
    desk.panel.save.click()
    assert desk.lines() == ["accept"]
    assert desk.panel.save.isHidden()
    assert desk.panel.may_leave(), "with everything on the disk nobody asks"


def test_decisions_on_a_result_that_is_only_read_go_to_another_folder(desk, monkeypatch, tmp_path):
    from qtpy.QtWidgets import QFileDialog

    from pipelines.viewer import review

    written, only_read = review._append, desk.session.folder

    def append(path, lines):
        if path.parent == only_read:
            raise OSError(30, "Read-only file system")
        written(path, lines)

    monkeypatch.setattr("pipelines.viewer.review._append", append)
    assert desk.panel.save_elsewhere.isHidden()
    desk.press("N")
    desk.press("A")
    desk.panel.save.click()
    assert "Read-only" in desk.panel.message.text()
    (tmp_path / "mine").mkdir()
    for chosen in ("", str(tmp_path / "mine")):
        assert desk.panel.save_elsewhere.isVisible()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, chosen=chosen: chosen)
        desk.panel.save_elsewhere.click()
    assert desk.panel.save_elsewhere.isHidden()
    assert desk.panel.save.isHidden()
    desk.press("R")
    assert desk.session.folder == tmp_path / "mine"
    assert desk.lines() == ["accept", "reject"]
    assert desk.panel.may_leave()


def test_who_agrees_to_lose_goes_on(desk, monkeypatch, dicom_session):
    monkeypatch.setattr("pipelines.viewer.review._append", full_disk)
    desk.press("N")
    desk.press("A")
    came = desk.answer(lambda dialog: click(dialog, "Discard"))
    desk.drop(dicom_session.source)
    assert came
    assert desk.panel.session is not desk.session


def test_taking_the_ct_out_of_the_layer_list_ends_the_session(desk):
    desk.viewer.layers.remove(desk.cockpit.layer("ct"))
    desk.settle()
    assert desk.panel.session is None
    assert desk.panel.banner.text().startswith("Open a CT")
    assert not any(layer.metadata.get("session") is desk.session for layer in desk.viewer.layers)


def test_a_ct_that_is_taken_out_while_decisions_are_in_memory_alone_comes_back(desk, monkeypatch):
    """Deleted with everything else in the layer list, as a reader does who wants to tidy up."""
    monkeypatch.setattr("pipelines.viewer.review._append", full_disk)
    desk.press("N")
    desk.press("A")
    desk.viewer.layers.select_all()
    desk.viewer.layers.remove_selected()
    desk.settle()
    assert desk.panel.session is desk.session
    assert desk.panel.save.isVisible()
    assert "not taken every decision" in desk.panel.message.text()
    assert desk.cockpit.layer("ct") is not None
    assert desk.cockpit.layer("findings") is not None
    monkeypatch.undo()
    desk.viewer.layers.remove(desk.cockpit.layer("ct"))
    desk.settle()
    assert desk.lines() == ["accept"], "the disk takes it now, so it was written"
    assert desk.panel.session is None


# --- export ----------------------------------------------------------------------------------------------------------
def test_the_export_dialog_says_what_it_writes_and_writes_it(desk, dicom_session, tmp_path):
    desk.panel.adopt(dicom_session)
    for _ in range(3):
        dicom_session.step(1)
        dicom_session.decide("accept")

    def fill(dialog):
        assert dialog.folder.text() == f"{dicom_session.folder}-reviewed"
        assert dialog.reader.text() == "Dr. A. Reader"
        assert "patient's name" in dialog.what.text()
        dialog.folder.setText(" ")
        click(dialog, "Save")
        assert "no folder is named" in dialog.message.text()
        dialog.folder.setText(str(dicom_session.folder))
        click(dialog, "Save")
        assert "output.exists" in dialog.message.text(), "never over the AI's result; the dialog stays open"
        dialog.folder.setText(str(tmp_path / "review"))
        desk.qtbot.keyClicks(dialog.organisation, "St. Elsewhere")
        click(dialog, "Save")

    came = desk.answer(fill)
    desk.panel.export.click()
    assert came
    assert (tmp_path / "review" / "sr_reviewed.dcm").is_file()
    assert str(tmp_path / "review") in desk.panel.message.text()
    done = desk.panel.message.styleSheet()
    desk.panel.tell("a refusal")
    assert desk.panel.message.styleSheet() != done


def test_the_export_dialog_can_be_cancelled_and_knows_what_is_missing(desk, tmp_path):
    told = []

    def look(dialog):
        told.append((dialog.what.text(), dialog.organisation.isEnabled()))
        click(dialog, "Cancel")

    desk.answer(look)
    desk.panel.export.click()
    ((text, enabled),) = told
    assert "3 findings undecided" in text
    assert "No DICOM report" in text
    assert not enabled
    assert not (tmp_path / "result-reviewed").exists()


# --- find nodules ----------------------------------------------------------------------------------------------------
def test_a_refusal_of_the_real_pipeline_is_told_in_its_words(desk, volume, qtbot):
    from pipelines.viewer.session import Session

    air = np.full(volume.grid.shape, -1000.0, np.float32)
    desk.panel.adopt(Session(replace(volume, array=air)))
    desk.panel.finder.button.click()
    qtbot.waitUntil(lambda: not desk.panel.finder.work.running, timeout=300_000)
    assert "lungs." in desk.panel.message.text()


@pytest.mark.slow
def test_the_real_network_runs_beside_the_drawing(desk, qtbot):
    """It used to end the process where Mesa draws and triton is installed; see `triton_guard`."""
    desk.session.set_result(replace(desk.session.report, findings=()), {}, folder=desk.session.folder)
    desk.panel.finder.button.click()
    qtbot.waitUntil(lambda: not desk.panel.finder.work.running, timeout=500_000)
    assert desk.panel.message.text() == ""
    assert desk.session.report.provenance.weights_sha256 != "0" * 64
    assert "grad_cam" in desk.session.maps


def test_a_result_goes_beside_the_one_of_predict_and_the_report_before_is_kept(desk, dicom_session):
    from imaging.outputs.case import CaseResult
    from pipelines.viewer.opening import own_folder

    desk.panel.adopt(dicom_session)
    before = {path.name: path.read_bytes() for path in dicom_session.folder.iterdir()}
    first = CaseResult(dicom_session.volume, dicom_session.report, None, dicom_session.maps["nodules"])
    desk.panel._on_result(first)
    kept = own_folder(dicom_session.volume.seriesuid)
    assert dicom_session.folder == kept
    old = (kept / "report.json").read_bytes()
    desk.panel._on_result(replace(first, report=replace(first.report, findings=first.report.findings[:1])))
    assert [path.read_bytes() for path in (kept / "earlier").iterdir()] == [old]
    folder = dicom_session.source.parent / "result"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_result_for_a_ct_that_was_closed_is_kept_and_said(desk, dicom_session):
    from imaging.outputs.case import CaseResult
    from pipelines.viewer.opening import own_folder

    desk.panel._on_result(CaseResult(dicom_session.volume, dicom_session.report, None, dicom_session.maps["nodules"]))
    assert "closed" in desk.panel.message.text()
    assert (own_folder(dicom_session.volume.seriesuid) / "report.json").is_file()
    assert desk.session.folder.name == "result"


# --- worklist --------------------------------------------------------------------------------------------------------
@pytest.fixture
def batch(tmp_path, dicom_session):
    """Three studies: two of the same CT with other scores, one that was refused."""
    from imaging.outputs.report_json import to_text

    out = tmp_path / "batch"
    for name, factor in (("anna", 0.5), ("bert", 1.0)):
        found = tuple(replace(f, score=f.score * factor) for f in dicom_session.report.findings)
        (out / name).mkdir(parents=True)
        (out / name / "report.json").write_text(to_text(replace(dicom_session.report, findings=found)))
    with (out / "cases.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("case", "status", "code", "findings", "seconds", "peak_mb", "seriesuid", "input"))
        for name in ("anna", "bert"):
            table.writerow((name, "done", "", 3, 1.0, 10, "", dicom_session.source))
        table.writerow(("carl", "refused", "lungs.none", "", 1.0, 10, "", "/ct/carl.zip"))
    return out


def test_the_worklist_pages_through_the_studies(desk, batch, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    from pipelines.viewer.docking import dock

    desk.panel.session.reviewer = "Ada Reader"
    worklist = dock(desk.viewer, "worklist")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(batch))
    worklist._choose()
    texts = [[worklist.table.item(row, column).text() for column in range(4)] for row in range(3)]
    assert texts == [["bert", "0.700", "3", "3"], ["anna", "0.350", "3", "3"], ["carl", "lungs.none", "", ""]]
    desk.press("PageDown")
    assert desk.panel.session.folder == batch / "bert"
    assert desk.panel.session.reviewer == "Ada Reader", "the name goes along"
    for _ in range(3):
        desk.press("N")
        desk.press("R")
    assert worklist.table.item(0, 3).text() == "0", "at once"
    desk.press("PageDown")
    assert desk.panel.session.folder == batch / "anna"
    desk.press("PageDown")
    assert worklist.message.text() == "this is the last study"
    assert worklist.table.item(0, 3).text() == "0"
    worklist.order.setCurrentIndex(1)
    assert worklist.table.item(0, 0).text() == "anna"
    desk.press("PageDown")
    assert desk.panel.session.folder == batch / "bert"
    assert [row.state for row in desk.panel.session.findings] == ["rejected"] * 3

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(batch / "labels.csv"), ""))
    worklist.labels.click()
    with (batch / "labels.csv").open(newline="") as stream:
        rows = {row["reviewer"]: row["nodule"] for row in csv.DictReader(stream)}
    assert rows == {"": "", "Ada Reader": "0"}
    assert worklist.message.text().startswith("1 of 3 studies have a label")


def test_a_study_whose_ct_is_gone_and_a_folder_that_is_no_batch_are_said(desk, batch, tmp_path, dicom_session):
    from pipelines.viewer.docking import dock

    worklist = dock(desk.viewer, "worklist")
    worklist.show_folder(batch)
    shutil.move(dicom_session.source, tmp_path / "moved")
    worklist.open(0)
    assert worklist.message.text()
    assert desk.panel.session is desk.session
    worklist.show_folder(tmp_path)
    assert "result.unreadable" in worklist.message.text()


# --- nodulus view ----------------------------------------------------------------------------------------------------
def test_the_command_hands_over_what_it_was_given(monkeypatch, tmp_path):
    from pipelines.cli.main import run

    opened = []
    monkeypatch.setattr("pipelines.viewer.open_viewer", lambda *paths, **options: opened.append(paths))
    assert run(["view", str(tmp_path / "ct"), str(tmp_path / "result")]) == 0
    assert opened == [(tmp_path / "ct", tmp_path / "result")]
