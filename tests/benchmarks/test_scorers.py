"""The baselines on a phantom stack whose nodule is known, and the benchmarks' own counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.crops import CropSet, Placed, judge, nodule_centre_mm
from benchmarks.lidc_data import Stack, guess_lungs, lung_volume_ml
from benchmarks.scorers import BlobDetector, CentrePrior, RandomInLung, StackMark, Window, WindowPoints, blob_response
from benchmarks.windows import Pointed, WindowSet, measure
from imaging.evaluation.tables import Annotations
from imaging.geometry import Grid, Volume

CENTRE_INDEX = (4, 30, 50)
DIAMETER_MM = 8.0


def phantom(*, wall: bool = True, centre=CENTRE_INDEX, seed: int = 0) -> Stack:
    """Lung of -850 HU with noise, a ball of 8 mm at `centre`, a straight vessel and, at the left border, chest wall."""
    grid = Grid.from_spacing((9, 80, 80), spacing_mm=(2.0, 0.7, 0.7), origin_mm=(-20.0, 30.0, -100.0))
    rng = np.random.default_rng(seed)
    hu = rng.normal(-850.0, 25.0, grid.shape)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    ball = np.linalg.norm(grid.to_mm(index) - grid.to_mm(centre), axis=-1) <= DIAMETER_MM / 2
    hu[:, 60:62, :] = -200.0
    hu[ball] = 20.0
    if wall:
        hu[:, :, :14] = 50.0
    readers = np.where(ball, 3, 0).astype(np.uint8)
    return Stack(
        "p", 0, Volume(hu.astype(np.float32), grid), np.arange(100, 109), readers, ball, np.ones(9, dtype=bool)
    )


def test_the_strongest_blob_is_the_ball():
    stack = phantom()
    marks = BlobDetector().mark_stack(stack)
    best = max(marks, key=lambda mark: mark.logit)
    assert np.linalg.norm(np.subtract(best.point_mm, stack.volume.grid.to_mm(CENTRE_INDEX))) < 1.5


def test_a_blob_answers_most_at_its_own_size():
    """At the middle of a ball the response over sigma peaks at radius / sqrt(3), one of the detector's scales."""
    response = blob_response(phantom(wall=False).volume)
    assert np.unravel_index(int(response.argmax()), response.shape)[1:] == CENTRE_INDEX[1:]


def test_the_wall_is_not_searched_but_a_nodule_on_it_is():
    free = guess_lungs(phantom().volume)
    assert not free.mask[:, 5:75, :8].any()
    assert free.mask[:, 20:40, 30:].all()
    attached = phantom(centre=(4, 30, 17))
    assert attached.lungs.mask[CENTRE_INDEX[0], 30, 17]


def test_lung_volume_counts_aerated_voxels():
    stack = phantom(wall=False)
    share = lung_volume_ml(stack.volume) * 1000 / (stack.volume.array.size * stack.volume.grid.voxel_volume_mm3)
    assert 0.95 < share < 0.98


def test_a_part_of_a_stack_keeps_its_millimetres():
    stack = phantom()
    part = stack.part(slice(20, 60), slice(30, 70))
    np.testing.assert_allclose(nodule_centre_mm(part), nodule_centre_mm(stack), atol=1e-9)
    assert part.volume.array[4, 10, 20] == stack.volume.array[4, 30, 50]


@pytest.mark.parametrize("scorer", [RandomInLung(0), CentrePrior(), BlobDetector()], ids=lambda s: s.name)
def test_every_baseline_stays_inside_its_window_and_stack(scorer):
    stack = phantom()
    centre = tuple(float(v) for v in stack.volume.grid.to_mm((4, 40, 40)))
    window = Window(stack, 4, centre)
    (found,) = scorer.point_windows([window])
    offset = np.abs(np.subtract(found.point_mm, centre))
    assert scorer.window_logits([window]).shape == (1,)
    assert offset[:2].max() <= 16.8 + 0.35
    assert offset[2] == 0
    marks = scorer.mark_stack(stack)
    assert 0 < len(marks) <= 60
    assert stack.volume.grid.contains([mark.point_mm for mark in marks]).all()


def crop_set() -> CropSet:
    stacks = (phantom(seed=1), phantom(seed=2, centre=(4, 45, 40)))
    centres = np.array([nodule_centre_mm(stack) for stack in stacks])
    table = pd.DataFrame({"patient": ["p", "q"], "diameter_mm": [DIAMETER_MM] * 2})
    return CropSet(table, stacks, Annotations(("0", "1"), centres, np.full(2, DIAMETER_MM)))


def test_marks_on_an_outline_are_ignored_and_others_are_false():
    crops = crop_set()
    centre = crops.truth.points_mm[0]
    edge = (centre[0] + DIAMETER_MM / 2 - 0.01, centre[1], centre[2])
    beyond = (centre[0] + DIAMETER_MM / 2 + 0.2, centre[1], centre[2])
    crops.stacks[0].outlined[4, 30, 50 : 50 + 8] = True
    far = (centre[0] + 12.0, centre[1], centre[2])
    result = judge([[StackMark(edge, 0.1), StackMark(beyond, 0.9), StackMark(far, 0.5)], []], crops)
    assert result.found.tolist() == [True, False]
    assert result.scores.tolist() == [0.1, 0.5]  # the mark just beyond the radius, on an outline, is gone
    assert result.curve.at([0.0, 0.5]).tolist() == [0.0, 0.5]


def test_of_each_nodule_hit_the_strongest_hit_says_how_far_off_it_is():
    crops = crop_set()
    (x, y, z), radius = crops.truth.points_mm[0], DIAMETER_MM / 2
    near, rim = StackMark((x + 1.0, y, z), 0.3), StackMark((x, y - radius + 0.1, z), 0.6)
    outside = StackMark((x, y + radius + 0.1, z), 0.9)
    placed = Placed.of([[near, rim, outside], [outside]], crops)
    assert placed.nodule.tolist() == [0]
    assert placed.error_mm == pytest.approx([radius - 0.1])
    assert Placed.of([[near, outside], []], crops).inside.tolist() == [True]
    crops.stacks[0].readers[:] = 1
    assert Placed.of([[near], []], crops).inside.tolist() == [False], "one reader's outline is not two"
    every = placed.by_size(crops)
    assert [(name, count) for name, count, _, _ in every][-1] == ("all", 1)
    assert every[-1][3].value == pytest.approx(radius - 0.1)
    assert Placed.of([[], []], crops).by_size(crops) == []


class Oracle:
    """Points where it is told to."""

    name = "oracle"

    def __init__(self, points, logits):
        self.points, self.logits = points, logits

    def window_logits(self, windows):
        return np.array(self.logits)

    def point_windows(self, windows):
        return [WindowPoints(point) for point in self.points[: len(windows)]]

    def mark_stack(self, stack):
        return []


def window_set() -> WindowSet:
    """Nodule A in three windows, nodule B in one, and four windows without any."""
    stack = phantom()
    centre = tuple(float(v) for v in stack.volume.grid.to_mm((4, 40, 40)))
    table = pd.DataFrame(
        {
            "patient": ["p", "p", "p", "q", "p", "p", "q", "q"],
            "nodule": [0, 0, 0, 1, 0, 0, 1, 1],
            "label": [1, 1, 1, 1, 0, 0, 0, 0],
            "diameter_mm": [DIAMETER_MM] * 3 + [5.0] + [np.nan] * 4,
            "exact": [True] * 8,
        }
    )
    return WindowSet(table, tuple(Window(stack, 4, centre) for _ in range(8)))


def test_one_vote_a_nodule():
    windows = window_set()
    grid = windows.windows[0].stack.volume.grid
    right = tuple(float(v) for v in grid.to_mm(CENTRE_INDEX))
    wrong = tuple(float(v) for v in grid.to_mm((4, 10, 60)))
    figures = measure(Oracle([right] * 3 + [wrong] * 5, [3, 3, 3, -1, 0, 0, 0, 0]), windows)
    assert figures.points["refined"][0].value == pytest.approx(0.5)  # three windows of A are one vote
    assert figures.points["refined"][1].value == 0.0  # only B is under 8 mm
    assert figures.auroc.value == pytest.approx(0.5)
    assert figures.auroc_unweighted == pytest.approx(0.75)


def test_the_error_is_measured_in_the_plane():
    windows = window_set().windows[:1]
    grid = windows[0].stack.volume.grid
    x, y, z = grid.to_mm(CENTRE_INDEX)
    judged = Pointed.of(windows, [(x + 3.0, y + 4.0, z + 7.0)])
    assert judged.error_mm[0] == pytest.approx(5.0, abs=0.05)
    assert not judged.hit[0]
