"""What counts as a case, and when an input counts as the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError
from pipelines.batch.cases import discover
from pipelines.batch.memory import available_bytes, estimate_bytes, fitting_jobs
from pipelines.input_content import content_sha256, fingerprint, input_files


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch, info):
    """Path name -> series; anything else holds one usable series."""
    held: dict[str, list] = {}
    monkeypatch.setattr("pipelines.batch.cases.list_series", lambda path: held.get(Path(path).name, [info()]))
    return held


def _make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_and_subfolders_are_cases_and_the_rest_is_not(listing, tmp_path: Path):
    _make(tmp_path, "b.zip", "a.nii.gz", "c/1/2.dcm", "d.mhd", "d.raw", "notes.txt", ".hidden/x", "E.NRRD")
    assert [case.name for case in discover(tmp_path)] == ["E", "a", "b", "c", "d"]


def test_equal_stems_are_told_apart(listing, tmp_path: Path):
    _make(tmp_path, "a.zip", "a/1.dcm", "a.nii", "b c.zip", "b_c.zip")
    names = [case.name for case in discover(tmp_path)]
    assert names[:3] == ["a", "a.nii", "a.zip"]
    assert len({*names}) == 5
    assert names == [case.name for case in discover(tmp_path)]


def test_a_name_is_safe_as_a_folder(listing, tmp_path: Path):
    _make(tmp_path, "Müller; rm -rf.zip", "-o.zip", "findings.csv.zip")
    names = [case.name for case in discover(tmp_path)]
    assert names == ["o", "Müller_rm_-rf", "findings.csv-case"]


def test_each_study_with_a_ct_is_a_case(listing, tmp_path: Path, info):
    _make(tmp_path, "p/1.dcm")
    listing["p"] = [
        info("1", study_instance_uid="s1"),
        info("2", study_instance_uid="s1", slice_thickness_mm=1.0),
        info("3", study_instance_uid="s2", usable=False, code="x", reason="gap"),
        info("4", study_instance_uid="s3", modality="MR", usable=False, code="x", reason="MR"),
    ]
    cases = discover(tmp_path)
    assert [case.study for case in cases] == ["s1", "s2"]
    assert all(case.name.startswith("p-") and len(case.name) == 10 for case in cases)
    assert cases[0].voxels == 512 * 512 * 120


def test_one_study_keeps_the_folders_name(listing, tmp_path: Path, info):
    _make(tmp_path, "p/1.dcm")
    listing["p"] = [info("1"), info("4", study_instance_uid="s3", modality="SR", usable=False, code="x", reason="SR")]
    assert [(case.name, case.study) for case in discover(tmp_path)] == [("p", None)]


def test_loose_dicom_files_are_grouped_by_study(listing, tmp_path: Path, info):
    for name in ("1", "2"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    _make(tmp_path, "readme")
    listing[tmp_path.name] = [
        info("a", study_instance_uid="s1", files=("1",)),
        info("b", study_instance_uid="s2", files=("2",)),
    ]
    cases = discover(tmp_path)
    assert [(case.path, case.study) for case in cases] == [(tmp_path, "s1"), (tmp_path, "s2")]


def test_a_case_that_cannot_be_listed_is_still_a_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(path: Path):
        raise InputError("archive.damaged", "truncated", where=path)

    monkeypatch.setattr("pipelines.batch.cases.list_series", refuse)
    _make(tmp_path, "a.zip")
    (case,) = discover(tmp_path)
    assert case.refusal is not None
    assert case.refusal["code"] == "archive.damaged"


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError) as refused:
        discover(tmp_path / "nothing")
    assert refused.value.code == "input.missing"


def test_the_content_hash_sees_bytes_and_names_the_fingerprint_times(tmp_path: Path):
    _make(tmp_path, "c/1", "c/2")
    folder = tmp_path / "c"
    before, mark = content_sha256(folder), fingerprint(folder)
    os.utime(folder / "1", (1, 1))
    assert content_sha256(folder) == before
    assert fingerprint(folder) != mark
    (folder / "1").write_bytes(b"y")
    assert content_sha256(folder) != before
    (folder / "1").write_bytes(b"x")
    (folder / "1").rename(folder / "3")
    assert content_sha256(folder) != before


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_and_its_voxels_are_one_content(tmp_path: Path, suffix: str):
    import SimpleITK as sitk

    header = tmp_path / f"scan{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((3, 4, 5), -800, np.int16)), str(header))
    (tmp_path / "other.txt").write_text("not a part of it")
    (voxels,) = (path for path in tmp_path.iterdir() if path not in (header, tmp_path / "other.txt"))
    assert input_files(header) == sorted([header, voxels])
    before, mark = content_sha256(header), fingerprint(header)
    changed = bytearray(voxels.read_bytes())
    changed[-1] ^= 1
    voxels.write_bytes(bytes(changed))
    os.utime(voxels, (1, 1))
    assert content_sha256(header) != before
    assert fingerprint(header) != mark
    header.write_text("no header any more")
    assert input_files(header) == [header]


def test_jobs_follow_the_largest_case():
    room = 3 * estimate_bytes(512 * 512 * 130)
    assert fitting_jobs(8, 512 * 512 * 130, room) == 3
    assert fitting_jobs(2, 512 * 512 * 130, room) == 2
    assert fitting_jobs(8, 1024 * 1024 * 800, room) == 1
    assert fitting_jobs(8, 0, None) == 8


def test_this_machine_says_how_much_memory_it_has():
    available = available_bytes()
    assert available is None or 10**8 < available < 10**14
