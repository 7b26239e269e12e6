"""From collections on disk to cases: windows against a slow twin, labels against the pixels they speak of."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jpeg_ls
import numpy as np
import pandas as pd
import pytest
import torch
from made_crops import LUNG_HU, NODULE_HU, write_crops
from PIL import Image
from scipy import ndimage

from imaging.models.intensity import HU_HIGH, HU_LOW, to_bytes
from imaging.models.prompts import attribute_names
from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet
from pipelines.preparation import synthesis
from pipelines.preparation.candidates import candidate_windows
from pipelines.preparation.collection import Amounts, prepare_collection
from pipelines.preparation.cutting import Poses, Stacks, cut_windows, random_poses
from pipelines.preparation.lidc_crops import concept_columns, read_crops
from pipelines.preparation.scans import read_packed_scans
from pipelines.preparation.windows import free_windows, holding_windows, listed_windows, stack_windows

CONFIG = VisionConfig()


# --- cutting ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stacks() -> Stacks:
    rng = np.random.default_rng(0)
    hu = rng.normal(-500, 300, (9, 60, 70)).astype(np.float16)
    z = np.array([0.0, 2.0, 4.5, 6.5, 9.0, -3.0, 0.0, 1.0, 2.0])
    return Stacks(torch.from_numpy(hu), np.array([0] * 5 + [1] * 4), z, np.array([0.6] * 5 + [0.8] * 4))


def slow_window(
    pose: Poses, stacks: Stacks, *, slices: int, step_mm: float, pixels: int, pixel_mm: float
) -> np.ndarray:
    """One window, voxel by voxel."""
    row, scale, angle = int(pose.row[0]), float(pose.scale[0]), float(pose.angle[0])
    mine = np.flatnonzero(stacks.stack == stacks.stack[row])
    z, hu = stacks.z_mm[mine], stacks.hu.numpy()[mine].astype(float)
    window = np.full((slices, pixels, pixels), np.nan)
    for k in range(slices):
        at = stacks.z_mm[row] + (k - slices // 2) * step_mm * int(pose.flip[0]) * scale
        if not z[0] - 1e-6 <= at <= z[-1] + 1e-6:
            continue
        place = np.interp(at, z, np.arange(len(z)))
        low = min(int(place), len(z) - 2) if len(z) > 1 else 0
        plane = hu[low] * (1 - (place - low)) + hu[low + 1] * (place - low)
        for r in range(pixels):
            for c in range(pixels):
                down, across = ((v - (pixels - 1) / 2) * pixel_mm * scale / stacks.pixel_mm[row] for v in (r, c))
                y = pose.centre[0, 0] + np.cos(angle) * down - np.sin(angle) * across
                x = pose.centre[0, 1] + np.sin(angle) * down + np.cos(angle) * across
                window[k, r, c] = ndimage.map_coordinates(plane, [[y], [x]], order=1, mode="nearest")[0]
    return window


def test_windows_are_those_of_a_slow_twin(stacks):
    rng = np.random.default_rng(1)
    row = np.array([0, 2, 4, 5, 7, 8, 3])
    centre = rng.uniform(15, 45, (7, 2))
    centre[-1] = (2.0, 66.0)  # reaches beyond the slice
    poses = random_poses(row, centre, rng, scale=(0.87, 1.15))
    fast = cut_windows(poses, stacks, slices=3, slice_step_mm=2.0, window_pixels=10, window_mm=9.0).numpy()
    for i in range(len(poses)):
        slow = slow_window(poses.part(slice(i, i + 1)), stacks, slices=3, step_mm=2.0, pixels=10, pixel_mm=0.9)
        assert np.array_equal(np.isnan(fast[i]), np.isnan(slow))
        assert np.nanmax(np.abs(fast[i] - slow)) < 0.5
    assert np.isnan(fast).any()


def test_slices_out_of_order_are_refused(stacks):
    with pytest.raises(ValueError, match="sorted"):
        Stacks(stacks.hu, stacks.stack[::-1].copy(), stacks.z_mm, stacks.pixel_mm)


# --- crops: what is bright is what a reader outlined, so pixels and labels must agree ---------------------------------


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"))


def brightest(cases: CaseSet) -> np.ndarray:
    """Highest HU of the middle slice of each window."""
    return cases.images[:, CONFIG.slices // 2].max(axis=(1, 2)) * ((HU_HIGH - HU_LOW) / 254) + HU_LOW


def test_windows_with_a_nodule_show_one(crops):
    cases = holding_windows(read_crops(crops, split="train"), CONFIG, np.random.default_rng(0), a_nodule=30)
    assert len(cases) > 40
    assert brightest(cases).min() > NODULE_HU - 60
    assert set(cases.labels[:, 0].round(2).astype(str)) == {"0.35", "0.8", "1.0"}, (
        "by the number of readers: 1, 2 and 4"
    )
    solid = cases.labels[:, concept_columns().index("solid")]
    assert (solid == 1.0).all()
    large = cases.labels[np.round(cases.labels[:, 0], 2) == 0.8][:, concept_columns().index("large")]
    assert (large == 1.0).all()


def test_windows_free_of_nodules_show_none_of_any_reader(crops):
    cases = free_windows(read_crops(crops, split="train"), CONFIG, np.random.default_rng(0), number=400)
    assert len(cases) > 40
    assert brightest(cases).max() < LUNG_HU + 60
    assert (cases.labels[:, 0] == 0.0).all()
    assert np.isnan(cases.labels[:, 1:]).all()


def test_the_frozen_list_is_cut_where_it_says(crops):
    val = read_crops(crops, split="val")
    cases = listed_windows(val, pd.read_csv(crops / "windows_val.csv"), CONFIG)
    assert cases.labels[:, 0].tolist() == [1.0, 0.0]
    with_nodule, without = brightest(cases)
    assert with_nodule > NODULE_HU - 20
    assert without < LUNG_HU + 60
    bright = np.argwhere(cases.images[0, 2] > 150)
    assert np.abs(bright.mean(axis=0) - 23.5).max() < 0.6


def test_a_split_holds_only_its_own_patients(crops):
    assert set(read_crops(crops, split="train").index.patient) == {"P1", "P2"}
    assert set(read_crops(crops, split="val").index.patient) == {"P3"}


def test_the_whole_collection_twice_gives_the_same_bytes_and_no_place(crops, tmp_path):
    amounts = Amounts(a_nodule=4, free=60, a_scan=10)
    parts: list[tuple[str, int]] = []
    first, again, other = (
        prepare_collection(
            crops, None, None, tmp_path / name, amounts=amounts, seed=seed, on_part=lambda n, k: parts.append((n, k))
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first["train"] == again["train"]
    assert first["val"] == again["val"] == other["val"]
    assert first["train"]["images.npy"] != other["train"]["images.npy"]
    assert [name for name, _ in parts[:3]] == ["with a nodule", "free of nodules", "simulated in crops"]
    assert first["cases"] == sum(k for _, k in parts[:3])
    written = sorted(p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*") if p.is_file())
    names = ("cases.json", "collections.npy", "images.npy", "labels.npy")
    assert written == ["lineage.json", *(f"train/{n}" for n in names), *(f"val/{n}" for n in names)]
    assert json.loads((tmp_path / "a" / "lineage.json").read_text(encoding="utf-8"))["seed"] == 1


# --- drawn lesions ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flat() -> CaseSet:
    """Windows of even lung; every sixth lacks the slice above its middle, every third the outermost."""
    hu = torch.full((180, CONFIG.slices, CONFIG.window_pixels, CONFIG.window_pixels), -880.0)
    hu[::6, CONFIG.slices // 2 + 1] = torch.nan
    hu[::3, 0] = torch.nan
    labels = np.zeros((180, len(concept_columns())), np.float32)
    return CaseSet(to_bytes(hu).numpy(), labels, concept_columns(), np.zeros(180, np.uint8), ("flat",))


def test_a_label_says_what_was_drawn(flat, monkeypatch):
    """Without vessels, a window labelled free is the lung it was, and one labelled with a lesion shows it."""
    monkeypatch.setattr(synthesis, "draw_vessel", lambda hu, lattice, rng: hu)
    cases = synthesis.synthesize(flat, CONFIG, np.random.default_rng(0))
    lung = int(flat.images[1, 2, 0, 0])
    there = cases.images.max(axis=(2, 3)) > 0
    positive = cases.labels[:, 0] > 0.5
    assert set(cases.labels[:, 0].round(2).astype(str)) == {"0.0", "0.97"}
    assert positive.any()
    assert not positive.all()
    changed = (cases.images != lung) & there[:, :, None, None]
    assert not changed[~positive].any()
    assert changed[positive, CONFIG.slices // 2].any(axis=(1, 2)).all()
    assert np.isnan(cases.labels[~positive, 1:]).all()
    assert there[:, 1:4].all(), "a window without its three middle slices is left out"
    assert not there[:, 0].all(), "missing slices stay missing"


def test_attributes_follow_the_drawing(flat, monkeypatch):
    monkeypatch.setattr(synthesis, "draw_vessel", lambda hu, lattice, rng: hu)
    cases = synthesis.synthesize(flat, CONFIG, np.random.default_rng(1))
    column = {name: cases.labels[:, 1 + i] for i, name in enumerate(attribute_names())}
    peak, area = brightest(cases), (cases.images[:, 2] != flat.images[1, 2, 0, 0]).sum(axis=(1, 2))
    assert np.median(peak[column["calcified"] == 1]) > np.median(peak[column["ground-glass"] == 1]) + 300
    assert np.median(area[column["large"] == 1]) > 2 * np.median(area[column["small"] == 1])
    assert not ((column["ground-glass"] == 1) & (column["solid"] == 1)).any()


def test_drawing_is_deterministic(flat):
    one, same, other = (synthesis.synthesize(flat, CONFIG, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.labels, same.labels, equal_nan=True)
    assert not np.array_equal(one.images[:50], other.images[:50])


# --- other sources ---------------------------------------------------------------------------------------------------


def test_candidates_are_single_slices_with_a_careful_label(tmp_path):
    rng, stored, lines = np.random.default_rng(0), b"", []
    for label, split, size in [(0, "train", 60), (1, "train", 64), (1, "val", 60), (0, "train", 30)]:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (size, size), dtype=np.uint8)).save(buffer, "JPEG", quality=95)
        lines.append({"split": split, "label": label, "offset": len(stored), "length": len(buffer.getvalue())})
        stored += buffer.getvalue()
    pd.DataFrame(lines).to_csv(tmp_path / "candidates.csv", index=False)
    (tmp_path / "candidates.jpgs").write_bytes(stored)
    cases = candidate_windows(tmp_path, CONFIG, np.random.default_rng(0), split="train")
    assert cases.labels[:, 0].tolist() == pytest.approx([0.03, 0.03, 0.97, 0.97])
    there = cases.images.max(axis=(2, 3)) > 0
    assert (there == [False, False, True, False, False]).all()


def test_whole_scans_keep_out_of_places_not_allowed(tmp_path):
    grey = np.full((6, 128, 128), 30, np.uint8)
    grey[:, 40:60, 40:60] = 220
    coded = [bytes(jpeg_ls.encode(plane)) for plane in grey]
    (tmp_path / "0.jls").write_bytes(b"".join(coded))
    np.savez(tmp_path / "0_allowed.npz", allowed=np.packbits(grey == 30, axis=-1))
    entry = {"name": "one", "lengths": [len(c) for c in coded], "shape": [6, 128, 128]}
    entry |= {"z": [2.0 * k for k in range(6)], "pixel_mm": 0.7}
    (tmp_path / "scans.json").write_text(json.dumps([entry]), encoding="utf-8")
    ((name, stacks, allowed),) = read_packed_scans(tmp_path)
    assert name == "one"
    assert torch.equal(allowed, torch.from_numpy(grey == 30))
    assert float(stacks.hu[0, 0, 0]) == pytest.approx(HU_LOW + 29 * (HU_HIGH - HU_LOW) / 254, abs=0.5)
    cases = stack_windows(stacks, allowed, CONFIG, np.random.default_rng(0), number=200, name="scans")
    assert len(cases) > 20
    assert brightest(cases).max() < -800
    assert (cases.labels[:, 0] == 0.0).all()
