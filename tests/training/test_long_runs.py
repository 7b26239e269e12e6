"""A packed file, a time to keep, an early end, other weights to begin with, a run done again, and its release."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imaging.errors import ImagingError, InputError, ModelError, OutputError, UsageError
from imaging.models.weights import load_model, shipped_folder
from imaging.provenance import file_sha256
from imaging.training.engine import Trainer
from imaging.training.recipe import Recipe
from pipelines.cli.main import run as command
from pipelines.lineage import code_sha256, made_by
from pipelines.release import release
from pipelines.train import train_to_folder
from pipelines.training_log import COLUMNS, LOG, RunLog
from pipelines.training_pack import pack_cases
from pipelines.training_record import BEST
from pipelines.training_rounds import best_round, is_stale, watched
from pipelines.training_settings import TrainOptions, make_recipe, read_settings


@pytest.fixture(scope="module")
def options(vision, text) -> TrainOptions:
    return TrainOptions(vision, text, batch=8, rate=3e-3, rounds=3, shortest_round=1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory, some_cases) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    some_cases(48, seed=1).save(folder / "train")
    some_cases(32, seed=2).save(folder / "val")
    return folder


@pytest.fixture(scope="module")
def ended(cases, tmp_path_factory, options) -> Path:
    """A run that has ended."""
    folder = tmp_path_factory.mktemp("runs") / "ended"
    train_to_folder(cases, folder, steps=6, seed=3, options=options)
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory, vision, text) -> Path:
    """A file of settings, as ``--recipe`` takes it."""
    path = tmp_path_factory.mktemp("settings") / "small.json"
    network = {"vision": asdict(vision), "text": asdict(text)}
    values = {"network": network, "recipe": {"batch": 8, "rate": 3e-3}, "rounds": 3, "shortest_round": 1}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> bytes:
    return (folder / "trained.safetensors").read_bytes()


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def code(function, *arguments, **settings) -> str:
    with pytest.raises(ImagingError) as caught:
        function(*arguments, **settings)
    return caught.value.code


# --- a packed file ---------------------------------------------------------------------------------------------------


def test_a_packed_file_trains_to_the_bytes_of_the_folder(ended, cases, tmp_path, options, vision):
    pack_cases(cases, tmp_path / "cases.safetensors", config=vision)
    shutil.copy(tmp_path / "cases.safetensors", tmp_path / "elsewhere.safetensors")
    train_to_folder(tmp_path / "elsewhere.safetensors", tmp_path / "run", steps=6, seed=3, options=options)
    assert weights(tmp_path / "run") == weights(ended)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == (ended / "manifest.json").read_bytes()
    assert record(tmp_path / "run")["cases"][0]["path"] == "elsewhere.safetensors"


def test_commands_from_cases_to_released_weights(cases, settings, tmp_path, capsys, monkeypatch):
    """pack, train within a time, release, and again from the record that the release keeps."""
    import pipelines.cli.commands.train as module

    monkeypatch.setattr(module, "_age_s", lambda: 0.0)  # the tests have been running for longer than the run may
    packed, run, shelf = tmp_path / "cases.safetensors", tmp_path / "run", tmp_path / "weights"
    with pytest.raises(InputError):  # the settings' windows are not those that `nodulus pack` cuts by default
        pack_cases(cases, packed)
    pack_cases(cases, packed, config=read_settings(settings, TrainOptions())[0].vision)
    train = ["train", "--pack", str(packed), "--quiet"]
    assert command([*train, "--recipe", str(settings), "-o", str(run), "--minutes", "0.1"]) == 0
    release = ["release", str(run), "-o", str(shelf), "--name", "small-1", "--licence", "CC0", "--json"]
    assert command(release) == 0
    assert json.loads(capsys.readouterr().out)["default"] == "small-1"
    assert load_model(shelf).sha256 == file_sha256(run / "trained.safetensors")
    again = [*train, "--recipe", str(shelf / "small-1.run.json"), "-o", str(tmp_path / "again"), "--json"]
    assert command(again) == 0
    assert json.loads(capsys.readouterr().out)["same_bytes"] is True
    assert weights(tmp_path / "again") == weights(run)


# --- a time to keep --------------------------------------------------------------------------------------------------


def test_a_run_ends_in_its_time_with_everything_written(cases, tmp_path, options):
    began_s = time.monotonic()
    heard: list[tuple[int, int]] = []
    timed = replace(options, minutes=0.15)
    result = train_to_folder(
        cases, tmp_path / "run", options=timed, on_progress=lambda done, total: heard.append((done, total))
    )
    took_s = time.monotonic() - began_s
    assert took_s < 9.0 + 12.0, "nine seconds, and what a busy machine adds"
    made = record(tmp_path / "run")
    assert made["pace"]["kind"] == "timed"
    assert made["pace"]["marks"][-1][1] == 1.0
    assert made["minutes"] == 0.15
    assert result["steps"] == made["pace"]["round_ends"][-1] == made["history"][-1]["step"] > 3
    assert heard[-1] == (1000, 1000)
    assert load_model(tmp_path / "run").card["calibration"]["fitted_on"] == "32 validation windows"
    rates = [float(row["rate"]) for row in log(tmp_path / "run") if row["rate"]]
    assert all(0 < rate <= 3e-3 for rate in rates)


def test_a_time_that_is_over_before_it_begins_gives_one_step(cases, tmp_path, options):
    result = train_to_folder(
        cases, tmp_path / "run", options=replace(options, minutes=0.1), started_s=time.monotonic() - 60
    )
    assert result["steps"] == 1
    assert load_model(tmp_path / "run").sha256 == result["sha256"]


def test_a_timed_run_is_done_again_to_the_same_bytes(cases, tmp_path, options):
    train_to_folder(cases, tmp_path / "first", options=replace(options, minutes=0.08), seed=5)
    again, numbers = read_settings(tmp_path / "first" / "run.json", TrainOptions())
    assert numbers["seed"] == 5
    result = train_to_folder(cases, tmp_path / "again", options=again, seed=5)
    assert result["same_bytes"] is True
    assert weights(tmp_path / "again") == weights(tmp_path / "first")
    other = train_to_folder(cases, tmp_path / "other", options=again, seed=6)
    assert other["same_bytes"] is False


def test_a_stopped_timed_run_goes_on(cases, tmp_path, options):
    timed = replace(options, minutes=0.12)

    def stop(done: int, total: int) -> None:
        if done > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_to_folder(cases, tmp_path / "run", options=timed, on_progress=stop)
    began_s = time.monotonic()
    train_to_folder(cases, tmp_path / "run", options=timed, resume=True)
    assert time.monotonic() - began_s < 7.2, "the time that was used is gone: less than the whole"
    assert load_model(tmp_path / "run").name == "trained"


# --- an early end ----------------------------------------------------------------------------------------------------


def test_rounds_without_a_better_validation():
    lines = [{"auroc_val_windows": v} for v in (0.6, 0.8, 0.8, 0.7)]
    assert best_round(lines) == 1
    assert [is_stale(lines[:n], 2) for n in range(5)] == [False, False, False, False, True]
    assert not is_stale(lines, None)
    assert watched({"auroc_val_windows": None, "auroc_val_scans": 0.7}) == ("auroc_val_scans", 0.7)
    assert watched({}) is None


def test_the_best_round_ships(cases, tmp_path, options, monkeypatch):
    import pipelines.train as module

    told = iter([0.7, 0.9, 0.6, 0.5, 0.4, 0.3])
    monkeypatch.setattr(module, "metrics", lambda judged: {"auroc_val_windows": next(told)})
    patient = replace(options, patience=2, rounds=6)
    result = train_to_folder(cases, tmp_path / "run", steps=6, options=patient)
    assert result["steps"] == 4
    assert record(tmp_path / "run")["shipped_step"] == 2
    assert weights(tmp_path / "run") == (tmp_path / "run" / BEST).read_bytes()
    monkeypatch.undo()
    two = train_to_folder(cases, tmp_path / "two", steps=6, options=replace(options, rounds=6))
    assert two["sha256"] != result["sha256"]


def test_an_early_end_needs_validation(cases, tmp_path, options):
    shutil.copytree(cases / "train", tmp_path / "only" / "train")
    impatient = replace(options, patience=1)
    assert code(train_to_folder, tmp_path / "only", tmp_path / "run", steps=3, options=impatient) == "usage.option"


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_decide_the_recipe(tmp_path, options):
    path = tmp_path / "settings.json"
    values = {"recipe": {"shares": {"lidc": 0.6}, "ema": 0.9995, "weights": {"gate": 0.1}, "batch": 32}, "patience": 4}
    path.write_text(json.dumps(values), encoding="utf-8")
    chosen, numbers = read_settings(path, TrainOptions())
    recipe = make_recipe(chosen, steps=100, seed=2, device="cpu")
    assert (recipe.shares, recipe.ema, recipe.weights.gate, recipe.batch) == ({"lidc": 0.6}, 0.9995, 0.1, 32)
    assert (recipe.steps, recipe.seed, recipe.warmup, recipe.precision, chosen.patience) == (100, 2, 10, "32", 4)
    assert numbers == {}
    asked = make_recipe(replace(chosen, batch=16, precision="bf16"), steps=100, seed=2, device="cpu")
    assert (asked.batch, asked.precision) == (16, "bf16")
    on_gpu = make_recipe(TrainOptions(), steps=100, seed=0, device="cuda:0")
    assert (on_gpu.batch, on_gpu.precision) == (1024, "bf16")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"rcipe": {}}', '{"network": {"vision": {"size": 3}}}', '{"recipe": {"weights": 3}}']
)
def test_settings_that_cannot_be(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_text(content, encoding="utf-8")
    assert code(read_settings, path, TrainOptions()) == "train.recipe"


@pytest.mark.parametrize(
    "pace",
    [
        {"kind": "steps", "steps": 0, "warmup": 1, "length": 1},
        {"kind": "timed", "marks": [[0, 1.0]], "round_ends": [0]},
        {"kind": "timed", "marks": [], "round_ends": []},
        {"kind": "timed", "round_ends": [3]},
        {"kind": "steps", "steps": "many", "warmup": 1, "length": 1},
    ],
)
def test_a_pace_without_a_step_or_torn_is_refused_before_anything_is_trained(cases, tmp_path, options, pace):
    """A run of no round has nothing to ship and no last line of history."""
    run = tmp_path / "run"
    refused = code(train_to_folder, cases, run, options=replace(options, pace=pace, repeats_sha256="0"))
    assert refused == "train.recipe"
    assert not run.exists()


def test_stopped_before_the_first_round_a_run_goes_on_to_an_ordinary_end(cases, tmp_path, options):
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_to_folder(cases, tmp_path / "run", steps=3, options=options, on_progress=stop)
    result = train_to_folder(cases, tmp_path / "run", steps=3, options=options, resume=True)
    assert result["last"]["step"] == result["steps"] == 3
    again = train_to_folder(cases, tmp_path / "run", steps=3, options=options, resume=True)
    assert again["last"] == result["last"]
    assert again["sha256"] == result["sha256"]


def test_a_setting_that_no_recipe_has(tmp_path):
    options = TrainOptions(recipe={"learning_rate": 3})
    assert code(make_recipe, options, steps=3, seed=0, device="cpu") == "train.recipe"


def test_options_that_cannot_be(tmp_path, capsys):
    for wrong in ({"minutes": 0.0}, {"patience": 0}, {"rounds": 0}, {"shortest_round": 0}, {"rounds": "many"}):
        assert code(TrainOptions, **wrong) == "usage.option"
    out = ["-o", str(tmp_path / "out")]
    assert command(["train", *out]) == 2
    assert command(["train", *out, "--manifest", "a.csv", "--pack", "b.safetensors"]) == 2
    assert command(["train", *out, "--manifest", "a.csv", "--steps", "3", "--minutes", "3"]) == 2
    assert command(["train", *out, "--manifest", "a.csv", "--devices", "0"]) == 2


# --- other weights to begin with, half precision, a loss that is no number -------------------------------------------


def test_weights_to_begin_with(ended, cases, tmp_path, options):
    began = replace(options, start=ended, rate=1e-9, recipe={"ema": 0.0})
    train_to_folder(cases, tmp_path / "run", steps=2, options=began)
    made = record(tmp_path / "run")
    assert made["start"] == {"name": "trained", "sha256": file_sha256(ended / "trained.safetensors")}
    one, other = load_model(ended).net, load_model(tmp_path / "run").net
    kept = dict(other.named_parameters())
    assert all(torch.allclose(value, kept[name], atol=1e-5) for name, value in one.named_parameters())
    fresh = train_to_folder(cases, tmp_path / "fresh", steps=2, options=options)
    assert fresh["sha256"] != made["weights_sha256"]
    assert record(tmp_path / "fresh")["start"] is None
    nothing = replace(options, start=tmp_path / "none")
    with pytest.raises(ModelError):
        train_to_folder(cases, tmp_path / "x", steps=2, options=nothing)


def test_bfloat16_trains_too(cases, tmp_path, options):
    made = train_to_folder(cases, tmp_path / "run", steps=4, options=replace(options, precision="bf16"))
    exact = train_to_folder(cases, tmp_path / "exact", steps=4, options=options)
    assert made["sha256"] != exact["sha256"]
    assert made["last"]["nodule"] == pytest.approx(exact["last"]["nodule"], rel=0.05)
    assert load_model(tmp_path / "run").net.bias.dtype == torch.float32


def test_a_loss_that_is_no_number_ends_the_run(some_cases, vision, text):
    from imaging.models.network import NoduleNet

    trainer = Trainer(NoduleNet.fresh(vision, text), some_cases(16, seed=0), Recipe(40, batch=8, warmup=1))
    with torch.no_grad():
        trainer.net.bias.fill_(torch.nan)
    with pytest.raises(UsageError, match="step 20") as caught:
        trainer.run(40)
    assert caught.value.code == "train.diverged"


# --- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_has_losses_rates_speed_and_validation(cases, tmp_path, options):
    train_to_folder(cases, tmp_path / "run", steps=45, options=options)
    rows = log(tmp_path / "run")
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [15, 20, 30, 40, 45]
    history = {line["step"]: line for line in record(tmp_path / "run")["history"]}
    for row in rows:
        if int(row["step"]) in history:
            assert float(row["auroc_val_windows"]) == history[int(row["step"])]["auroc_val_windows"]
        else:
            assert float(row["windows_per_s"]) > 0
            assert float(row["nodule"]) > 0


def test_a_log_drops_what_a_stopped_run_wrote_after_its_checkpoint(tmp_path):
    first = RunLog(tmp_path, step=0)
    for step in (20, 40, 60):
        first.write(step, {"nodule": step / 100, "another": 3})
    RunLog(tmp_path, step=40).write(60, {"nodule": 0.9})
    assert [(row["step"], row["nodule"]) for row in log(tmp_path)] == [("20", "0.2"), ("40", "0.4"), ("60", "0.9")]


def test_tensorboard_hears_it_too_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from imaging.training.processes import Processes

    Processes()
    written = RunLog(tmp_path, step=0)
    written.write(20, {"nodule": 0.5})
    written.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("nodule")] == [(20, 0.5)]


# --- lineage and release ---------------------------------------------------------------------------------------------


def test_a_record_names_code_libraries_and_data(ended, cases):
    made = record(ended)
    assert set(made_by("cpu")) <= set(made)
    assert len(made["code_sha256"]) == 64
    assert made["libraries"]["torch"] == torch.__version__.partition("+")[0] or made["libraries"]["torch"]
    assert {"accelerate", "numpy"} <= set(made["libraries"])
    assert made["cases"][0]["sha256"]["images.npy"] == file_sha256(cases / "train" / "images.npy")
    assert made["weights_sha256"] == file_sha256(ended / "trained.safetensors")
    assert made["threads"] >= 1


def test_code_that_changes_changes_its_hash(monkeypatch, tmp_path):
    import pipelines.lineage as module

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(module, "PACKAGES", ("a",))
    monkeypatch.setattr(module, "resources", SimpleNamespace(files=lambda name: tmp_path / name))
    before = code_sha256()
    (tmp_path / "a" / "notes.txt").write_text("not code", encoding="utf-8")
    assert code_sha256() == before
    (tmp_path / "a" / "b.py").write_text("x = 2\n", encoding="utf-8")
    assert code_sha256() != before


def test_released_weights_load_and_name_where_they_came_from(ended, tmp_path):
    facts = {"metrics": {"auroc": 0.5}, "operating_point": {"threshold": 0.4, "false_marks_per_scan": 2.0}}
    facts["operating_point"]["measured_on"] = "a test"
    told = release(ended, tmp_path / "weights", name="small-1", licence="CC0", facts=facts)
    model = load_model(tmp_path / "weights")
    assert (model.name, model.sha256) == ("small-1", file_sha256(ended / "trained.safetensors"))
    assert model.operating_point.threshold == 0.4
    assert (model.card["licence"], model.card["metrics"]) == ("CC0", {"auroc": 0.5})
    assert model.card["input"]["window_mm"] == pytest.approx(33.6)
    (stage,) = model.card["lineage"]
    assert stage["record_sha256"] == file_sha256(tmp_path / "weights" / told["record"])
    assert stage["recipe"]["seed"] == 3
    kept = json.loads((tmp_path / "weights" / told["record"]).read_text(encoding="utf-8"))
    assert kept["weights_sha256"] == model.sha256
    assert all("path" not in source for source in kept["cases"])


def test_released_weights_are_trained_again_from_their_record(ended, cases, tmp_path):
    release(ended, tmp_path / "weights", name="small-1", licence="CC0")
    again, numbers = read_settings(tmp_path / "weights" / "small-1.run.json", TrainOptions())
    result = train_to_folder(cases, tmp_path / "again", options=again, **numbers)
    assert result["same_bytes"] is True
    assert result["sha256"] == load_model(tmp_path / "weights").sha256


def test_a_second_stage_carries_the_lineage_of_the_first(ended, cases, tmp_path, options):
    shelf = tmp_path / "weights"
    release(ended, shelf, name="small-1", licence="CC0")
    before = {path.name: path.read_bytes() for path in shelf.iterdir() if path.name != "manifest.json"}
    second = replace(options, start=shelf / "small-1.safetensors")
    train_to_folder(cases, tmp_path / "second", steps=2, options=second)
    assert release(tmp_path / "second", shelf, name="small-2", licence="CC0")["default"] == "small-1"
    assert load_model(shelf).name == "small-1"
    model = load_model(shelf / "small-2.safetensors")
    assert [stage["record"] for stage in model.card["lineage"]] == ["small-1.run.json", "small-2.run.json"]
    assert before == {name: (shelf / name).read_bytes() for name in before}
    assert release(tmp_path / "second", shelf, name="small-3", licence="CC0", default=True)["default"] == "small-3"


def test_releases_that_cannot_be(ended, tmp_path, capsys):
    shelf, unfit = tmp_path / "weights", tmp_path / "unfit"
    release(ended, shelf, name="small-1", licence="CC0")
    with pytest.raises(OutputError) as caught:
        release(ended, shelf, name="small-1", licence="CC0")
    assert caught.value.code == "output.exists"
    (shelf / "stray.safetensors").write_bytes(b"mine")
    assert code(release, ended, shelf, name="stray", licence="CC0") == "output.exists"
    for wrong in ({"name": "a/b"}, {"name": ""}, {"facts": {"sha256": "0"}}):
        assert code(release, ended, shelf, **({"name": "x", "licence": "CC0"} | wrong)) == "usage.option"
    shutil.copytree(ended, unfit)
    (unfit / "run.json").write_text(json.dumps(record(ended) | {"weights_sha256": "0"}), encoding="utf-8")
    assert code(release, unfit, shelf, name="x", licence="CC0") == "train.unfinished"
    (unfit / "run.json").unlink()
    assert code(release, unfit, shelf, name="x", licence="CC0") == "train.unfinished"
    (unfit / "trained.safetensors").write_bytes(b"changed")
    assert code(release, unfit, shelf, name="x", licence="CC0") == "weights.changed"
    assert command(["release", str(ended), "-o", str(shelf), "--name", "y", "--licence", "CC0", "--facts", "no"]) == 4
    assert [entry["name"] for entry in json.loads((shelf / "manifest.json").read_text())["models"]] == ["small-1"]


def test_the_shipped_weights_are_those_of_the_release():
    assert file_sha256(shipped_folder() / "nodulus-weak-6.safetensors") == (
        "d64137a7bdb1a3621c86f9b0d40c2b15898348732fed06c2df67b9c56c165536"
    )
    assert np.isfinite(load_model("nodulus-weak-6").calibrate(0.0))


def test_freed_memory_is_kept_where_the_allocator_can():
    """In a process of its own: freed and asked for again, the same pages come back without the kernel's help."""
    program = (
        "import resource, numpy as np\n"
        "from pipelines.memory import keep_freed_memory\n"
        "kept = keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(8_000_000)\n"
        "before = faults()\n"
        "for _ in range(5): np.ones(8_000_000)\n"
        "print(int(kept), faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept, faults = (int(word) for word in done.stdout.split())
    assert not kept or faults < 100  # thousands otherwise
