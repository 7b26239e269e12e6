"""`predict` on fakes: the order of things, the choice among series by their lungs, the report, the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError, OutputError, UsageError
from pipelines.predict import analyse_to_folder, predict, predict_to_folder
from pipelines.progress import STAGES, percent


def test_the_result_says_everything_that_was_learnt(spine):
    result = predict("ct")
    report = result.report
    assert report.findings == spine.findings
    assert report.seriesuid == "1.2.3"
    assert report.study_instance_uid == "1.2"
    assert report.lungs_ml == 4000.0
    assert report.operating_point.false_marks_per_scan == 1.0
    assert report.provenance.weights_sha256 == "f" * 64
    assert report.provenance.input_sha256
    assert report.provenance.settings["max_findings"] == 20
    assert report.grid["shape"] == [12, 20, 24]
    assert result.grad_cam is not None
    assert result.similarity is not None


def test_names_of_files_with_the_patients_name_are_in_no_report(spine, info, monkeypatch):
    from pydicom.dataset import Dataset

    from imaging.errors import Notice
    from imaging.geometry.volume import Origin

    header = Dataset()
    header.PatientName, header.PatientID = "Quarkfish^Zeb", "QK-2077"
    volume = spine.read_volume(Path("ct"), series=info())
    origin = Origin("1.2.3", "dicom", header=header)
    told = Notice("series.files_ignored", "2 files: QUARKFISH_zeb/notes.txt, qk-2077.pdf")
    named = replace(volume, origin=origin, warnings=(told,))
    monkeypatch.setattr("pipelines.chosen_series.read_volume", lambda *_, **__: named)
    text = str(predict("ct").report.to_json()).casefold()
    assert "2 files: …_…/notes.txt, ….pdf" in text
    assert not any(word in text for word in ("quark", "qk-2077"))


def test_a_threshold_of_ones_own_has_no_measured_cost(spine):
    point = predict("ct", threshold=0.9).report.operating_point
    assert (point.threshold, point.false_marks_per_scan) == (0.9, None)
    assert spine.calls["localize"]["threshold"] == 0.9


def test_a_prompt_reaches_the_score_and_names_the_map(spine):
    assert predict("ct", prompt="ground-glass nodule").similarity_prompt == "ground-glass nodule"
    assert spine.calls["prompts"] == ("ground-glass nodule",)


def test_without_explanation_there_are_no_maps(spine):
    result = predict("ct", explain=False)
    assert result.grad_cam is None
    assert result.similarity is None


def test_a_model_given_is_not_loaded_again(spine):
    model = spine.load_model()
    spine.calls.clear()
    predict("ct", model=model)
    assert "load" not in spine.calls


def test_progress_runs_through_all_stages_and_never_back(spine, tmp_path: Path):
    seen = []
    predict_to_folder("ct", tmp_path / "out", formats=["csv"], on_stage=lambda *call: seen.append(call))
    stages = dict.fromkeys(call[0] for call in seen)
    assert list(stages) == [stage for stage in STAGES if stage in stages]
    percents = [percent(*call) for call in seen]
    assert percents == sorted(percents)


def test_values_that_are_not_hu_are_refused(spine):
    spine.not_hu.add("1.2.3")
    with pytest.raises(InputError) as refused:
        predict("ct")
    assert refused.value.code == "input.not_hu"


@pytest.mark.parametrize(
    ("spacing_mm", "code"),
    [
        ((2.5, 700.0, 700.0), "geometry.spacing_doubtful"),
        ((2.5, 0.0007, 0.0007), "file.spacing_doubtful"),
        ((300.0, 0.7, 0.7), None),
    ],
)
def test_a_patient_of_impossible_size_is_refused_before_the_lungs(spine, monkeypatch, spacing_mm, code):
    """Resampled to millimetres it would fill any memory."""
    from imaging.errors import Notice
    from imaging.geometry import Grid, Volume

    grid = Grid.from_spacing((12, 20, 24), spacing_mm=spacing_mm, origin_mm=(0, 0, 0))
    notices = (Notice(code, "strange"),) if code else ()
    volume = Volume(np.zeros(grid.shape, dtype=np.float32), grid, warnings=notices)
    monkeypatch.setattr("pipelines.chosen_series.read_volume", lambda *_, **__: volume)
    with pytest.raises(InputError) as caught:
        predict("ct")
    assert caught.value.code == "input.not_mm"
    assert "the volume would be" in caught.value.message


def test_a_series_without_lungs_loses_to_one_with_them(spine, info):
    spine.infos = [info("abdomen", mm=1.0), info("chest")]
    spine.lung_ml["abdomen"] = None
    report = predict("ct").report
    assert report.seriesuid == "chest"
    assert [(row.seriesuid, row.code) for row in report.rejected_series] == [("abdomen", "choice.no_lungs")]
    assert not [notice for notice in report.notices if notice.code == "choice.second_best"]


def test_a_part_of_the_lungs_loses_to_whole_lungs(spine, info):
    spine.infos = [info("neck", mm=1.0), info("chest")]
    spine.partial.add("neck")
    spine.lung_ml["neck"] = 900.0
    report = predict("ct").report
    assert report.seriesuid == "chest"
    assert [(row.seriesuid, row.code) for row in report.rejected_series] == [("neck", "choice.cut_lungs")]


def test_among_parts_the_one_with_most_lung_is_taken_and_read_again(spine, info):
    spine.infos = [info("a", mm=1.0), info("b")]
    spine.partial.update("ab")
    spine.lung_ml |= {"a": 2000.0, "b": 1500.0}
    result = predict("ct")
    assert result.report.seriesuid == result.volume.seriesuid == "a"
    assert [notice.code for notice in result.report.notices] == ["lungs.partial"]
    assert spine.read == ["a", "b", "a"]


def test_the_second_best_is_taken_aloud_where_the_best_is_broken(spine, info):
    spine.infos = [info("thin", mm=1.0), info("thick")]
    spine.broken.add("thin")
    report = predict("ct").report
    assert report.seriesuid == "thick"
    assert [(row.seriesuid, row.code) for row in report.rejected_series] == [("thin", "archive.damaged")]
    assert [notice.code for notice in report.notices] == ["choice.second_best"]


def test_where_none_has_lungs_the_first_refusal_is_told(spine, info):
    spine.infos = [info("a"), info("b")]
    spine.lung_ml |= {"a": None, "b": None}
    with pytest.raises(InputError) as refused:
        predict("ct")
    assert (refused.value.code, refused.value.where) == ("lungs.none", "a")


def test_the_folder_holds_what_was_asked_for(spine, tmp_path: Path):
    result, files = analyse_to_folder("ct", tmp_path / "out", formats=["csv", "json"])
    assert files == {name: tmp_path / "out" / name for name in ("findings.csv", "report.json")}
    assert all(path.is_file() for path in files.values())
    assert result.report.findings


def test_a_fault_of_the_system_while_reading_is_not_taken_for_one_while_writing(
    spine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def gone(path: Path) -> list:
        raise FileNotFoundError("a library's file is gone")

    monkeypatch.setattr("pipelines.chosen_series.list_series", gone)
    with pytest.raises(FileNotFoundError):
        predict_to_folder("ct", tmp_path / "out")


def test_a_place_that_cannot_be_written_is_refused_before_reading(
    spine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipelines.result_folder.os.access", lambda *_: False)
    with pytest.raises(OutputError) as refused:
        predict_to_folder("ct", tmp_path / "out")
    assert refused.value.code == "output.not_writable"
    assert spine.read == []


def test_unknown_formats_and_old_results_are_refused_before_reading(spine, tmp_path: Path):
    with pytest.raises(UsageError) as unknown:
        predict_to_folder("ct", tmp_path / "out", formats=["docx"])
    assert unknown.value.code == "outputs.unknown_format"
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UsageError) as exists:
        predict_to_folder("ct", tmp_path)
    assert exists.value.code == "usage.output_exists"
    assert spine.read == []


def test_dicom_objects_are_refused_before_computing_where_there_is_no_dicom(spine, tmp_path: Path):
    with pytest.raises(UsageError) as refused:
        predict_to_folder("ct", tmp_path / "out", formats=["sr"])
    assert refused.value.code == "outputs.no_dicom_source"
    assert "load" not in spine.calls
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"threshold": 1.5}, {"threshold": -0.1}, {"max_findings": 0}, {"max_findings": 256}]
)
def test_numbers_that_cannot_be_are_refused_before_reading(spine, tmp_path: Path, options):
    for call in (lambda: predict("ct", **options), lambda: predict_to_folder("ct", tmp_path / "out", **options)):
        with pytest.raises(UsageError) as refused:
            call()
        assert refused.value.code == "usage.option"
    assert spine.read == []


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_refused(device: str):
    from pipelines.devices import load_on

    with pytest.raises(UsageError, match=device) as refused:
        load_on(device, None)
    assert refused.value.code == "usage.option"


def test_cancelling_leaves_nothing(spine, tmp_path: Path):
    def cancel(stage: str, done: int, total: int) -> None:
        if stage == "score":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_folder("ct", tmp_path / "out", on_stage=cancel)
    assert list(tmp_path.iterdir()) == []


def test_the_content_hash_follows_voxels_and_places(spine):
    from pipelines.case_report import content_sha256

    volume = spine.read_volume("ct", series=spine.infos[0])
    array = np.array(volume.array)
    array[0, 0, 0] += 1
    moved = replace(volume.grid, affine=volume.grid.affine + np.outer([0.01, 0, 0, 0], [0, 0, 0, 1]))
    hashes = {content_sha256(v) for v in (volume, replace(volume, array=array), replace(volume, grid=moved))}
    assert len(hashes) == 3
    assert content_sha256(replace(volume, array=np.array(volume.array))) == content_sha256(volume)
