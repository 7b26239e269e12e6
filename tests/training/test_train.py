"""``nodulus train`` whole: a table in, a run folder out, the same bytes however it was run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imaging.errors import ImagingError, InputError, OutputError, UsageError
from imaging.geometry import Volume
from imaging.io.nifti_write import write_nifti
from imaging.models.weights import load_model
from imaging.simulation.thorax import simulate_thorax
from imaging.training.bags import Bag, joined_cases
from imaging.training.engine import Trainer
from imaging.training.judging import suspicion
from imaging.training.processes import Processes
from pipelines.train import train_to_folder
from pipelines.training_data import TrainingData
from pipelines.training_record import CHECKPOINT
from pipelines.training_rounds import metrics, one_round, validate
from pipelines.training_settings import TrainOptions, make_recipe
from pipelines.training_start import chosen_pace, net_to_train


@pytest.fixture(scope="module")
def options(vision, text) -> TrainOptions:
    return TrainOptions(vision, text, batch=8, rate=3e-3, rounds=3, shortest_round=1)


@pytest.fixture
def run(tmp_path, options):
    """Train on a table; the text of the table, the name of the run folder."""

    def train(table: str, name: str = "run", **settings):
        (tmp_path / "cases.csv").write_text(table, encoding="utf-8")
        settings = {"steps": 6, "options": options} | settings
        return train_to_folder(tmp_path / "cases.csv", tmp_path / name, **settings)

    return train


def weights(folder: Path) -> bytes:
    return (folder / "trained.safetensors").read_bytes()


def test_a_prepared_folder_becomes_weights_that_load(run, prepared, tmp_path):
    heard: list[tuple[int, int]] = []
    result = run("path\nprepared\n", steps=40, on_progress=lambda done, total: heard.append((done, total)))
    model = load_model(tmp_path / "run")
    assert model.sha256 == result["sha256"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "run").glob("*.*") if path.name != CHECKPOINT}
    assert len(modes) == 1, "weights can be read by whoever can read their manifest"
    assert model.operating_point.threshold == 0.5
    assert model.operating_point.measured_on == "not measured"
    assert model.card["calibration"]["fitted_on"] == "32 validation windows"
    assert model.card["calibration"]["slope"] > 0
    assert heard[-1] == (40, 40)
    assert [d for d, _ in heard] == sorted(d for d, _ in heard)
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert [line["step"] for line in record["history"]] == [14, 28, 40]
    assert {"nodule", "attributes", "auroc_val_windows"} <= set(record["history"][-1])
    assert record["recipe"]["steps"] == 40
    assert "torch" in record["libraries"]
    assert record["software"].startswith("nodulus")
    assert [c["split"] for c in record["cases"]] == ["train", "val"]
    assert set(record["cases"][0]["sha256"]) == {"images.npy", "labels.npy", "collections.npy", "cases.json"}


def test_without_validation_the_scores_are_said_not_to_be_calibrated(run, prepared):
    shutil.rmtree(prepared / "val")
    result = run("path\nprepared/train\n")
    assert result["calibration"] == {"slope": 1.0, "offset": 0.0, "fitted_on": "nothing: scores are not calibrated"}


def test_a_stopped_run_goes_on_to_the_same_bytes(run, prepared, tmp_path):
    run("path\nprepared\n", "whole")

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("path\nprepared\n", "broken", on_progress=stop)
    assert not (tmp_path / "broken" / "manifest.json").exists()
    run("path\nprepared\n", "broken", resume=True)
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    assert (tmp_path / "broken" / "manifest.json").read_bytes() == (tmp_path / "whole" / "manifest.json").read_bytes()
    one, other = (load_file(tmp_path / name / CHECKPOINT) for name in ("broken", "whole"))
    assert all(torch.equal(one[key], other[key]) for key in one.keys() | other.keys())
    run("path\nprepared\n", "broken", resume=True)  # nothing left to do
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_seeds(run, prepared, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("path\nprepared\n", name, seed=seed, steps=3)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_the_truth_altered_or_deleted_changes_no_byte(run, prepared, tmp_path):
    """Truth beside the cases, under any name that a collection uses for it, is never looked at."""
    names = ["truth.csv", "annotations.csv", "outlines.npz", "nodules.csv", "train/truth.csv", "lineage.json"]
    for name in names:
        (prepared / name).write_text("seriesuid,coordX,coordY,coordZ\n1,2,3,4\n", encoding="utf-8")
    run("path\nprepared\n", "before")
    for name in names[:3]:
        (prepared / name).write_text("altered", encoding="utf-8")
    for name in names[3:]:
        (prepared / name).unlink()
    run("path\nprepared\n", "after")
    assert weights(tmp_path / "before") == weights(tmp_path / "after")
    assert (tmp_path / "before" / "manifest.json").read_bytes() == (tmp_path / "after" / "manifest.json").read_bytes()


# --- whole scans -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A chest as it is, and the same with a ball of 30 mm in its right lung."""
    folder = tmp_path_factory.mktemp("scans")
    thorax = simulate_thorax(rng=np.random.default_rng(0), shape=(48, 96, 96), spacing_mm=(6.0, 3.6, 3.6), nodules=0)
    grid = thorax.volume.grid
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    centre = grid.to_mm(np.argwhere(thorax.lungs == 1)).mean(axis=0)
    ball = np.linalg.norm(grid.to_mm(index) - centre, axis=-1) < 15
    for name, hu in (("clear", thorax.volume.array), ("ball", np.where(ball, 40.0, thorax.volume.array))):
        write_nifti(hu.astype(np.float32), grid, folder / f"{name}.nii.gz")
    return folder


def test_whole_scans_with_a_label_or_a_report(run, scans, tmp_path, options):
    table = (
        "path,label,text,split\n"
        f"{scans / 'clear.nii.gz'},0,,\n"
        f'{scans / "ball.nii.gz"},,"A 30 mm solid nodule in the right lung.",\n'
    )
    first = run(table, "first")
    record = json.loads((tmp_path / "first" / "run.json").read_text(encoding="utf-8"))
    assert [c["kind"] for c in record["cases"]] == ["scan", "scan"]
    assert [c["labels"][0] for c in record["cases"]] == [0.0, 1.0]
    assert min(c["windows"] for c in record["cases"]) > 100
    cached = sorted((tmp_path / "first" / "cache").glob("*/windows.npy"))
    assert [np.load(path, mmap_mode="r").dtype for path in cached] == [np.uint8, np.uint8]

    def stop(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    shutil.copytree(tmp_path / "first" / "cache", tmp_path / "second" / "cache")  # a cache alone is no run
    stamps = [path.stat().st_mtime_ns for path in sorted((tmp_path / "second" / "cache").glob("*/windows.npy"))]
    with pytest.raises(KeyboardInterrupt):
        run(table, "second", on_progress=stop)
    assert run(table, "second", resume=True)["sha256"] == first["sha256"]
    again = [path.stat().st_mtime_ns for path in sorted((tmp_path / "second" / "cache").glob("*/windows.npy"))]
    assert again == stamps, "cut once"

    both = f"path,label,text,split\n{scans / 'clear.nii.gz'},,Possible nodule.,\n"
    with pytest.raises(InputError) as caught:
        run(both, "third")
    assert caught.value.code == "manifest.one_sided"


def made_bag(some_cases, seed: int, label: float) -> tuple[Bag, np.ndarray]:
    """Forty windows of noise; in a bag with a nodule four of them, at any place, hold a bright square."""
    cases = some_cases(80, seed=seed)
    bright = cases.labels[:, 0] > 0.5
    windows = cases.images[~bright].copy()
    place = np.random.default_rng(seed).choice(40, 4, replace=False) if label else np.array([], int)
    windows[place] = cases.images[bright][: len(place)]
    labels = np.full(cases.labels.shape[1], np.nan, np.float32)
    labels[0] = label
    return Bag(windows, labels), place


def test_from_labels_of_bags_alone_the_right_windows_are_found(some_cases, options):
    """The net is told which bags hold a square, never which windows; in new bags it puts those first."""
    bags = [made_bag(some_cases, seed, float(seed % 2))[0] for seed in range(12)]
    new = [made_bag(some_cases, seed, 1.0) for seed in range(100, 104)]
    clear = made_bag(some_cases, 200, 0.0)[0]
    data = TrainingData((), tuple(bags), (), (*(bag for bag, _ in new), clear), (), ())
    chosen = replace(options, batch=32, rate=5e-3, rounds=6)
    recipe, processes = make_recipe(chosen, steps=120, seed=0, device="cpu"), Processes()
    pace = chosen_pace(chosen, recipe, processes, 0.0)
    trainer = Trainer(net_to_train(chosen, 0)[0], joined_cases((), bags), recipe, processes=processes, pace=pace)
    for number in range(6):
        one_round(trainer, data, number)
    for bag, place in new:
        order = np.argsort(-suspicion(trainer.mean, bag.windows))
        assert set(order[:3].tolist()) <= set(place.tolist())
    assert metrics(validate(trainer.mean, data, processes))["auroc_val_scans"] == 1.0


def test_scans_to_validate_on(run, scans, prepared, tmp_path):
    shutil.rmtree(prepared / "val")
    table = f"path,label,split\nprepared,,\n{scans / 'clear.nii.gz'},0,val\n{scans / 'ball.nii.gz'},1,val\n"
    result = run(table, steps=3)
    assert "auroc_val_scans" in result["last"]
    assert result["calibration"]["fitted_on"] in ("2 validation scans", "nothing: scores are not calibrated")


def test_a_scan_whose_values_are_not_hu_is_refused(run, scans, tmp_path):
    from imaging import read_volume

    volume: Volume = read_volume(scans / "clear.nii.gz")
    grey = ((np.clip(volume.array, -1000, 400) + 1000) / 1400 * 255).astype(np.uint8)
    write_nifti(grey, volume.grid, tmp_path / "grey.nii.gz")
    with pytest.raises(InputError) as caught:
        run(f"path,label\n{tmp_path / 'grey.nii.gz'},1\n")
    assert caught.value.code == "input.not_hu"


# --- refusals --------------------------------------------------------------------------------------------------------


def code(run, *arguments, **settings) -> str:
    with pytest.raises(ImagingError) as caught:
        run(*arguments, **settings)
    return caught.value.code


def test_a_run_that_was_begun_otherwise_is_not_gone_on_with(run, prepared, some_cases, tmp_path):
    run("path\nprepared\n")
    before = weights(tmp_path / "run")
    assert code(run, "path\nprepared\n", resume=True, steps=7) == "train.changed"
    assert code(run, "path\nprepared\n", resume=True, seed=1) == "train.changed"
    labels = np.load(prepared / "train" / "labels.npy")
    labels[0, 0] = 1.0 - labels[0, 0]
    np.save(prepared / "train" / "labels.npy", labels)
    with pytest.raises(InputError, match="cases") as caught:
        run("path\nprepared\n", resume=True)
    assert caught.value.code == "train.changed"
    assert weights(tmp_path / "run") == before


def test_what_differs_from_the_run_that_was_begun_is_named(run, prepared, options):
    run("path\nprepared\n")
    with pytest.raises(InputError) as caught:
        run("path\nprepared\n", resume=True, steps=7, seed=1, options=replace(options, patience=2, rate=1e-3))
    said = caught.value.message.partition(": ")[2].split("; ")
    assert said == [
        "--patience was not given, is 2",
        "rate was 0.003, is 0.001",
        "--seed was 0, is 1",
        "--steps was 6, is 7",
    ]


def test_nothing_to_go_on_from(run, prepared, tmp_path):
    assert code(run, "path\nprepared\n", resume=True) == "train.no_checkpoint"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError) as caught:
        run("path\nprepared\n", resume=True)
    assert caught.value.code == "train.no_checkpoint"


def test_another_folder_is_not_written_over(run, prepared, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError) as caught:
        run("path\nprepared\n")
    assert caught.value.code == "output.exists"


def test_a_file_in_the_place_of_the_run_folder_is_not_said_to_be_removed(run, prepared, tmp_path):
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="a file has this name") as caught:
        run("path\nprepared\n")
    assert (caught.value.code, "remove" in caught.value.remedy) == ("output.exists", False)
    assert (tmp_path / "run").read_text(encoding="utf-8") == "mine"


def test_other_refusals(run, prepared, some_cases, tmp_path):
    assert code(run, "path\nprepared\n", steps=0) == "usage.option"
    assert code(run, "path,label\nprepared,1\n") == "manifest.label"
    assert code(run, "path\n") == "manifest.one_sided"
    wide = some_cases(4, seed=0)
    type(wide)(np.zeros((4, 5, 48, 48), np.uint8), wide.labels, wide.concepts, wide.collection, wide.collections).save(
        tmp_path / "wide"
    )
    assert code(run, "path\nwide\n") == "cases.layout"
    assert not (tmp_path / "run").exists()
