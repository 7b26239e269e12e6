"""Results of other products: the list and the outline say who made them, until the reader has decided."""

from __future__ import annotations

import os
from dataclasses import replace

import pydicom
import pytest
from viewer.conftest import nodule_labels

from imaging.outputs import write_case
from imaging.outputs.case import CaseResult
from pipelines.viewer.results import show_outside

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

#: As its files say; a label that took it for markup would hide part of it.
BY = "by Another <b>Company</b> Reader 9"


@pytest.fixture
def show_foreign(dicom_session, tmp_path):
    """Show the SR or the SEG of another product on the session's CT."""
    session = dicom_session
    case = CaseResult(session.volume, session.report, None, nodule_labels(session.volume.grid))
    write_case(case, tmp_path / "foreign", formats=("sr", "seg"))
    for path in (tmp_path / "foreign").glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.Manufacturer, dataset.ManufacturerModelName = "Another <b>Company</b>", "Reader 9"
        dataset.save_as(path)
    return lambda name: show_outside(session, tmp_path / "foreign" / f"{name}.dcm", folder=tmp_path / "kept")


def test_who_made_a_list_or_an_outline_is_said(dicom_session, show_foreign):
    session = dicom_session
    assert session.short_banner == "AI, not reviewed (0 of 3)"
    show_foreign("seg")
    assert session.drawing_name("segmentation") == f"segmentation {BY}"
    assert session.banner == "AI, not reviewed: 3 of 3 findings undecided", "the list is still the AI's"
    show_foreign("sr")
    assert session.banner == f"{BY}, not reviewed: 3 of 3 findings undecided"
    assert session.short_banner == "by Another <b>Compa…,\nnot reviewed (0 of 3)"
    session.set_result(replace(session.report, findings=()), {})
    assert session.banner == f"no finding {BY}, not reviewed: this does not mean healthy"


@pytest.mark.gui
def test_the_panel_and_the_picture_say_it_until_the_reader_decides(desk, dicom_session, show_foreign):
    from qtpy.QtCore import Qt

    desk.panel.adopt(dicom_session)
    show_foreign("seg")
    show_foreign("sr")
    dicom_session.reviewer = ""
    desk.press("N")
    assert desk.panel.banner.text() == f"{BY}, not reviewed: 3 of 3 findings undecided"
    assert desk.panel.banner.textFormat() == Qt.TextFormat.PlainText
    assert desk.panel.details.text().endswith(f"\n{BY}, not reviewed")
    assert desk.viewer.canvas.overlays["nodulus_state"].text.startswith(dicom_session.short_banner)
    assert desk.cockpit.layer("segmentation").name == f"segmentation {BY}"
    assert desk.panel.findings.item(0, 4).text() == "right lower"
    desk.press("A")
    assert "\naccepted by an unnamed reader, 20" in desk.panel.details.text()
