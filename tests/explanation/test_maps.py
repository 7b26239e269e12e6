"""Maps on the CT's own grid: in the right place, in range, inside the lungs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imaging.errors import UsageError
from imaging.explanation.gradcam import describe_grad_cam, grad_cam_map
from imaging.explanation.similarity import similarity_map
from imaging.explanation.windows import lung_stacks, paint, stack_around
from imaging.findings import Finding
from imaging.geometry import Grid, Volume
from imaging.models.cams import FINE, MEASURED, CamSettings
from imaging.preprocessing.lungs import Lungs

CENTRE = (4.2, -7.7, 33.1)


def scan(*, spacing=(2.5, 0.8, 0.8), shear=0.0, flip=False, turn=0.0):
    """A ball of 9 mm in lung; lung everywhere but in the outer 6 mm."""
    shape = tuple(int(64 / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.array(spacing)
    affine[1, 0] = shear
    if flip:
        affine[:3, 0] *= -1
    c, s = np.cos(turn), np.sin(turn)
    affine[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ affine[:3, :3]
    affine[:3, 3] = np.array([0, 0, 30]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    points = grid.to_mm(np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1))
    hu = np.random.default_rng(0).normal(-860, 30, shape)
    hu[((points - CENTRE) ** 2).sum(axis=-1) < 4.5**2] = 30
    labels = np.where(np.abs(points - (0, 0, 30)).max(axis=-1) < 26, 1, 0).astype(np.uint8)
    return Volume(hu.astype(np.float32), grid), Lungs(labels, grid, 100.0)


def finding(**values):
    return Finding(number=1, tracking_uid="2.25.1", centre_mm=CENTRE, score=0.9, logit=2.0, **values)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"flip": True},
        {"shear": 0.8},
        {"turn": 0.35},
        {"spacing": (1.0, 0.7, 0.7)},
        {"spacing": (5.0, 0.9, 0.9)},
    ],
)
def test_grad_cam_peaks_in_the_ball(model, kind):
    volume, lungs = scan(**kind)
    told = []
    heat = grad_cam_map(
        model,
        volume,
        lungs,
        [finding(diameter_mm=9.0)],
        settings=CamSettings(method="hires-cam"),
        on_progress=lambda *step: told.append(step),
    )
    assert heat.dtype == np.float32
    assert heat.shape == volume.grid.shape
    assert 0.5 < heat.max() <= 1.0
    assert heat.min() == 0.0
    peak = volume.grid.to_mm(np.unravel_index(int(heat.argmax()), heat.shape))
    assert np.linalg.norm(peak - CENTRE) < 4.5
    hot = np.argwhere(heat > 0.5 * heat.max())
    weights = heat[tuple(hot.T)]
    middle = (volume.grid.to_mm(hot) * weights[:, None]).sum(axis=0) / weights.sum()
    assert np.linalg.norm(middle - CENTRE) < 2.0
    assert told[-1][0] == told[-1][1]


def test_no_finding_gives_an_empty_map(model):
    volume, lungs = scan()
    assert not grad_cam_map(model, volume, lungs, []).any()


def test_whole_lungs_show_the_ball_too(model):
    volume, lungs = scan()
    settings = CamSettings(method="hires-cam")
    heat = grad_cam_map(model, volume, lungs, [], settings=settings, extent="lungs")
    peak = volume.grid.to_mm(np.unravel_index(int(heat.argmax()), heat.shape))
    assert np.linalg.norm(peak - CENTRE) < 4.5
    covered = np.concatenate([stack.lattice.to_mm(stack.corners) for stack in lung_stacks(model, volume, lungs)])
    assert np.ptp(covered[:, 2]) > 48
    text = describe_grad_cam(model, settings=settings, extent="lungs")
    assert text.startswith("HiResCAM of transformer block 2 of 2")
    assert "all over the lungs" in text
    said = describe_grad_cam(model, findings=2)
    assert "around the findings only; 0 elsewhere, which says nothing of what lies there" in said
    assert "higher is more suspicious" in said
    assert "there is no finding, so the map is empty" in describe_grad_cam(model, findings=0)


def test_the_card_chooses_the_block(model):
    model.card = {"explanation": {"layer": 0, "method": "hires-cam"}}
    assert CamSettings.of_model(model) == CamSettings(0, "hires-cam")
    model.card = {}
    assert CamSettings.of_model(model) == MEASURED


@pytest.mark.parametrize("kind", [{}, {"flip": True}, {"shear": 0.8}])
def test_maps_are_painted_where_their_parts_are(model, kind):
    volume, lungs = scan(**kind, spacing=(1.0, 0.7, 0.7))
    stack = stack_around(model, volume, finding(diameter_mm=24.0))
    assert len(stack.centres_mm) % 4 == 0
    maps = np.zeros((len(stack.centres_mm), *stack.parts), dtype=np.float32)
    which, part_mm = len(maps) // 2, 2.8 / FINE
    row, column = 2 * FINE, 4 * FINE
    maps[which, row : row + FINE, column : column + FINE] = 1.0
    result = np.zeros(volume.grid.shape, dtype=np.float32)
    paint(result, volume, lungs, stack, maps)
    middle_part = np.array([row, column]) + (FINE - 1) / 2
    place = stack.lattice.to_mm(stack.corners[which] + np.array([0, *middle_part]))
    x, y = (middle_part[::-1] - (6 * FINE - 1) / 2) * part_mm
    np.testing.assert_allclose(place, np.add(stack.centres_mm[which], (x, y, 0)), atol=1e-9)
    index = np.argwhere(result)
    weights = result[tuple(index.T)].astype(float)
    middle = (volume.grid.to_mm(index) * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(middle, place, atol=0.35)


def test_outside_the_lungs_and_their_margin_is_nothing(model):
    volume, lungs = scan()
    edge = Finding(number=1, tracking_uid="2.25.1", centre_mm=(25.0, 0.0, 30.0), score=0.9, logit=2.0)
    stack = stack_around(model, volume, edge)
    result = np.zeros(volume.grid.shape, dtype=np.float32)
    paint(result, volume, lungs, stack, np.ones((len(stack.centres_mm), *stack.parts), dtype=np.float32))
    reached = volume.grid.to_mm(np.argwhere(result))
    assert 29 < reached[:, 0].max() < 32.5


@pytest.mark.parametrize("kind", [{}, {"flip": True}, {"shear": 0.8}])
def test_similarity_lies_over_its_tokens(kind):
    volume, _ = scan(**kind)
    lattice = Grid.from_spacing((24, 20, 20), spacing_mm=(2.0, 2.8, 2.8), origin_mm=(-26.0, -26.0, 8.0))
    logits = np.full(lattice.shape, np.nan, dtype=np.float32)
    logits[4:, 2:-2, 2:-2] = -6
    logits[12, 8, 11] = 3
    other = np.where(np.isnan(logits), np.nan, 0).astype(np.float32)
    token_map = SimpleNamespace(grid=lattice, logits=logits, similarity={"ground-glass nodule": other})
    result = similarity_map(token_map, volume)
    assert result.dtype == np.float32
    assert result.shape == volume.grid.shape
    assert 0 <= result.min() <= result.max() <= 1
    index = np.argwhere(result > 0.3)
    assert np.linalg.norm(volume.grid.to_mm(index).mean(axis=0) - lattice.to_mm([12, 8, 11])) < 0.8
    prompted = similarity_map(token_map, volume, "ground-glass nodule")
    inside = np.rint(volume.grid.to_index(lattice.to_mm([12, 10, 10]))).astype(int)
    assert prompted[tuple(inside)] == pytest.approx(0.5)
    with pytest.raises(UsageError) as raised:
        similarity_map(token_map, volume, "calcified")
    assert raised.value.code == "usage.option"
