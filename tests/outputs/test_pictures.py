"""Planes, marks and `overlay.png`: what is left must be drawn as left, whatever way the voxels lie."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imaging.findings import OperatingPoint
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.outputs import drawing, overlay, words
from imaging.outputs.planes import AXIAL, CORONAL, SAGITTAL, Field, Plane, field_of, sample
from imaging.preprocessing.lungs import Lungs

KINDS = ["axial", "descending", "prone", "oblique", "sheared"]
VIEWS = [AXIAL, CORONAL, SAGITTAL]


def pixel_mm(plane: Plane, x: float, y: float) -> np.ndarray:
    """LPS mm of a pixel, by walking from the picture's middle (a second way to write the same)."""
    away = np.multiply(plane.view.right, x - (plane.width - 1) / 2) + np.multiply(
        plane.view.down, y - (plane.height - 1) / 2
    )
    return np.asarray(plane.centre_mm) + away * plane.mm_per_pixel


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_plane_shows_the_value_at_each_millimetre(build, kind, view):
    grid = build.grid(kind)
    x, y, z = np.moveaxis(grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    array = (x + 2 * y + 3 * z).astype(np.float32)  # linear, so that linear interpolation is exact
    plane = Plane(view, grid.centre_mm, 41, 33, 0.9)
    values = sample(array, grid, plane)
    assert values.shape == (33, 41)
    seen = 0
    for row, column in itertools.product(range(33), range(41)):
        point = pixel_mm(plane, column, row)
        index = grid.to_index(point)
        if np.isnan(values[row, column]):
            assert not grid.contains(point)
        elif (index >= 0).all() and (index <= np.asarray(grid.shape) - 1).all():
            assert values[row, column] == pytest.approx(point @ [1, 2, 3], abs=0.02)
            seen += 1
    assert seen > 300


@pytest.mark.parametrize("kind", KINDS)
def test_left_front_and_head_are_drawn_where_the_letters_say(build, kind):
    grid = build.grid(kind)
    middle = np.asarray(grid.centre_mm)
    edges = {letter: number for view in VIEWS for number, letter in enumerate(view.letters) if letter in "LAS"}
    assert edges == {"L": 1, "A": 0, "S": 2}
    for letter, step in (("L", (9, 0, 0)), ("R", (-9, 0, 0)), ("A", (0, -9, 0)), ("P", (0, 9, 0)), ("S", (0, 0, 9))):
        spot = middle + step
        points = grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1))
        array = (np.linalg.norm(points - spot, axis=-1) < 3).astype(np.float32)
        for view in VIEWS:
            if letter not in view.letters:
                continue
            values = sample(array, grid, Plane(view, grid.centre_mm, 51, 51, 0.6), fill=0.0)
            row, column = np.argwhere(values > 0.5).mean(axis=0) - 25
            side = view.letters.index(letter)
            assert (column < -8, column > 8, row < -8, row > 8)[side], (view.name, letter)
            assert abs((row, row, column, column)[side]) < 2


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_point_is_found_at_its_pixel(view):
    plane = Plane(view, (3.0, -7.0, 20.0), 30, 21, 0.7)
    for x, y in ((0, 0), (29, 20), (12.5, 3.25)):
        assert plane.to_pixel(tuple(pixel_mm(plane, x, y))) == pytest.approx((x, y))


def test_a_single_slice_has_its_thickness():
    grid = Grid.from_spacing((1, 8, 8), spacing_mm=(5, 1, 1))
    values = sample(np.ones(grid.shape, np.float32), grid, Plane(CORONAL, (4, 4, 0), 5, 21, 0.5), fill=0.0)
    assert (values[:, 2] > 0).sum() == 11


@pytest.mark.parametrize("kind", KINDS)
def test_the_field_holds_every_voxel_and_no_more(build, kind):
    grid = build.grid(kind)
    field = field_of(grid)
    corners = grid.to_mm(list(itertools.product(*[(-0.5, n - 0.5) for n in grid.shape])))
    assert np.allclose(corners.min(axis=0), field.low)
    assert np.allclose(corners.max(axis=0), field.high)


def test_the_field_around_a_mask_has_a_margin_inside_the_grid():
    grid = Grid.from_spacing((10, 20, 30), spacing_mm=(1, 1, 1))
    mask = np.zeros(grid.shape, bool)
    mask[2:8, 5:9, 0:4] = True
    field = field_of(grid, mask, margin_mm=2.0)
    assert field.low == (-0.5, 2.5, -0.5)
    assert field.high == (5.5, 10.5, 9.5)
    assert field_of(grid, np.zeros(grid.shape, bool)) == field_of(grid)


def test_a_part_of_a_field_stays_inside_and_holds_the_point():
    field = Field((0.0, 0.0, 0.0), (500.0, 100.0, 500.0))
    part = field.around((490.0, 50.0, 10.0), most_mm=380.0)
    assert part.low == (120.0, 0.0, 0.0)
    assert part.high == (500.0, 100.0, 380.0)


def test_the_ring_hides_nothing_inside_it():
    before = Image.fromarray(np.random.default_rng(4).integers(0, 255, (120, 140, 3), np.uint8))
    plane = Plane(AXIAL, (0.0, 0.0, 0.0), 140, 120, 1.0)
    after = np.asarray(drawing.draw_ring(before, plane, (10.0, -5.0, 0.0), 20.0))
    x, y = plane.to_pixel((10.0, -5.0, 0.0))
    rows, columns = np.indices((120, 140))
    distance = np.hypot(columns - x, rows - y)
    changed = (after != np.asarray(before)).any(axis=2)
    assert not changed[distance < 17.2].any()
    assert changed[(distance > 20.2) & (distance < 21.8)].all()
    assert not changed[distance > 34].any()


def orange(pixels: np.ndarray) -> np.ndarray:
    """Where a picture is as orange as the ring."""
    return np.abs(pixels.astype(int) - drawing.ORANGE).sum(axis=2) < 30


@pytest.mark.parametrize("kind", KINDS)
def test_the_ring_lies_around_the_finding_in_every_plane(build, kind):
    case = build.case(kind)
    for finding in case.report.findings:
        field = overlay.field_of_view(case)
        row = np.asarray(overlay.draw_planes(case, finding.centre_mm, field, finding))
        # the panels are separated by columns of canvas
        gaps = (row == drawing.CANVAS).all(axis=(0, 2))
        starts = [0, *(np.flatnonzero(np.diff(gaps.astype(int)) == -1) + 1)]
        stops = [*(np.flatnonzero(np.diff(gaps.astype(int)) == 1) + 1), row.shape[1]]
        assert len(starts) == len(stops) == 3
        for start, stop in zip(starts, stops, strict=True):
            panel = row[:, start:stop]
            rows, columns = np.nonzero(orange(panel))
            middle = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
            ball = panel[..., 0] > 215  # the planted ball is white at lung window
            ys, xs = np.indices(ball.shape)
            near = ball & (np.hypot(ys - middle[0], xs - middle[1]) < (rows.max() - rows.min()) / 2 - 12)
            found = np.argwhere(near).mean(axis=0)
            clipped = columns.min() <= 1 or columns.max() >= panel.shape[1] - 2
            if not clipped:
                assert np.abs(found - middle).max() < 4, kind


def test_heat_gets_lighter_and_stays_where_it_is():
    level = np.linspace(0, 1, 50, dtype=np.float32)
    light = drawing.heat_colours(level) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()
    pixels = np.full((4, 4, 3), 90, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1.0
    shown = drawing.with_heat(pixels, heat)
    assert (np.abs(shown.astype(int) - 90).sum(axis=2) > 0).sum() == 1
    assert np.array_equal(drawing.with_heat(pixels, np.full((4, 4), np.nan, np.float32)), pixels)


def test_the_outline_lies_outside_the_lesion():
    inside = np.zeros((7, 7), bool)
    inside[2:5, 3] = True
    marked = (drawing.with_outline(np.zeros((7, 7, 3), np.uint8), inside, (255, 0, 0))[..., 0] == 255).astype(int)
    assert marked.sum() == 8
    assert not (marked.astype(bool) & inside).any()


def test_lung_window_grey():
    shown = drawing.grey(np.array([[-1350.0, -600.0, 150.0, np.nan]], np.float32))
    assert shown[0, :3, 0].tolist() == [0, 128, 255]
    assert tuple(shown[0, 3]) == drawing.OUTSIDE


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb\x00c", "a b c"), ("x" * 20, "x" * 9 + "…"), ("\ud800\u202eevil", "evil"), ("山田", "山田"), ("", "")],
)
def test_text_from_outside_is_made_drawable(text, expected):
    assert drawing.clean(text, most=10) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("findings", [0, 1, 3])
def test_the_picture_is_written_and_opens(build, tmp_path, kind, findings):
    path = overlay.write(build.case(kind, findings), tmp_path)["overlay.png"]
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB"
        assert image.width >= 1100
        assert not image.info


def test_a_scan_without_findings_says_so_and_shows_no_ring(negative):
    picture = overlay.draw_case(negative)
    planes = overlay.draw_planes(negative, negative.volume.grid.centre_mm, overlay.field_of_view(negative))
    assert not orange(np.asarray(planes)).any()
    assert picture.height > 400
    assert "does not mean" in words.NO_MARK


def test_hostile_words_do_not_stop_the_picture(build, tmp_path):
    case = build.case(maps=False)
    hostile = "\ud800\x00<script>" + "长" * 400
    report = replace(
        case.report, seriesuid=hostile, study_date=hostile, operating_point=OperatingPoint(0.5, None, hostile)
    )
    case = replace(
        case, report=report, similarity=np.zeros(case.volume.grid.shape, np.float32), similarity_prompt=hostile
    )
    assert overlay.write(case, tmp_path)["overlay.png"].stat().st_size > 1000


def test_a_huge_lesion_and_one_at_the_edge_are_drawn(build, tmp_path):
    case = build.case()
    corner = tuple(float(v) for v in case.volume.grid.to_mm([0, 0, 0]))
    outside = tuple(float(v) for v in case.volume.grid.to_mm([-3, -3, -3]))
    findings = tuple(
        replace(case.report.findings[0], number=n, centre_mm=c, diameter_mm=150.0, long_axis_mm=180.0)
        for n, c in enumerate((corner, outside), 1)
    )
    overlay.write(replace(case, report=replace(case.report, findings=findings)), tmp_path)


def test_ten_findings_on_a_whole_ct_are_drawn_fast(case, tmp_path):
    shape = (133, 512, 512)
    grid = Grid.from_spacing(shape, spacing_mm=(2.5, 0.7, 0.7))
    volume = Volume(np.full(shape, -850, np.float32), grid)
    centre = tuple(float(v) for v in grid.centre_mm)
    findings = tuple(replace(case.report.findings[0], number=n, centre_mm=centre) for n in range(1, 13))
    heat = np.ones(shape, np.float32)
    big = replace(
        case,
        volume=volume,
        report=replace(case.report, findings=findings),
        nodules=np.zeros(shape, np.uint8),
        grad_cam=heat,
        similarity=None,
    )
    start = time.process_time()
    path = overlay.write(big, tmp_path)["overlay.png"]
    assert time.process_time() - start < 6.0
    with Image.open(path) as image:
        assert image.height < 11 * (overlay.ROW_HEIGHT + 60)  # twelve findings, ten rows


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (1.25, "1.2 mm"), (-3.0, "−3.0 mm"), (-0.04, "0.0 mm"), (0.0, "0.0 mm")]
)
def test_numbers_in_words(value, text):
    assert words.number(value, unit="mm") == text


@pytest.mark.parametrize(
    ("value", "text"), [("20200102", "2020-01-02"), (None, "unknown"), ("", "unknown"), ("2020.01.02", "2020.01.02")]
)
def test_dates_in_words(value, text):
    assert words.date(value) == text


def test_the_cost_of_a_threshold_is_never_left_out():
    assert "1.9 false marks per scan" in words.operating_line(OperatingPoint(0.3, 1.9, "39 scans"))
    assert "not measured" in words.operating_line(OperatingPoint(0.3, None, ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20+00:00", "2023-11-14 22:13 UTC"),
        ("2023-11-14T22:13:20+02:00", "2023-11-14 22:13"),
        ("?", "?"),
    ],
)
def test_moments_in_words(text, expected):
    assert words.moment(text) == expected


def test_the_middle_of_the_right_lung_is_shown_where_nothing_was_found(build):
    case = build.case("descending", 0)
    labels = np.zeros(case.volume.grid.shape, np.uint8)
    labels[4:9, 10:21, 30:41] = 1
    labels[:, :, 50:] = 2
    lungs = Lungs(labels=labels, grid=case.volume.grid, volume_ml=1.0, notices=())
    place, name = overlay.middle(replace(case, lungs=lungs))
    assert place == pytest.approx(tuple(case.volume.grid.to_mm([6, 15, 35])))
    assert "right lung" in name
    assert overlay.middle(case) == (case.volume.grid.centre_mm, "the middle of the CT")
    field = overlay.field_of_view(replace(case, lungs=lungs))
    assert (field.size_mm < field_of(case.volume.grid).size_mm + 1e-6).all()
    overlay.draw_case(replace(case, lungs=lungs))
