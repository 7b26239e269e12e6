"""`explain` on fakes (what is asked, said and refused; folders) and, once, with the shipped weights on a small CT."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

import imaging
from imaging.errors import InputError, Notice, UsageError
from pipelines.explain import FORMATS, explain, explain_to_folder
from pipelines.predict import predict_to_folder


@pytest.fixture
def fakes(spine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The spine with a net of six blocks, and a record of the maps that were asked for."""
    import sys

    asked: list[dict[str, Any]] = []
    net = SimpleNamespace(vision=SimpleNamespace(blocks=range(6)))
    model = SimpleNamespace(**vars(spine.load_model()), net=net)
    loads: list[Any] = []

    def load(device: str, weights: Any) -> Any:
        loads.append((device, weights))
        return model

    def grad_cam_map(_model: Any, volume: Any, *_: Any, **options: Any) -> Any:
        asked.append(options)
        return np.full(volume.grid.shape, 0.25 * len(asked), np.float32)

    monkeypatch.setattr("pipelines.explain.load_on", load)
    monkeypatch.setattr(sys.modules["imaging.explanation.gradcam"], "grad_cam_map", grad_cam_map)
    spine.asked, spine.loads, spine.model = asked, loads, model
    return spine


def test_the_usual_map_is_computed_once_and_said_in_full(fakes):
    result = explain("ct", prompt="ground-glass nodule")
    assert len(fakes.asked) == 1
    assert result.similarity_prompt == "ground-glass nodule"
    settings = result.report.provenance.settings
    assert (settings["layer"], settings["method"], settings["extent"]) == (0, "grad-cam-elementwise", "findings")
    assert settings["prompt"] == "ground-glass nodule"
    maps = result.report.maps
    assert maps["similarity.nii.gz"].startswith("similarity to ground-glass nodule; stored in 256 steps")
    assert maps["grad_cam.nii.gz"].startswith("fake Grad-CAM; stored in 256 steps")


def test_another_block_method_and_extent_are_handed_over_and_told(fakes):
    result = explain("ct", layer=2, method="layer-cam", whole_lungs=True)
    assert fakes.asked[-1]["extent"] == "lungs"
    assert (fakes.asked[-1]["settings"].block, fakes.asked[-1]["settings"].method) == (2, "layer-cam")
    assert float(result.grad_cam.max()) == 0.5, "the second map is the one that was asked for"
    settings = result.report.provenance.settings
    assert (settings["layer"], settings["method"], settings["extent"]) == (2, "layer-cam", "lungs")


@pytest.mark.parametrize(
    "options", [{"layer": 6}, {"layer": -7}, {"method": "guess"}, {"threshold": 2.0}, {"max_findings": 0}]
)
def test_what_cannot_be_asked_is_refused_before_anything_is_read(fakes, tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(UsageError) as refused:
        explain_to_folder("ct", tmp_path / "out", **options)
    assert refused.value.code == "usage.option"
    assert fakes.read == []
    assert not (tmp_path / "out").exists()


def test_formats_are_checked_first(fakes, tmp_path: Path):
    with pytest.raises(UsageError) as unknown:
        explain_to_folder("ct", tmp_path / "out", formats=("maps", "docx"))
    assert unknown.value.code == "outputs.unknown_format"
    assert fakes.loads == []
    with pytest.raises(UsageError) as no_dicom:
        explain_to_folder("ct", tmp_path / "out", formats=("sr",))
    assert no_dicom.value.code == "outputs.no_dicom_source"
    assert fakes.asked == [], "nothing is computed for what can never be written"


def test_a_doubt_about_the_prompt_is_on_the_map_in_the_report_and_on_the_picture(
    fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    doubt = Notice("prompt.untrained", "the text tower never met 'zebra' of the prompt 'zebra nodule'")
    score = fakes.score_volume

    def doubtful(*arguments: Any, **options: Any) -> Any:
        score(*arguments, **options)
        return SimpleNamespace(notices=(doubt,))

    import sys

    plain = tmp_path / "plain"
    explain_to_folder("ct", plain, prompt="zebra nodule")
    monkeypatch.setattr(sys.modules["imaging.models.scoring"], "score_volume", doubtful)
    result, files = explain_to_folder("ct", tmp_path / "out", prompt="zebra nodule")
    assert doubt in result.report.notices
    report = json.loads(files["report.json"].read_text())
    assert "not to be relied on: the text tower never met 'zebra'" in report["maps"]["similarity.nii.gz"]
    header = nibabel.load(files["similarity.nii.gz"]).header
    assert b"UNTRAINED prompt" in bytes(header["descrip"].item())
    with Image.open(plain / "explanation.png") as before, Image.open(files["explanation.png"]) as after:
        line = [np.asarray(image.convert("RGB"))[98:118].astype(int) for image in (before, after)]
    orange = [((rows[..., 0] > 150) & (rows[..., 2] < 60)).sum() for rows in line]
    assert orange[0] == 0
    assert orange[1] > 200


def test_an_interrupted_run_leaves_nothing(fakes, tmp_path: Path):
    def cancel(stage: str, done: int, total: int) -> None:
        if stage == "write" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_to_folder("ct", tmp_path / "out", on_stage=cancel)
    assert list(tmp_path.iterdir()) == []
    explain_to_folder("ct", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(KeyboardInterrupt):
        explain_to_folder("ct", tmp_path / "out", overwrite=True, prompt="other", on_stage=cancel)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_refused_ct_leaves_an_earlier_result_alone(fakes, tmp_path: Path):
    _, files = explain_to_folder("ct", tmp_path / "out")
    before = files["report.json"].read_bytes()
    fakes.lung_ml["1.2.3"] = None
    with pytest.raises(InputError) as refused:
        explain_to_folder("ct", tmp_path / "out", overwrite=True)
    assert refused.value.code == "lungs.none"
    assert files["report.json"].read_bytes() == before


def test_heat_maps_never_replace_a_whole_result(fakes, tmp_path: Path):
    out = tmp_path / "out"
    predict_to_folder("ct", out, formats=("csv", "json", "maps"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for overwrite in (False, True):
        with pytest.raises(UsageError) as refused:
            explain_to_folder("ct", out, overwrite=overwrite)
        assert refused.value.code == "usage.output_exists"
    assert "findings.csv" in str(refused.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    explain_to_folder("ct", out, overwrite=True, formats=("csv", *FORMATS))
    assert {"findings.csv", "explanation.png"} <= {path.name for path in out.iterdir()}


@pytest.fixture(scope="module")
def small_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chest with one nodule, turned by 8 degrees, slices of 3 mm, as NIfTI."""
    from imaging.geometry import Grid, Volume
    from imaging.io.nifti_write import write_nifti
    from imaging.simulation.lesions import NoduleWish
    from imaging.simulation.thorax import make_thorax

    volume, _ = make_thorax(
        rng=np.random.default_rng(5),
        shape=(56, 160, 160),
        spacing_mm=(3.0, 1.2, 1.2),
        nodules=[NoduleWish(diameter_mm=14.0)],
    )
    c, s = np.cos(np.radians(8)), np.sin(np.radians(8))
    affine = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]]) @ volume.grid.affine
    turned = Volume(volume.array, Grid(volume.grid.shape, affine))
    path = tmp_path_factory.mktemp("ct") / "oblique.nii.gz"
    write_nifti(turned.array, turned.grid, path, description="oblique")
    return path


@pytest.mark.slow
def test_real_maps_of_an_oblique_ct_lie_on_its_own_grid(small_ct: Path, tmp_path: Path):
    options = {"threshold": 0.0, "max_findings": 1, "prompt": "ground-glass nodule"}
    result, files = explain_to_folder(small_ct, tmp_path / "out", **options)
    ct, source = imaging.read_volume(small_ct), nibabel.load(small_ct)
    assert set(files) == {
        "report.json",
        "grad_cam.nii.gz",
        "similarity.nii.gz",
        "nodules.nii.gz",
        "overlay.png",
        "explanation.png",
    }
    for name in ("grad_cam.nii.gz", "similarity.nii.gz"):
        heat = imaging.read_volume(files[name])
        assert heat.grid.shape == ct.grid.shape
        np.testing.assert_allclose(heat.grid.affine, ct.grid.affine, atol=1e-3)
        np.testing.assert_allclose(nibabel.load(files[name]).affine, source.affine, atol=1e-3)
        assert 0.0 <= float(heat.array.min()) <= float(heat.array.max()) <= 1.0
    finding = result.report.findings[0]
    peak = ct.grid.to_mm(np.unravel_index(int(result.grad_cam.argmax()), result.grad_cam.shape))
    assert np.linalg.norm(peak - finding.centre_mm) < (finding.diameter_mm or 8.0) / 2 + 4.0
    said = json.loads(files["report.json"].read_text())["maps"]
    assert "around the findings only" in said["grad_cam.nii.gz"]
    assert "higher is more suspicious" in said["grad_cam.nii.gz"]
    assert "“ground-glass nodule”" in said["similarity.nii.gz"]
