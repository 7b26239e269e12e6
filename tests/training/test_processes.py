"""A run killed and gone on with, and a run over two processes, for real: other processes, gloo between them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from imaging.errors import UsageError
from imaging.models.network import NoduleNet
from imaging.training.engine import Trainer
from imaging.training.processes import Processes, SharedBatchNorm, mean_over_processes, process_count
from imaging.training.recipe import Recipe
from pipelines.training_launch import is_first, is_launched, launch
from pipelines.training_log import LOG
from pipelines.training_record import CHECKPOINT

SMALL_RUN = Path(__file__).with_name("small_run.py")
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ALONE = [sys.executable]


def start(program: list[str], *arguments: object, **settings) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    words = [str(a) for a in arguments] + [f"{name}={value}" for name, value in settings.items()]
    return subprocess.Popen(
        [*program, str(SMALL_RUN), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(program: list[str], *arguments: object, **settings) -> Path:
    process = start(program, *arguments, **settings)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-2000:]
    return Path(arguments[1])


def weights(folder: Path) -> bytes:
    return (folder / "trained.safetensors").read_bytes()


@pytest.fixture(scope="module")
def cases(tmp_path_factory, some_cases) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    some_cases(48, seed=1).save(folder / "train")
    some_cases(32, seed=2).save(folder / "val")
    return folder


@pytest.fixture(scope="module")
def alone(cases, tmp_path_factory) -> Path:
    return finish(ALONE, cases, tmp_path_factory.mktemp("runs") / "alone")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(alone, cases, tmp_path):
    """SIGKILL in the middle of a round: no handler, no goodbye."""
    process = start(ALONE, cases, tmp_path / "killed")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "step 8\n":  # rounds end at 3, 6, 9 and 12
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "manifest.json").exists()
    killed = finish(ALONE, cases, tmp_path / "killed", resume=1)
    for name in ("trained.safetensors", "manifest.json"):
        assert (killed / name).read_bytes() == (alone / name).read_bytes()
    one, other = load_file(killed / CHECKPOINT), load_file(alone / CHECKPOINT)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert [row["step"] for row in log(killed)] == [row["step"] for row in log(alone)] == ["3", "6", "9", "12"]


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_two_processes_do_what_one_does(alone, cases, tmp_path):
    """The same batches, changed the same way: losses of all rounds agree, and so do the weights, but for rounding."""
    two = finish(TWO, cases, tmp_path / "two")
    ours, theirs = (json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in (alone, two))
    assert (ours["processes"], theirs["processes"]) == (1, 2)
    for one, other in zip(ours["history"], theirs["history"], strict=True):
        assert one["step"] == other["step"]
        assert other["nodule"] == pytest.approx(one["nodule"], rel=2e-3)
        assert other["attributes"] == pytest.approx(one["attributes"], rel=2e-3)
        assert other["auroc_val_windows"] == pytest.approx(one["auroc_val_windows"], abs=0.02)
    assert other["nodule"] < ours["history"][0]["nodule"], "it learned"
    mine, shared = load_file(alone / "trained.safetensors"), load_file(two / "trained.safetensors")
    assert mine.keys() == shared.keys()
    far = max(float((mine[key].float() - shared[key].float()).abs().max()) for key in mine)
    assert far < 5e-3
    assert weights(alone) != b""


@pytest.mark.slow
def test_two_processes_go_on_to_the_same_bytes(cases, tmp_path):
    whole = finish(TWO, cases, tmp_path / "whole", steps=8)
    process = start(TWO, cases, tmp_path / "killed", steps=8)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "step 5\n":
            process.send_signal(signal.SIGTERM)
            break
    process.wait(timeout=60)
    killed = finish(TWO, cases, tmp_path / "killed", steps=8, resume=1)
    assert weights(killed) == weights(whole)
    process = start(ALONE, cases, tmp_path / "killed", steps=8, resume=1)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "train.changed" in said
    assert "processes" in said


@pytest.mark.slow
def test_the_command_starts_its_processes_and_keeps_their_exit_code(cases, tmp_path):
    command = [sys.executable, "-m", "pipelines.cli.main", "train", "--devices", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    settings = {
        "network": {
            "vision": {"slices": 3, "slice_step_mm": 5.0, "pixel_mm": 1.4, "window_pixels": 24, "width": 16}
            | {"depth": 1, "heads": 2, "embedding": 16, "stem_channels": 4},
            "text": {"width": 16, "heads": 2, "layers": 1},
        },
        "recipe": {"batch": 16},
    }
    (tmp_path / "small.json").write_text(json.dumps(settings), encoding="utf-8")
    options = ["--manifest", str(cases), "-o", str(tmp_path / "out"), "--recipe", str(tmp_path / "small.json")]
    done = subprocess.run(
        [*command, *options, "--steps", "2", "--json"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["steps"] == 2, "one process speaks"
    assert json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["processes"] == 2
    again = subprocess.run([*command, *options, "--steps", "2"], env=environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert "output.exists" in again.stderr


# --- in one process --------------------------------------------------------------------------------------------------


def test_alone_everything_is_its_own():
    processes = Processes()
    assert (processes.count, processes.number, processes.first, process_count()) == (1, 0, True, 1)
    assert processes.part_of(10) == slice(0, 10)
    assert processes.agreed([1, 2]) == [1, 2]
    assert processes.spread(lambda v: v * v, [1, 2, 3]) == [1, 4, 9]
    assert mean_over_processes(torch.tensor(3.0)) == 3.0
    assert (is_launched(), is_first()) == (False, True)
    net = nn.Sequential(nn.BatchNorm2d(2))
    processes.shared_norms(net)
    assert type(net[0]) is nn.BatchNorm2d


@pytest.mark.parametrize(("device", "precision"), [("cpu", "8"), ("cpu", "fp16")])
def test_precisions_that_cannot_be(device, precision):
    with pytest.raises(UsageError) as caught:
        Processes(device=device, precision=precision)
    assert caught.value.code == "usage.option"


def test_a_batch_that_cannot_be_shared(some_cases, vision, text):
    processes = Processes()
    processes.count = 2
    with pytest.raises(UsageError, match="a batch of 9 cannot be shared by 2 processes") as caught:
        Trainer(NoduleNet.fresh(vision, text), some_cases(8, seed=0), Recipe(3, batch=9), processes=processes)
    assert caught.value.code == "usage.option"


def test_shared_norms_are_torch_s_own(tmp_path):
    """A group of one: outputs, gradients and running statistics are those of `nn.BatchNorm2d`."""
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        plain, shared = nn.BatchNorm2d(3), SharedBatchNorm(3)
        rng = torch.Generator().manual_seed(0)
        results = []
        x = torch.randn(5, 3, 4, 4, generator=rng) * 3 + 1
        for norm in (plain, shared):
            nn.init.constant_(norm.weight, 1.7)
            mine = x.clone().requires_grad_()
            y = norm(mine)
            (y * torch.arange(y.numel()).reshape(y.shape).sin()).sum().backward()
            results.append((y, mine.grad, norm.weight.grad, norm.running_mean, norm.running_var))
        for one, other in zip(*results, strict=True):
            assert np.allclose(one.detach(), other.detach(), atol=2e-5)
        assert int(shared.num_batches_tracked) == 1
        assert torch.equal(shared.eval()(x), plain.eval()(x)) or torch.allclose(shared(x), plain(x), atol=1e-5)
    finally:
        distributed.destroy_process_group()


def test_a_launch_that_fails_says_with_which_code():
    assert launch(["train", "-o", "nowhere", "--quiet"], 2) == 2
