"""A result folder appears complete or not at all, and an earlier result is never lost to a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging.errors import UsageError
from pipelines.result_folder import result_folder, without_results


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def _fail(folder: Path, *, overwrite: bool) -> None:
    with result_folder(folder, overwrite=overwrite) as unfinished:
        _write(unfinished, report_json="new")
        raise KeyboardInterrupt


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_gets_everything(tmp_path: Path, exists: bool):
    target = tmp_path / "deep" / "out"
    if exists:
        target.mkdir(parents=True)
    with result_folder(target) as unfinished:
        _write(unfinished, report_json="{}", findings_csv="a")
        assert not (target / "report.json").exists()
    assert _content(target) == {"report.json": "{}", "findings.csv": "a"}


def test_an_earlier_result_is_refused_without_overwrite(tmp_path: Path):
    _write(tmp_path, findings_csv="old")
    with pytest.raises(UsageError) as refused, result_folder(tmp_path):
        raise AssertionError("nothing may begin")
    assert refused.value.code == "usage.output_exists"


def test_a_file_of_that_name_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="a file has this name"), result_folder(tmp_path / "out", overwrite=True):
        raise AssertionError("nothing may begin")


def test_overwrite_leaves_nothing_of_the_earlier_result(tmp_path: Path):
    target = tmp_path / "out"
    target.mkdir()
    _write(target, report_json="old", sr_dcm="old")
    with result_folder(target, overwrite=True) as unfinished:
        _write(unfinished, report_json="new")
    assert _content(target) == {"report.json": "new"}


@pytest.mark.parametrize("other", [False, True])
def test_a_failure_leaves_the_earlier_result_as_it_was(tmp_path: Path, other: bool):
    target = tmp_path / "out"
    target.mkdir()
    _write(target, report_json="old", findings_csv="old")
    if other:
        _write(target, notes_txt="mine")
    before = _content(target)
    with pytest.raises(KeyboardInterrupt):
        _fail(target, overwrite=True)
    assert _content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_in_the_folder_stay_and_stale_results_go(tmp_path: Path):
    _write(tmp_path, notes_txt="mine", sr_dcm="old", report_json="old")
    with result_folder(tmp_path, overwrite=True) as unfinished:
        _write(unfinished, report_json="new", findings_csv="new")
    assert _content(tmp_path) == {"notes.txt": "mine", "report.json": "new", "findings.csv": "new"}


def test_what_an_earlier_run_wrote_is_no_series(tmp_path: Path, info):
    for name in ("out/report.json", "other/nodules.nii.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    ct, maps = info("ct", files=("1.dcm", "2.dcm")), info("maps", files=("out/nodules.nii.gz",))
    foreign, nameless = info("foreign", files=("other/nodules.nii.gz",)), info("nameless", files=())
    assert without_results(tmp_path, [ct, maps, foreign, nameless]) == [ct, foreign, nameless]
    assert without_results(tmp_path / "ct.zip", [maps]) == [maps]


def test_a_failure_in_a_new_folder_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        _fail(tmp_path / "out", overwrite=False)
    assert list(tmp_path.iterdir()) == []
