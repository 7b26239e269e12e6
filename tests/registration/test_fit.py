"""A phantom chest moved by a known affine, with other noise and other voxels: the affine comes back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from imaging.errors import InputError
from imaging.geometry import Grid, Volume
from imaging.registration import align
from imaging.simulation.thorax import simulate_thorax


@pytest.fixture(scope="module")
def thorax():
    return simulate_thorax(rng=np.random.default_rng(3), shape=(72, 112, 112), spacing_mm=(4.0, 3.1, 3.1), nodules=3)


def an_affine(volume, *, degrees, scale, shift_mm):
    """4 x 4 about the middle of the CT."""
    centre = np.array(volume.grid.centre_mm)
    linear = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(scale)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre + shift_mm - linear @ centre
    return matrix


def moved(volume, matrix, *, rows=slice(None)):
    """The CT as another scan of the moved patient would show it: other noise, other voxels."""
    noise = np.random.default_rng(4).normal(0, 20, volume.array.shape).astype(np.float32)
    grid = Grid(volume.grid.shape, matrix @ volume.grid.affine)
    other = Volume(volume.array + noise, grid).resampled((3.5, 2.8, 2.8))
    start = other.grid.to_mm([rows.indices(other.grid.shape[0])[0], 0, 0])
    affine = np.array(other.grid.affine)
    affine[:3, 3] = start
    return Volume(other.array[rows], Grid(other.array[rows].shape, affine))


def error_mm(alignment, thorax, matrix):
    points = thorax.volume.grid.to_mm(np.argwhere(thorax.lungs > 0)[::499])
    truth = points @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(alignment.back(truth), alignment.back(alignment.there(points)), atol=4.0)
    return np.linalg.norm(alignment.there(points) - truth, axis=1)


def test_a_turned_stretched_and_shifted_chest_is_found_again(thorax):
    matrix = an_affine(thorax.volume, degrees=(3, 2, -4), scale=(1.03, 0.97, 0.93), shift_mm=(12, -8, 140))
    seen = []
    alignment = align(thorax.volume, moved(thorax.volume, matrix), on_progress=lambda done, of: seen.append((done, of)))
    error = error_mm(alignment, thorax, matrix)
    assert error.mean() < 1.0
    assert error.max() < 2.0
    assert alignment.overlap > 0.95
    assert alignment.notices == ()
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_stack_that_shows_part_of_the_chest_is_laid_where_it_belongs_each_time_alike(thorax):
    matrix = an_affine(thorax.volume, degrees=(0, 0, 2), scale=(1, 1, 1), shift_mm=(-10, 5, 30))
    upper_part = moved(thorax.volume, matrix, rows=slice(26, None))
    alignment = align(thorax.volume, upper_part)
    points = thorax.volume.grid.to_mm(np.argwhere(thorax.lungs > 0)[::499])
    truth = points @ matrix[:3, :3].T + matrix[:3, 3]
    seen = upper_part.grid.contains(truth)
    assert np.linalg.norm(alignment.there(points) - truth, axis=1)[seen].max() < 3.0
    np.testing.assert_allclose(align(thorax.volume, upper_part).matrix, alignment.matrix, atol=1e-7)


def test_lungs_that_do_not_fit_are_doubted(thorax, monkeypatch):
    """A fit that went nowhere: the lungs lie beside one another, and it says so."""
    monkeypatch.setattr("imaging.registration.fit._fit", lambda here, other, on_step: np.diag([1.0, 1.0, 0.6, 1.0]))
    assert [n.code for n in align(thorax.volume, thorax.volume).notices] == ["compare.poor_match"]


def test_a_phantom_without_lungs_is_refused(thorax):
    grid = thorax.volume.grid
    with pytest.raises(InputError, match=r"lungs\.none"):
        align(thorax.volume, Volume(np.full(grid.shape, 40.0, np.float32), grid))


def test_cancelling_stops_the_fit(thorax):
    class Cancelled(Exception):
        pass

    def cancel(done, of):
        if done > 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        align(thorax.volume, thorax.volume, on_progress=cancel)
