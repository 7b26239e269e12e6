"""``nodulus tune-text`` whole: prepared windows and weights in, a folder that ``--weights`` takes out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imaging.errors import ImagingError, InputError, OutputError, UsageError
from imaging.models.network import NoduleNet
from imaging.models.weights import load_model
from imaging.provenance import file_sha256
from imaging.training.text_tuning import TuningRecipe
from pipelines.tune_text import TuneOptions, chosen_windows, tune_to_folder

RECIPE = TuningRecipe(steps=6, ways=1, windows=4, rate=3e-3)


@pytest.fixture
def weights(tmp_path, vision, text):
    """A folder with weights of a small net."""
    torch.manual_seed(0)
    net = NoduleNet.fresh(vision, replace(text, width=48))
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(net.state_dict(), folder / "small.safetensors")
    card = {
        "name": "small",
        "file": "small.safetensors",
        "sha256": file_sha256(folder / "small.safetensors"),
        "licence": "CC0",
        "network": net.to_json(),
        "calibration": {"slope": 2.0, "offset": -1.0, "fitted_on": "made"},
        "operating_point": {"threshold": 0.7, "false_marks_per_scan": 2.0, "measured_on": "made"},
        "explanation": {"layer": -1},
        "lineage": [{"stage": "first"}],
    }
    manifest = {"schema_version": 1, "default": "small", "models": [card]}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_weights_come_out_with_the_image_tower_and_the_card_of_those_that_went_in(weights, prepared, tmp_path):
    told = []
    result = tune_to_folder(
        prepared,
        tmp_path / "run",
        weights=weights,
        recipe=RECIPE,
        name="small-2",
        on_progress=lambda stage, done, total: told.append(stage),
    )
    old, new = load_model(weights), load_model(tmp_path / "run")
    assert (new.name, new.sha256) == ("small-2", result["sha256"])
    before = load_file(weights / "small.safetensors")
    after = load_file(tmp_path / "run" / "small-2.safetensors")
    assert all(before[k].numpy().tobytes() == after[k].numpy().tobytes() for k in before if not k.startswith("text."))
    assert new.operating_point == old.operating_point
    assert [new.calibrate(x) for x in (-1.0, 2.0)] == [old.calibrate(x) for x in (-1.0, 2.0)]
    assert [stage["stage"] for stage in new.card["lineage"]] == ["first", "text tower only, the image tower frozen"]
    made = new.card["lineage"][1]
    assert made["from"] == {"name": "small", "sha256": old.sha256}
    assert made["val_logits_moved"] == result["val_logits_moved"] < 1e-3
    assert made["recipe"] == RECIPE.to_json()
    assert {"images.npy", "labels.npy"} <= set(made["cases"][0]["sha256"])
    assert dict.fromkeys(told) == dict.fromkeys(["looking", "training"])
    again = tune_to_folder(prepared, tmp_path / "again", weights=weights, recipe=RECIPE, name="small-2")
    assert again["sha256"] == result["sha256"]


def test_windows_are_chosen_by_what_is_known_of_them(some_cases):
    cases = some_cases(80, seed=4)
    cases.labels[1, 1:] = np.nan  # with a nodule of which nobody said more
    chosen = chosen_windows(cases, TuneOptions(windows=40), 1, np.random.default_rng(0))
    assert (chosen.labels[:, 0] == 1).sum() == 30
    assert (chosen.labels[:, 0] == 0).sum() == 10
    assert not np.isnan(chosen.labels[:30, 1:]).all(axis=1).any()
    every = chosen_windows(cases, TuneOptions(windows=4000), 1, np.random.default_rng(0))
    assert len(every) == 39 + 40
    assert len(chosen_windows(cases, TuneOptions(collections=("other",)), 1, np.random.default_rng(0))) == 0


@pytest.mark.parametrize(
    ("settings", "error", "code"),
    [
        ({"recipe": TuningRecipe(steps=0)}, UsageError, "usage.option"),
        ({"options": TuneOptions(windows=2)}, UsageError, "usage.option"),
        ({"options": TuneOptions(collections=("nowhere",))}, InputError, "cases.layout"),
        ({"output": "weights"}, OutputError, "output.exists"),
    ],
)
def test_refusals(weights, prepared, tmp_path, settings, error, code):
    output = tmp_path / settings.pop("output", "run")
    with pytest.raises(error) as refusal:
        tune_to_folder(prepared, output, weights=weights, **({"recipe": RECIPE} | settings))
    assert isinstance(refusal.value, ImagingError)
    assert refusal.value.code == code
