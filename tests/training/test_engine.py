"""The loop: seeds reproduce, a break changes nothing, unknown labels are not drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.evaluation.auroc import RankedScores
from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet, pool_tokens
from imaging.training.engine import Told, Trainer
from imaging.training.judging import suspicion, window_logits
from imaging.training.recipe import Recipe
from imaging.training.sampler import Sampler

RECIPE = Recipe(12, batch=8, rate=3e-3, warmup=3, seed=5)


def trainer_of(cases, vision, text, recipe: Recipe = RECIPE) -> Trainer:
    torch.manual_seed(recipe.seed)
    return Trainer(NoduleNet.fresh(replace(vision, drop_path=0.2), text), cases, recipe)


def same(one: Trainer, other: Trainer) -> bool:
    pairs = [(one.net, other.net), (one.mean, other.mean)]
    return all(torch.equal(v, b.state_dict()[k]) for a, b in pairs for k, v in a.state_dict().items())


def test_resumed_bit_for_bit(tmp_path: Path, some_cases, vision, text):
    cases = some_cases(24, seed=0)
    whole = trainer_of(cases, vision, text)
    whole.run(12)
    broken = trainer_of(cases, vision, text)
    broken.run(5)
    broken.save(tmp_path / "at5.safetensors", notes={"what": "a note"})
    torch.manual_seed(999)  # whatever ran in between
    torch.rand(3)
    resumed = trainer_of(cases, vision, text)
    resumed.load(tmp_path / "at5.safetensors")
    resumed.run(7)
    assert resumed.step == 12
    assert same(whole, resumed)
    broken.run(6)
    assert not same(whole, broken)
    assert [p.name for p in tmp_path.iterdir()] == ["at5.safetensors"]


def test_seeds_reproduce(some_cases, vision, text):
    cases = some_cases(24, seed=0)
    runs = [trainer_of(cases, vision, text, replace(RECIPE, seed=seed)) for seed in (5, 5, 6)]
    for number, run in enumerate(runs):
        torch.manual_seed(number)  # the caller's chance plays no part, and is left as it was
        after = torch.rand(1, generator=torch.Generator().manual_seed(number))
        run.run(4)
        assert torch.equal(torch.rand(1), after)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_it_learns_and_reports(some_cases, vision, text):
    cases, val = some_cases(64, seed=0), some_cases(64, seed=1)
    trainer = trainer_of(cases, vision, text, Recipe(60, batch=32, rate=5e-3, warmup=5))
    heard: list[int] = []
    told: list[Told] = []
    last = trainer.run(60, on_step=heard.append, on_told=told.append)
    assert heard == list(range(1, 61))
    assert [report.step for report in told] == [20, 40, 60]
    assert [report.rate for report in told] == [trainer.rate_at(step) for step in (19, 39, 59)]
    assert min(report.windows_per_s for report in told) > 0
    assert set(last) == {"nodule", "attributes"}
    assert told[-1].losses == last
    logits = window_logits(trainer.mean, val, batch=17)
    assert RankedScores(val.labels[:, 0] > 0.5, logits.numpy()).auroc() > 0.95


def test_the_mean_is_judged_by_its_own_prompts(some_cases, vision, text):
    """Embeddings of prompts that an earlier look at the mean has kept do not outlive a step."""
    cases = some_cases(24, seed=0)
    trainer = trainer_of(cases, vision, text)
    window_logits(trainer.mean, cases)
    trainer.run(5)
    twin = NoduleNet.from_json(trainer.mean.to_json())
    twin.load_state_dict(trainer.mean.state_dict())
    assert torch.equal(window_logits(trainer.mean, cases), window_logits(twin.eval(), cases))


def test_the_rate_warms_up_and_falls(some_cases, vision, text):
    trainer = trainer_of(some_cases(8, seed=0), vision, text)
    rates = [trainer.rate_at(step) for step in range(13)]
    assert rates[:3] == pytest.approx([1e-3, 2e-3, 3e-3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[12] == pytest.approx(3e-5)


def test_collections_and_sides_get_their_shares(some_cases):
    from imaging.training.cases import CaseSet

    cases = CaseSet.joined([some_cases(100, seed=0, name="a"), some_cases(300, seed=1, name="b")])
    index = Sampler(cases, replace(RECIPE, shares={"a": 0.7}, positives=0.3)).draw(
        20000, torch.Generator().manual_seed(0)
    )
    drawn = index.numpy()
    assert (cases.collection[drawn] == 0).mean() == pytest.approx(0.7, abs=0.02)
    assert (cases.labels[drawn, 0] > 0.5).mean() == pytest.approx(0.3, abs=0.02)
    assert len(set(drawn.tolist())) == 400


def test_cases_of_unknown_label_are_not_drawn_until_they_get_one(some_cases, vision, text):
    cases = some_cases(40, seed=0)
    unknown = cases.labels.copy()
    unknown[:20, 0] = np.nan
    drawn = Sampler(replace(cases, labels=unknown), RECIPE).draw(2000, torch.Generator().manual_seed(0))
    assert drawn.min() >= 20
    trainer = trainer_of(replace(cases, labels=unknown), vision, text)
    trainer.relabel(cases.labels)
    drawn = trainer._sampler.draw(2000, torch.Generator().manual_seed(0))
    assert drawn.min() < 20
    assert np.isfinite(trainer.run(2)["nodule"])


@torch.no_grad()
def test_many_windows_are_ranked_by_the_gate_then_by_the_net(some_cases, vision, text):
    cases = some_cases(60, seed=0)
    net = trainer_of(cases, vision, text).mean
    order = suspicion(net, cases.images, most=10, batch=16)
    logits = window_logits(net, cases).numpy()
    gate = torch.cat(
        [
            pool_tokens(net.vision.gate_logits(net.vision.stem(normalize_bytes(x))))
            for x in torch.from_numpy(cases.images).split(60)
        ]
    )
    first = np.argsort(-gate.numpy(), kind="stable")
    assert order[first[:10]] == pytest.approx(logits[first[:10]], abs=1e-5)
    assert order[first[10:]].max() < order[first[:10]].min()
    assert np.array_equal(first[10:], first[10:][np.argsort(-order[first[10:]], kind="stable")])
    assert suspicion(net, cases.images, most=99) == pytest.approx(logits, abs=1e-5)
