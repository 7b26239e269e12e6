"""The ablation's plain scorer: what the whole one sees before any of its steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_crops import write_crops

from benchmarks.lidc_data import LidcCrops
from benchmarks.model_scorer import ModelScorer
from benchmarks.scorers import Window
from benchmarks.steps import HEADER, OneLook, body
from imaging.models.network import pool_tokens
from imaging.models.weights import load_model


@pytest.fixture(scope="module")
def model():
    return load_model(None)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return LidcCrops(write_crops(tmp_path_factory.mktemp("crops"))).stack("P2", 0)


@pytest.fixture(scope="module")
def window(stack):
    x, y, z = stack.volume.grid.to_mm((3, 60, 66))
    return Window(stack, 3, (float(x), float(y), float(z)))


def test_one_look_is_the_net_s_own_logit_and_its_strongest_token(model, window):
    whole, plain = ModelScorer(model), OneLook(model)
    with torch.inference_mode():
        pooled = float(pool_tokens(model.net.token_logits(whole.window_input(window)))[0])
    assert plain.window_logits([window]) == pytest.approx([pooled], abs=1e-4)
    assert plain.window_logits([window]) != pytest.approx(whole.window_logits([window]), abs=1e-4)
    assert plain.point_windows([window])[0].point_mm == whole.point_windows([window])[0].others["token centre"]


def test_token_maxima_of_a_stack_become_one_mark_a_lesion(model, stack):
    maxima, lesions = OneLook(model).mark_stack(stack), OneLook(model, outlined=True).mark_stack(stack)
    centre = stack.volume.grid.to_mm((3, 64, 64))

    def near(marks):
        return [mark for mark in marks if np.linalg.norm(np.subtract(mark.point_mm, centre)) < 12.0]

    assert len(near(maxima)) > 1
    assert len(near(lesions)) == 1
    best = max(mark.logit for mark in maxima)
    assert max(mark.logit for mark in lesions) <= best


def test_the_table_names_the_first_weights_and_has_a_cell_for_each_figure(model):
    text = body([("a step", "0.99", "0.9", "0.8", "0.5", "0.9", "1.0")], model)
    assert f"`{model.name}` (`{model.sha256[:16]}`)" in text
    header = next(line for line in text.splitlines() if line.startswith("| step"))
    assert header.count("|") == len(HEADER) + 1 == 8
