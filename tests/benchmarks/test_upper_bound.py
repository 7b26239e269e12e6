"""Places lie where the lesion is, only the arms that may see them do, and the text tower stands still."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_crops import LUNG_HU, NODULE_HU, write_crops

from benchmarks.arms import HEADER, shipped_row
from benchmarks.results_table import replace_section
from benchmarks.upper_bound import (
    FREE,
    INSIDE,
    NEAR,
    Windows,
    begin,
    cut,
    local_loss,
    own_regions,
    token_places,
    train_on,
    with_simulated,
    write,
)
from imaging.models.intensity import HU_HIGH, HU_LOW
from imaging.models.network import NoduleNet
from imaging.models.prompts import concepts
from imaging.models.text import TextConfig
from imaging.models.vision import TOKEN_PIXELS, TOKEN_SHIFT, VisionConfig
from imaging.models.weights import load_model
from imaging.training.losses import Opinions
from imaging.training.recipe import Recipe

SMALL = VisionConfig(
    slices=3, pixel_mm=1.4, window_pixels=24, width=16, depth=1, heads=2, embedding=16, stem_channels=4
)
RECIPE = Recipe(steps=3, batch=8, rate=2e-4, warmup=1, ema=0.9)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("crops"))


def test_regions_lie_on_what_the_readers_outlined(crops):
    config = VisionConfig()
    holding, free = cut(crops, config, seed=0)
    assert len(holding.images) > 10
    assert len(free.images) > 10
    assert not free.where.any()
    hu = (holding.images[:, config.slices // 2] - 1.0) * ((HU_HIGH - HU_LOW) / 254) + HU_LOW
    middle = (LUNG_HU + NODULE_HU) / 2
    assert (hu[holding.where == FREE] < middle).all()
    assert (hu[holding.where == INSIDE] > middle - 100).all()
    bright = hu > NODULE_HU - 60
    assert (holding.where[bright] != FREE).all()
    assert (holding.where == INSIDE).any(axis=(1, 2)).all()
    assert (holding.where == NEAR).any(axis=(1, 2)).all()


@pytest.mark.parametrize("row", range(0, 46, 5))
@pytest.mark.parametrize("column", [3, 22, 44])
def test_a_pixel_belongs_to_the_token_that_speaks_of_it(row, column):
    where = torch.zeros(1, 48, 48, dtype=torch.uint8)
    where[0, row, column] = INSIDE
    inside, free = token_places(where)
    assert int(inside.sum()) == 1
    ((_, i, j),) = inside.nonzero().tolist()
    speaks_of = [(TOKEN_PIXELS - 1) / 2 + TOKEN_PIXELS * (n + TOKEN_SHIFT) for n in (i, j)]
    assert max(abs(speaks_of[0] - row), abs(speaks_of[1] - column)) <= TOKEN_PIXELS / 2 + 0.5
    assert torch.equal(free, ~inside)


def test_near_is_neither_inside_nor_free():
    where = torch.full((1, 24, 24), NEAR, dtype=torch.uint8)
    inside, free = token_places(where)
    assert not inside.any()
    assert not free.any()


def test_the_two_bags_by_hand():
    tokens = torch.tensor([[[1.0, -2.0], [0.5, 3.0]], [[-1.0, 0.0], [2.0, 1.0]]])
    where = torch.zeros(2, 8, 8, dtype=torch.uint8)
    where[0, 0:2, 0:2] = INSIDE  # the first token
    where[0, 3:6, 3:6] = NEAR  # the last
    said = Opinions(torch.zeros(2), tokens[:, None], torch.zeros(2, 0))

    def cost(logit: float, label: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -label * math.log(p) - (1 - label) * math.log(1 - p)

    outside = [math.log(math.exp(-2.0) + math.exp(0.5)), math.log(sum(math.exp(v) for v in (-1.0, 0.0, 2.0, 1.0)))]
    expected = (cost(outside[0], 0) + cost(outside[1], 0)) / 2 + cost(1.0, 0.8)
    assert float(local_loss(said, torch.tensor([0.8, 0.0]), where)) == pytest.approx(expected, abs=1e-5)


def made(n: int, *, seed: int, holds: bool) -> Windows:
    rng = np.random.default_rng(seed)
    images = rng.integers(20, 60, (n, 3, 24, 24)).astype(np.uint8)
    where = np.zeros((n, 24, 24), np.uint8)
    labels = np.full((n, len(concepts())), np.nan, np.float32)
    labels[:, 0] = float(holds)
    for image, places in zip(images, where, strict=True):
        row, column = rng.integers(4, 14, 2)
        if holds:
            image[:, row : row + 6, column : column + 6] = 220
            places[row : row + 6, column : column + 6] = INSIDE
    return Windows(images, labels, where)


def weights_after(*, local: bool, other_places: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = NoduleNet.fresh(SMALL, TextConfig(width=16, heads=2, layers=1))
    holding, free = made(20, seed=1, holds=True), made(20, seed=2, holds=False)
    if other_places:
        holding = Windows(holding.images, holding.labels, holding.where[:, ::-1].copy())
    before = {name: value.clone() for name, value in net.text.state_dict().items()}
    trained = train_on(net, holding, free, RECIPE, local=local)
    assert not trained.training
    assert all(torch.equal(value, before[name]) for name, value in trained.text.state_dict().items())
    return {name: value.clone() for name, value in trained.state_dict().items()}


def test_labels_alone_never_see_a_place():
    one, other = weights_after(local=False), weights_after(local=False, other_places=True)
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = weights_after(local=True), weights_after(local=True, other_places=True)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_nets_own_region_is_its_evidence_and_the_folder_serves_as_weights(tmp_path, crops):
    model = load_model()
    holding, _ = cut(crops, model.net.vision.config, seed=0)
    few = holding.images[:6]
    regions = own_regions(model, few)
    assert regions.shape == few.shape[:1] + few.shape[2:]
    assert (regions == INSIDE).any(axis=(1, 2)).all()
    write(model.net, model, tmp_path / "arm", arm="own", recipe=RECIPE, counts=(6, 0))
    loaded = load_model(tmp_path / "arm")
    assert (loaded.name, loaded.card["arm"], loaded.card["recipe"]["steps"]) == ("trained-on-with-own", "own", 3)
    assert loaded.calibrate(1.0) == model.calibrate(1.0)
    assert torch.equal(
        loaded.net.window_logit(torch.zeros(1, 5, 48, 48)), model.net.window_logit(torch.zeros(1, 5, 48, 48))
    )


def test_windows_with_lesions_drawn_into_them_stand_among_the_others(crops):
    config = VisionConfig()
    holding, free = cut(crops, config, seed=0)
    more, emptier = with_simulated(holding, free, config, seed=0)
    for some, kept in ((more, holding), (emptier, free)):
        drawn = slice(len(kept.images), None)
        assert len(some.images) > len(kept.images)
        assert len(some.images) == len(some.labels) == len(some.where)
        assert (some.images[: len(kept.images)] == kept.images).all()
        assert (some.where[drawn] == NEAR).all()  # nobody says where anything was drawn
    assert (more.labels[len(holding.labels) :, 0] > 0.9).all()
    assert (emptier.labels[len(free.labels) :, 0] == 0).all()
    again, _ = with_simulated(holding, free, config, seed=0)
    assert (again.images == more.images).all()


def test_from_scratch_the_image_tower_knows_nothing_and_the_text_tower_is_the_shipped_one():
    start = load_model()
    shipped, net = start.net, begin(start, from_scratch=True, seed=3)
    same = begin(load_model(), from_scratch=True, seed=3)
    assert begin(start, from_scratch=False, seed=3) is shipped
    text = shipped.text.state_dict()
    assert all(torch.equal(value, text[name]) for name, value in net.text.state_dict().items())
    vision = shipped.vision.state_dict()
    changed = [name for name, value in net.vision.state_dict().items() if not torch.equal(value, vision[name])]
    assert any("stem" in name for name in changed)
    assert any("blocks.5" in name for name in changed)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), same.state_dict().values(), strict=True))


def test_the_shipped_line_is_that_of_its_own_tables(tmp_path):
    path = tmp_path / "results.md"
    windows = "| nodulus | 0.99 [0.9, 1.0] | 0.98 |\n| nodulus | refined | 0.91 | 0.92 | 0.5 |\n"
    replace_section("windows-val", windows + "| nodulus | token centre | 0.6 | 0.7 | 2.0 |", path=path)
    cells = " | ".join(str(n / 10) for n in range(1, 9))
    replace_section("crops-val", f"| nodulus | {cells} |", path=path)
    row = shipped_row(path.read_text(), "val")
    assert row == (
        "shipped weights",
        "nothing more",
        "0",
        "0.99 [0.9, 1.0]",
        "0.91",
        "0.92",
        "0.6",
        "0.5",
        "0.4",
        "0.6",
    )
    assert len(row) == len(HEADER)
