"""Opening without a window: which paths are ours, sessions from real files, results laid over them, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.io.nifti import write_nifti
from imaging.simulation.dicom_series import SeriesOptions, write_series
from pipelines.viewer.opening import open_session, own_folder, usable_series
from pipelines.viewer.reader import get_reader
from pipelines.viewer.results import show_result
from pipelines.viewer.session import Session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dicom_folder(tmp_path, volume):
    write_series(volume, tmp_path / "dicom", rng=np.random.default_rng(1))
    return tmp_path / "dicom"


def a_case(volume, report):
    from imaging.outputs.case import CaseResult

    shape = volume.grid.shape
    heat = np.zeros(shape, np.float32)
    heat[tuple(np.rint(volume.grid.to_index(report.findings[0].centre_mm)).astype(int))] = 1
    labels = (heat > 0).astype(np.uint8)
    return CaseResult(volume, report, None, labels, grad_cam=heat, similarity=heat)


def test_what_is_ours_is_taken_and_the_rest_left_at_once(dicom_folder, tmp_path):
    first = next(dicom_folder.iterdir())
    (tmp_path / "nested" / "deep").mkdir(parents=True)
    first.rename(tmp_path / "nested" / "deep" / "noextension")
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "cat.png").write_bytes(b"\x89PNG")
    ours = (
        dicom_folder,
        tmp_path / "nested",
        tmp_path / "nested" / "deep" / "noextension",
        "ct.zip",
        "ct.nii.gz",
        "a.mha",
    )
    assert all(get_reader(str(path)) for path in ours)
    assert get_reader([str(dicom_folder)])
    others = (tmp_path / "photo", tmp_path / "photo" / "cat.png", tmp_path / "missing.png")
    assert not any(get_reader(str(path)) for path in others)


def test_a_dicom_folder_becomes_a_session_in_patient_millimetres(dicom_folder, volume):
    session = open_session(dicom_folder, reviewer="A")
    assert session.grid.same_as(volume.grid, tolerance_mm=0.01)
    np.testing.assert_allclose(session.shown.array, volume.array, atol=0.6)
    assert session.source == dicom_folder


def test_a_result_folder_is_laid_over_its_ct_and_over_no_other(dicom_folder, volume, session, tmp_path):
    from dataclasses import replace

    from imaging.outputs import write_case

    ct = open_session(dicom_folder)
    report = replace(session.report, seriesuid=ct.volume.seriesuid)
    write_case(a_case(ct.volume, report), tmp_path / "result", formats=("json", "maps"))
    again = open_session(dicom_folder, tmp_path / "result")
    peak = np.unravel_index(np.argmax(again.maps["grad_cam"]), again.grid.shape)
    assert np.abs(again.grid.to_mm(peak) - report.findings[0].centre_mm).max() <= 1.25
    assert again.maps["nodules"].dtype == np.uint8
    assert len(again.findings) == 3
    write_nifti(volume.array, volume.grid, tmp_path / "other.nii.gz")
    with pytest.raises(InputError, match=r"result\.other_series"):
        open_session(tmp_path / "other.nii.gz", tmp_path / "result")


def test_a_result_that_was_made_here_comes_back_with_its_decisions(dicom_folder, session):
    from dataclasses import replace

    from pipelines.viewer.find_nodules import keep

    ct = open_session(dicom_folder, reviewer="A")
    report = replace(session.report, seriesuid=ct.volume.seriesuid)
    folder = own_folder(ct.volume.seriesuid)
    result = a_case(ct.volume, report)
    keep(result, folder)
    show_result(ct, result, folder=folder)
    ct.step(1)
    ct.decide("reject")
    keep(result, folder)
    again = open_session(dicom_folder)
    assert [row.state for row in again.findings] == ["rejected", "undecided", "undecided"]
    assert again.folder == folder


def test_a_damaged_report_is_refused(dicom_folder, tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "report.json").write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match=r"result\.unreadable"):
        open_session(dicom_folder, tmp_path / "result")
    with pytest.raises(InputError, match=r"result\.no_ct"):
        open_session(tmp_path / "result")


def test_several_series_are_told_apart_and_one_can_be_chosen(tmp_path, volume):
    from pipelines.viewer.window import open_chosen

    for key in ("a", "b"):
        options = SeriesOptions(key=key, description=f"series {key}")
        write_series(volume, tmp_path / "two" / key, options=options, rng=np.random.default_rng(1))
    usable, unusable = usable_series(tmp_path / "two")
    assert sorted(info.description for info in usable) == ["series a", "series b"]
    assert unusable == []
    with pytest.raises(InputError, match=r"series\.ambiguous"):
        open_chosen(tmp_path / "two", None)
    session = open_chosen(
        tmp_path / "two", lambda usable, _: next(info for info in usable if info.description == "series b")
    )
    assert session.volume.origin.series_description == "series b"


def test_a_slow_path_is_not_walked_to_its_end(tmp_path):
    """Asking about a folder of thousands of other files looks at a few of them."""
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text("")
    looked = []
    import pipelines.viewer.reader as reader

    original = reader.is_dicom
    reader.is_dicom = lambda place: bool(looked.append(place)) or original(place)
    try:
        assert get_reader(str(tmp_path)) is None
    finally:
        reader.is_dicom = original
    assert len(looked) <= 50


def test_layers_do_not_copy_the_volume(volume):
    from pipelines.viewer.layers import ct_layer

    array, _, kind = ct_layer(Session(volume))
    assert kind == "image"
    assert np.shares_memory(array, volume.array)


def test_a_segmentation_and_a_report_are_laid_over_the_ct(dicom_folder, session, tmp_path):
    from dataclasses import replace

    from imaging.outputs import write_case
    from pipelines.viewer.results import show_outside

    ct = open_session(dicom_folder, reviewer="A")
    report = replace(session.report, seriesuid=ct.volume.seriesuid)
    case = replace(a_case(ct.volume, report), nodules=session.maps["nodules"])
    write_case(case, tmp_path / "result", formats=("sr", "seg"))
    show_outside(ct, tmp_path / "result" / "seg.dcm", folder=tmp_path / "kept")
    assert ct.report is None
    np.testing.assert_array_equal(ct.maps["segmentation"] > 0, session.maps["nodules"] > 0)
    show_outside(ct, tmp_path / "result" / "sr.dcm", folder=tmp_path / "kept")
    for row, expected in zip(ct.findings, report.findings, strict=True):
        np.testing.assert_allclose(row.finding.centre_mm, expected.centre_mm, atol=0.01)
    ct.step(1)
    ct.decide("accept")
    assert (tmp_path / "kept" / "review.jsonl").is_file()
    other = Session(session.volume)
    with pytest.raises(InputError, match=r"result\.other_series"):
        show_outside(other, tmp_path / "result" / "sr.dcm", folder=tmp_path / "kept")


def test_a_reader_can_mark_nodules_before_any_ai_result(dicom_folder):
    session = open_session(dicom_folder, reviewer="A")
    assert session.report is None
    session.go_to((20.0, 0.0, -120.0))
    session.add_missed(diameter_mm=6.0)
    again = open_session(dicom_folder)
    (row,) = again.findings
    assert row.finding.centre_mm == pytest.approx(session.point_mm)
    assert row.finding.diameter_mm == 6.0


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        *((name, True) for name in ("IM0001", "I", "IMAGE000001", "1.2.840.113619.2.5", "I.001", "a.DCM", "ct.nii.gz")),
        *((name, False) for name in ("a.tif", "a.ome.tiff", "table.csv", "x.geojson", "a.b.png", "notes.docx")),
    ],
)
def test_naparis_patterns_offer_nodulus_what_may_be_dicom_and_nothing_else(name, offered):
    """What is offered and is not DICOM after all is handed back by `get_reader`."""
    npe2 = pytest.importorskip("npe2")
    manager = npe2.PluginManager()
    manager.register(npe2.PluginManifest.from_file(ROOT / "pipelines" / "viewer" / "napari.yaml"))
    assert bool(list(manager.iter_compatible_readers([f"/data/some.folder/{name}"]))) is offered
