"""The same CT as DICOM, enhanced DICOM, zip, NIfTI and MetaImage gives the same findings; so does a batch."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

import imaging
from imaging.findings import Finding
from imaging.geometry import Volume
from imaging.simulation.dicom_series import write_series
from imaging.simulation.lesions import NoduleWish
from imaging.simulation.thorax import make_thorax

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one CT in five forms, each a case of a batch."""
    home = tmp_path_factory.mktemp("forms")
    rng = np.random.default_rng(5)
    volume, _ = make_thorax(
        rng=rng, shape=(56, 160, 160), spacing_mm=(3.0, 1.2, 1.2), nodules=[NoduleWish(diameter_mm=12.0)]
    )
    write_series(volume, home / "dicom", rng=rng)
    write_series(volume, home / "enhanced", enhanced=True)
    with zipfile.ZipFile(home / "zipped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sorted((home / "dicom").iterdir())):
            archive.write(file, f"deep/{number}")
    image = _as_image(imaging.read_volume(home / "dicom"))
    SimpleITK.WriteImage(image, str(home / "nifti.nii.gz"))
    SimpleITK.WriteImage(image, str(home / "meta.mha"), useCompression=True)
    return home


def _as_image(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.to_mm([0, 0, 0]).tolist())
    image.SetDirection(volume.grid.direction[:, ::-1].ravel().tolist())
    return image


FORMS = ("dicom", "enhanced", "zipped.zip", "nifti.nii.gz", "meta.mha")


@pytest.fixture(scope="module")
def findings(forms: Path) -> dict[str, tuple[Finding, ...]]:
    from imaging.models.weights import load_model
    from pipelines.predict import predict

    model = load_model()
    return {name: predict(forms / name, model=model, explain=False).report.findings for name in FORMS}


@pytest.mark.parametrize("name", FORMS[1:])
def test_voxels_and_places_are_equal(forms: Path, name: str):
    first, other = imaging.read_volume(forms / "dicom"), imaging.read_volume(forms / name)
    np.testing.assert_array_equal(first.array, other.array)
    assert np.abs(first.grid.affine - other.grid.affine).max() <= 0.001


def check_equal(first: tuple[Finding, ...], second: tuple[Finding, ...]) -> None:
    assert first
    assert len(second) == len(first)
    for one, other in zip(first, second, strict=True):
        assert np.linalg.norm(np.subtract(one.centre_mm, other.centre_mm)) <= 0.01
        assert abs(one.score - other.score) <= 0.0001


@pytest.mark.parametrize("name", FORMS[1:])
def test_findings_are_equal(findings, name: str):
    check_equal(findings["dicom"], findings[name])


@pytest.mark.shared
def test_a_real_ct_gives_the_same_findings_in_every_form(shared_data: Path, tmp_path: Path):
    """Whether they are right is not asked here: no outline is looked at."""
    from imaging.models.weights import load_model
    from pipelines.predict import predict

    archive = shared_data / "ct" / "LIDC-IDRI-0001.zip"
    volume = imaging.read_volume(archive)
    image = SimpleITK.Cast(_as_image(volume), SimpleITK.sitkInt16)
    SimpleITK.WriteImage(image, str(tmp_path / "ct.nii"))
    SimpleITK.WriteImage(image, str(tmp_path / "ct.mha"))
    model = load_model()
    found = predict(archive, model=model, explain=False).report.findings
    for name in ("ct.nii", "ct.mha"):
        other = imaging.read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, other.array)
        assert np.abs(volume.grid.affine - other.grid.affine).max() <= 0.001
    # Voxels and places of both are equal, and nothing else reaches the network: one search says it for both.
    check_equal(found, predict(tmp_path / "ct.nii", model=model, explain=False).report.findings)


def test_the_command_on_a_zip_and_on_nifti(forms: Path, findings, tmp_path: Path):
    """As an integrator calls it: DICOM objects for a zip, a refusal with a reason for NIfTI."""
    command = [sys.executable, "-m", "pipelines.cli.main", "predict"]
    options = ["--format", "sr,seg", "--json", "--quiet"]
    done = subprocess.run(
        [*command, str(forms / "zipped.zip"), "-o", str(tmp_path / "a"), *options], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert {"sr.dcm", "seg.dcm", "report.html", "findings.csv"} <= set(result["files"])
    scores = [finding["score"] for finding in result["report"]["findings"]]
    assert scores == pytest.approx([finding.score for finding in findings["dicom"]], abs=1e-4)
    copy = tmp_path / "own"
    shutil.copytree(forms / "dicom", copy)
    shutil.copytree(tmp_path / "a", copy / "result")
    listed = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "inspect", str(copy), "--json"], capture_output=True, text=True
    )
    assert listed.returncode == 0
    assert [info["modality"] for info in json.loads(listed.stdout)["series"]] == ["CT"]
    refused = subprocess.run(
        [*command, str(forms / "nifti.nii.gz"), "-o", str(tmp_path / "b"), *options], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "outputs.no_dicom_source"
    assert not (tmp_path / "b").exists()


def test_a_real_batch_over_several_forms_and_a_broken_one(forms: Path, findings, tmp_path: Path):
    from pipelines.batch.run import run_batch

    some = tmp_path / "in"
    shutil.copytree(forms / "dicom", some / "dicom")
    for name in ("zipped.zip", "nifti.nii.gz"):
        shutil.copy(forms / name, some / name)
    (some / "broken.zip").write_bytes((forms / "zipped.zip").read_bytes()[:2000])
    options = {"weights": None, "device": "cpu", "explain": False, "formats": ("csv", "json")}
    summary = run_batch(some, tmp_path / "out", jobs=2, **options)
    again = run_batch(some, tmp_path / "out", jobs=2, **options)
    assert {state.case: state.status for state in summary.states} == {
        "broken": "refused",
        **dict.fromkeys(("dicom", "nifti", "zipped"), "done"),
    }
    assert again.skipped == 3
    with (tmp_path / "out" / "findings.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * len(findings["dicom"])
    assert {row["seriesuid"][:7] for row in rows if row["case"] == "nifti"} == {"sha256:"}
