"""Weights are verified before they are used: missing, changed and unsuitable ones are refused by code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imaging.errors import ModelError
from imaging.models import weights as module
from imaging.models.weights import load_model, shipped_folder


@pytest.fixture
def folder(tmp_path: Path, net) -> Path:
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "tiny.safetensors")
    entry = {
        "name": "tiny",
        "file": "tiny.safetensors",
        "sha256": hashlib.sha256((tmp_path / "tiny.safetensors").read_bytes()).hexdigest(),
        "network": net.to_json(),
        "calibration": {"slope": 2.0, "offset": -1.0},
        "operating_point": {"threshold": 0.5, "false_marks_per_scan": None, "measured_on": "not measured"},
    }
    _write(tmp_path, {"schema_version": 1, "default": "tiny", "models": [entry]})
    return tmp_path


def _write(folder: Path, manifest: object) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def _code(folder: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    return caught.value.code


def test_a_folder_a_file_and_a_name_load_the_same_net(folder, net):
    x = torch.zeros(1, 5, 24, 24)
    for where in (folder, str(folder), folder / "tiny.safetensors"):
        loaded = load_model(where)
        assert not loaded.net.training
        with torch.no_grad():
            assert torch.equal(loaded.net.window_logit(x), net.window_logit(x))
    assert loaded.calibrate(0.5) == pytest.approx(0.5)
    assert 0.0 <= loaded.calibrate(-1e4) < loaded.calibrate(0.0) < loaded.calibrate(1e4) <= 1.0
    assert "solid" in loaded.prompts


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_a_changed_byte_is_a_refusal(folder, place):
    path = folder / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    assert _code(folder) == "weights.changed"


def test_nothing_there_is_missing(folder, tmp_path):
    assert _code(tmp_path / "no" / "such") == "weights.missing"
    assert _code("no-such-name") == "weights.missing"
    (folder / "tiny.safetensors").unlink()
    assert _code(folder) == "weights.missing"
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert _code(folder) == "weights.missing"


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"schema_version": None}, {"models": None}])
def test_another_layout_is_unsuitable(folder, change):
    _write(folder, _manifest(folder) | change)
    assert _code(folder) == "weights.unsuitable"


def test_weights_of_another_shape_are_unsuitable(folder):
    manifest = _manifest(folder)
    manifest["models"][0]["network"]["vision"]["width"] = 32
    _write(folder, manifest)
    assert _code(folder) == "weights.unsuitable"


def test_a_pickle_is_never_opened(folder):
    """A pickle in the weights' place, with the right hash, is refused and does not run."""
    path = folder / "tiny.safetensors"
    bomb = folder / "ran"
    path.write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V" + str(bomb).encode() + b"\ntRtR.")
    manifest = _manifest(folder)
    manifest["models"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    _write(folder, manifest)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert caught.value.code == "weights.unsuitable"
    assert not bomb.exists()
    for source in Path(module.__file__).resolve().parents[1].rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert "import pickle" not in text, source
        assert "torch.load" not in text, source


def test_the_shipped_weights_are_whole_and_small():
    model = load_model()
    assert model.net.vision.config.token_mm <= 4.0
    assert model.net.vision.config.slices > 1
    assert sum(path.stat().st_size for path in shipped_folder().glob("*.safetensors")) <= 40e6
    assert {path.suffix for path in shipped_folder().iterdir() if path.is_file()} <= {
        ".py",
        ".json",
        ".md",
        ".safetensors",
    }
