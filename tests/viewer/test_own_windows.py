"""Whole sessions in windows of their own: napari's private names are forbidden here, and what leaks is told.

These come before test_window.py, which keeps one window open.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.io.nifti import write_nifti
from pipelines.viewer.session import Session

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


def test_a_review_with_keys_and_buttons_lands_on_the_disk(own_desk, session):
    from qtpy.QtCore import Qt

    desk = own_desk(session)
    desk.press("N")
    desk.press("A")
    desk.press("N")
    desk.qtbot.mouseClick(desk.panel.buttons["reject"], Qt.MouseButton.LeftButton)
    desk.qtbot.keyClicks(desk.panel.comment, "a crossing vessel, no nodule")
    desk.qtbot.keyClick(desk.panel.comment, Qt.Key.Key_Return)
    desk.press("N")
    desk.press("A")
    assert desk.lines() == ["accept", "reject", "comment", "accept"]
    assert desk.panel.banner.text() == "all 3 findings reviewed"
    assert desk.session.findings[1].comment == "a crossing vessel, no nodule"
    desk.press("U")
    assert desk.panel.banner.text() == "AI, not reviewed: 1 of 3 findings undecided"
    assert [desk.panel.findings.item(row, 0).text() for row in range(3)] == ["✓", "✗", "?"]


def a_case(session):
    from imaging.outputs.case import CaseResult

    volume = session.volume
    labels = np.zeros(volume.grid.shape, np.uint8)
    return CaseResult(volume, session.report, None, labels, grad_cam=np.zeros(volume.grid.shape, np.float32))


def test_find_nodules_runs_beside_the_window_and_shows_what_it_found(own_desk, session, volume, qtbot):
    from threading import current_thread, main_thread

    fresh = Session(volume)
    desk = own_desk(fresh)
    assert desk.cockpit.layer("findings") is None
    seen = []

    def job(given, prompt, on_stage):
        seen.append((given is volume, prompt, current_thread() is main_thread()))
        on_stage("score", 1, 2)
        return a_case(session)

    desk.panel.finder.job = job
    desk.qtbot.keyClicks(desk.panel.finder.prompt, "ground-glass nodule")
    desk.panel.finder.button.click()
    qtbot.waitUntil(lambda: fresh.report is not None, timeout=10000)
    assert seen == [(True, "ground-glass nodule", False)]
    assert len(desk.cockpit.layer("findings").data) == 3
    assert desk.panel.findings.rowCount() == 3
    desk.press("N")
    desk.press("A")
    assert (fresh.folder / "report.json").is_file()
    again = Session(volume)
    from pipelines.viewer.results import show_folder

    show_folder(again, fresh.folder)
    assert [row.state for row in again.findings] == ["accepted", "undecided", "undecided"]


def test_dropping_a_file_opens_the_ct_and_the_panel(make_napari_viewer_proxy, volume, tmp_path):
    from pipelines.viewer.panel import ReadingPanel

    path = tmp_path / "ct.nii.gz"
    write_nifti(volume.array, volume.grid, path)
    viewer = make_napari_viewer_proxy()
    layer = viewer.open(path, plugin="nodulus")[0]
    assert any(isinstance(widget, ReadingPanel) for widget in viewer.window.dock_widgets.values())
    np.testing.assert_array_equal(layer.data, volume.array)
    np.testing.assert_allclose(layer.data_to_world((3, 4, 5)), volume.grid.to_mm((3, 4, 5))[::-1], atol=0.01)
    assert len([row for row in viewer.layers if row.metadata["nodulus"] == "ct"]) == 1


@pytest.mark.parametrize("name", ["IM0001", "CT-0001-slices", "1.2.840.113619.2.55"])
def test_a_dicom_file_without_an_extension_opens_before_any_panel_is_there(
    make_napari_viewer_proxy, volume, tmp_path, name
):
    """Neither a plugin is named nor a panel docked: napari itself must find the reader by the name of the file."""
    from imaging.simulation.dicom_series import write_series

    (one,) = write_series(volume, tmp_path / "written", enhanced=True, rng=np.random.default_rng(1))
    path = one.rename(tmp_path / name)
    viewer = make_napari_viewer_proxy()
    layer = viewer.open(path, plugin=None)[0]
    np.testing.assert_allclose(layer.data, volume.array, atol=0.6)
    np.testing.assert_allclose(layer.data_to_world((3, 4, 5)), volume.grid.to_mm((3, 4, 5))[::-1], atol=0.01)


def test_a_broken_file_is_refused_in_the_loaders_own_words(make_napari_viewer_proxy, tmp_path):
    from imaging import read_volume

    path = tmp_path / "broken.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 200)
    with pytest.raises(InputError) as refusal:
        read_volume(path)
    viewer = make_napari_viewer_proxy()
    with pytest.raises(InputError) as same:
        viewer.open(path, plugin="nodulus")
    assert same.value.code == refusal.value.code
    assert not viewer.layers


def test_a_result_folder_without_its_ct_says_so(make_napari_viewer_proxy, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match=r"result\.no_ct"):
        make_napari_viewer_proxy().open(tmp_path, plugin="nodulus")


def test_the_sample_opens_from_the_menu_and_can_be_marked(make_napari_viewer_proxy, monkeypatch):
    monkeypatch.setattr("pipelines.viewer.samples.SHAPE", (24, 64, 64))
    monkeypatch.setattr("pipelines.viewer.samples.SPACING_MM", (12.0, 5.6, 5.6))
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("nodulus", "phantom")
    session = viewer.layers[0].metadata["session"]
    assert viewer.layers[0].name == "CT (HU)"
    session.add_missed()
    assert (session.folder / "review.jsonl").is_file()
