"""The phantom thorax: its truth measured in its own image, its anatomy, its seeds."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.simulation.lesions import NoduleWish
from imaging.simulation.scanner import Scanner
from imaging.simulation.thorax import make_thorax, simulate_thorax

QUIET = Scanner(blur_mm=0.5, noise_hu=0.0)
WISHES = [
    NoduleWish(24, "solid", "round", "isolated"),
    NoduleWish(18, "solid", "lobulated", "pleura"),
    NoduleWish(14, "solid", "round", "vessel"),
    NoduleWish(20, "ground-glass", "round", "isolated"),
]


@pytest.fixture(scope="module")
def thorax():
    return simulate_thorax(
        rng=np.random.default_rng(11),
        shape=(96, 116, 116),
        spacing_mm=(3.0, 3.0, 3.0),
        nodules=WISHES,
        scanner=QUIET,
        blood_hu=45.0,
    )


def around(thorax, nodule, radius_mm):
    """HU and LPS offsets of the voxels within a ball around a nodule's centre."""
    grid = thorax.volume.grid
    places = grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)) - np.asarray(nodule.centre_mm)
    near = np.linalg.norm(places, axis=-1) <= radius_mm
    return thorax.volume.array[near], places[near]


def test_a_free_nodule_lies_where_the_truth_says_and_is_as_large(thorax):
    nodule = thorax.nodules[0]
    hu, offsets = around(thorax, nodule, nodule.diameter_mm / 2 + 5)
    share = np.clip((hu + 868) / (35 + 868), 0, 1)
    share[share < 0.25] = 0
    np.testing.assert_allclose((offsets * share[:, None]).sum(axis=0) / share.sum(), 0, atol=0.7)
    volume = share.sum() * thorax.volume.grid.voxel_volume_mm3
    assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(nodule.diameter_mm, rel=0.08)


def test_kinds_have_their_attenuation(thorax):
    for nodule in thorax.nodules:
        centre = np.median(around(thorax, nodule, nodule.diameter_mm / 4)[0])
        low, high = (-680, -480) if nodule.kind == "ground-glass" else (0, 70)
        assert low < centre < high, nodule


def test_nodules_are_attached_as_wished(thorax):
    grid = thorax.volume.grid
    for nodule in thorax.nodules:
        index = tuple(np.rint(grid.to_index(nodule.centre_mm)).astype(int))
        assert thorax.lungs[index] == (1 if nodule.side == "right" else 2)
        hu, offsets = around(thorax, nodule, nodule.diameter_mm / 2 + 6)
        shell = np.linalg.norm(offsets, axis=1) > nodule.diameter_mm / 2 + 3
        if nodule.attachment == "pleura":
            assert (hu[shell] > -100).mean() > 0.08
        elif nodule.attachment == "isolated":
            assert (hu[shell] > -300).mean() < 0.05


def test_it_has_the_anatomy_of_a_chest(thorax):
    array, grid, lungs = thorax.volume.array, thorax.volume.grid, thorax.lungs
    right, left = (grid.to_mm(np.argwhere(lungs == side)).mean(axis=0) for side in (1, 2))
    assert right[0] < left[0]
    millilitres = [(lungs == side).sum() * grid.voxel_volume_mm3 / 1000 for side in (1, 2)]
    assert all(1500 < m < 3500 for m in millilitres)
    assert -890 < np.median(array[lungs > 0]) < -820
    vessels = (array[lungs > 0] > -500).mean()
    assert 0.01 < vessels < 0.12
    assert array[0, 0, 0] == pytest.approx(-1000, abs=5)
    assert array.max() > 500
    dark = (array < -950) & (lungs == 0)
    middle = np.abs(grid.to_mm(np.argwhere(dark))[:, 0] - grid.centre_mm[0]) < 20
    assert middle.any()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_patient():
    def run(seed):
        return make_thorax(rng=np.random.default_rng(seed), shape=(12, 48, 48), spacing_mm=(24, 7.2, 7.2), nodules=1)

    (one, planted), (two, planted_too), (other, _) = run(1), run(1), run(2)
    assert np.array_equal(one.array, two.array)
    assert planted == planted_too
    assert not np.array_equal(one.array, other.array)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((24, 64, 64), (2.5, 2.0, 2.0)), ((20, 48, 64), (14.0, 6.0, 5.5)), ((40, 40, 40), (7.0, 9.0, 9.0))],
)
def test_any_shape_holds_a_whole_chest(shape, spacing):
    thorax = simulate_thorax(rng=np.random.default_rng(3), shape=shape, spacing_mm=spacing, nodules=0)
    assert thorax.volume.array.shape == shape
    assert thorax.volume.grid.spacing_mm == pytest.approx(spacing)
    ends = thorax.lungs[[0, -1]].sum() + thorax.lungs[:, [0, -1]].sum() + thorax.lungs[:, :, [0, -1]].sum()
    assert ends == 0
    assert {1, 2} <= set(np.unique(thorax.lungs))


def test_the_grid_lies_where_it_was_asked_for():
    volume, _ = make_thorax(
        rng=np.random.default_rng(3), shape=(8, 32, 32), spacing_mm=(36, 11, 11), nodules=0, centre_mm=(1.0, 2.0, 3.0)
    )
    assert volume.grid.centre_mm == pytest.approx((1.0, 2.0, 3.0))


def test_too_many_nodules_are_refused():
    with pytest.raises(ValueError, match="no room"):
        make_thorax(
            rng=np.random.default_rng(3), shape=(12, 32, 32), spacing_mm=(24, 11, 11), nodules=[NoduleWish(40)] * 30
        )


def test_progress_counts_slices():
    calls: list[tuple[int, int]] = []
    make_thorax(
        rng=np.random.default_rng(3),
        shape=(5, 24, 24),
        spacing_mm=(57, 15, 15),
        nodules=0,
        on_progress=lambda *c: calls.append(c),
    )
    assert calls == [(n, 5) for n in range(1, 6)]
