"""Maps are opened by nibabel and by SimpleITK; both must put the same value at the same LPS millimetre."""

from __future__ import annotations

import time
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.outputs import maps

KINDS = ["axial", "descending", "prone", "oblique"]


def nibabel_value(path, point_lps_mm):
    """Value at a point, found by nibabel's affine (RAS)."""
    image = nibabel.load(path)
    index = np.linalg.inv(image.affine) @ [-point_lps_mm[0], -point_lps_mm[1], point_lps_mm[2], 1.0]
    return float(image.get_fdata()[tuple(np.rint(index[:3]).astype(int))])


def simpleitk_value(path, point_lps_mm):
    """Value at a point, found by ITK (LPS)."""
    image = sitk.ReadImage(str(path))
    return float(image.GetPixel(image.TransformPhysicalPointToIndex([float(v) for v in point_lps_mm])))


@pytest.mark.parametrize("kind", KINDS)
def test_both_readers_find_the_map_voxel_by_voxel(build, tmp_path, kind):
    case = build.case(kind)
    maps.write(case, tmp_path)
    for name, array in (("grad_cam", case.grad_cam), ("similarity", case.similarity), ("nodules", case.nodules)):
        path = tmp_path / f"{name}.nii.gz"
        image = nibabel.load(path)
        affine_lps = np.diag([-1, -1, 1, 1]) @ image.affine
        assert np.allclose(affine_lps[:, [2, 1, 0, 3]], case.volume.grid.affine, atol=1e-4)
        tolerance = 0 if name == "nodules" else float(array.max()) / 500
        assert np.abs(image.get_fdata().T - array).max() <= tolerance
        itk = sitk.ReadImage(str(path))
        assert np.abs(sitk.GetArrayFromImage(itk) - array).max() <= tolerance
        corner = [n - 1 for n in reversed(array.shape)]
        expected = case.volume.grid.to_mm([n - 1 for n in array.shape])
        assert np.allclose(itk.TransformIndexToPhysicalPoint(corner), expected, atol=1e-3)


@pytest.mark.parametrize("kind", [*KINDS, "sheared"])
def test_a_finding_is_where_it_is(build, tmp_path, kind):
    case = build.case(kind)
    maps.write(case, tmp_path)
    for finding in case.report.findings:
        for value in (nibabel_value, simpleitk_value):
            assert value(tmp_path / "nodules.nii.gz", finding.centre_mm) == finding.number
            index = tuple(np.rint(case.volume.grid.to_index(finding.centre_mm)).astype(int))
            heat = value(tmp_path / "similarity.nii.gz", finding.centre_mm)
            assert heat == pytest.approx(case.similarity[index], abs=0.08 if kind == "sheared" else 0.003)


def test_a_sheared_ct_gets_upright_maps_and_the_report_says_so(build, tmp_path):
    case = build.case("sheared")
    maps.write(case, tmp_path)
    image = nibabel.load(tmp_path / "nodules.nii.gz")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    assert all("sheared" in text for text in maps.describe(case).values())
    volume = (image.get_fdata() == 1).sum() * abs(np.linalg.det(image.affine[:3, :3]))
    assert volume == pytest.approx((case.nodules == 1).sum() * case.volume.grid.voxel_volume_mm3, rel=0.15)


def test_a_map_that_was_not_computed_is_not_written(build, tmp_path):
    case = build.case(maps=False)
    assert set(maps.write(case, tmp_path)) == {"nodules.nii.gz"}
    assert set(maps.describe(case)) == {"nodules.nii.gz"}


def test_quantised_values_come_back_within_one_in_five_hundred():
    values = np.random.default_rng(2).random((3, 40, 50)).astype(np.float32) * 17.3
    codes, scale = maps.quantise(values)
    assert codes.dtype == np.uint8
    assert np.abs(codes * scale - values).max() <= values.max() / 500
    assert (codes * scale).max() == pytest.approx(values.max(), rel=1e-6)


@pytest.mark.parametrize("fill", [0.0, np.nan, -1.0])
def test_an_empty_map_is_zero(fill):
    codes, scale = maps.quantise(np.full((2, 3, 4), fill, np.float32))
    assert codes.max() == 0
    assert scale == 1.0


def test_what_is_not_a_number_is_zero_beside_real_values():
    codes, _ = maps.quantise(np.array([[[np.nan, -3.0, 2.0]]], np.float32))
    assert codes.tolist() == [[[0, 0, 255]]]


def test_a_map_of_a_whole_ct_is_written_fast(case, tmp_path):
    shape = (133, 512, 512)
    grid = Grid.from_spacing(shape, spacing_mm=(2.5, 0.7, 0.7))
    heat = np.zeros(shape, np.float32)
    heat[20:110, 120:400, 80:440] = np.random.default_rng(3).random((90, 280, 360), np.float32)
    big = replace(
        case,
        volume=Volume(np.zeros(shape, np.float32), grid),
        nodules=np.zeros(shape, np.uint8),
        grad_cam=heat,
        similarity=None,
    )
    start = time.process_time()
    maps.write(big, tmp_path)
    assert time.process_time() - start < 4.0
