"""NIfTI in and out: each row of the table of pitfalls with the truth known; nibabel and SimpleITK read too."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imaging.errors import InputError
from imaging.geometry import Grid
from imaging.io.limits import Limits
from imaging.io.nifti import read_nifti, write_nifti

SHAPE = (5, 6, 7)
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stored(dtype: Any = np.int16, seed: int = 0) -> np.ndarray:
    """Values as a file holds them, (slice, row, column), with air and tissue in them."""
    values = np.random.default_rng(seed).integers(-1000, 1500, SHAPE)
    values[0, 0, 0], values[-1, -1, -1] = -1000, 1500
    return values.astype(dtype)


def ras(rotation: tuple[float, float, float] = (10, 20, 30), spacing: Any = (0.7, 0.8, 2.5)) -> np.ndarray:
    """An oblique affine from NIfTI's (column, row, slice) to RAS mm."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-90.5, -120.25, 33.0)
    return affine


def truth(affine: np.ndarray) -> np.ndarray:
    """What our affine must be: from (slice, row, column) to LPS mm."""
    return (LPS_RAS @ affine)[:, [2, 1, 0, 3]]


def nifti_bytes(
    array: np.ndarray,
    *,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    version: int = 1,
    big_endian: bool = False,
    **fields: Any,
) -> bytes:
    """A NIfTI file, its header filled field by field; `fields` overwrite what is set before."""
    kind = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}[version]
    header = kind(endianness=">" if big_endian else "<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_xyzt_units("mm")
    if qform is not None:
        header.set_qform(qform, 1)
    if sform is not None:
        header.set_sform(sform, 1)
        if qform is None:
            header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = 352 if version == 1 else 544
    for name, value in fields.items():
        if name.startswith("pixdim_"):
            header["pixdim"][int(name[-1])] = value
        else:
            header[name] = value
    order = ">" if big_endian else "<"
    return header.binaryblock + b"\0\0\0\0" + array.astype(array.dtype.newbyteorder(order)).tobytes()


def read_bytes(folder: Path, content: bytes, name: str = "ct.nii") -> Any:
    path = folder / name
    path.write_bytes(content)
    return read_nifti(path)


def codes(volume: Any) -> list[str]:
    return [notice.code for notice in volume.warnings]


def check(volume: Any, values: np.ndarray, affine: np.ndarray, *expected: str) -> None:
    assert np.abs(volume.array - values).max() <= 1e-3
    assert volume.grid.same_as(Grid(values.shape, affine), tolerance_mm=1e-3)
    assert codes(volume) == list(expected)


# --- the rows of the table --------------------------------------------------------------------------------------------


def test_sform_only(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nifti_bytes(stored(), sform=ras())), stored(), truth(ras()))


def test_qform_only(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nifti_bytes(stored(), qform=ras())), stored(), truth(ras()))


def test_qform_only_left_handed(tmp_path: Path) -> None:
    mirrored = ras(spacing=(0.7, 0.8, -2.5))
    check(read_bytes(tmp_path, nifti_bytes(stored(), qform=mirrored)), stored(), truth(mirrored))


def test_sform_and_qform_agree(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), qform=ras())), stored(), truth(ras()))


def test_sform_and_qform_differ_by_an_offset(tmp_path: Path) -> None:
    moved = ras()
    moved[:3, 3] += (3.0, 4.0, 0.0)
    volume = read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), qform=moved))
    check(volume, stored(), truth(ras()), "file.affines_differ")
    assert " 5 mm apart" in volume.warnings[0].message


def test_sform_and_qform_differ_by_a_rotation(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), qform=ras((10, 20, 40)))
    check(read_bytes(tmp_path, content), stored(), truth(ras()), "file.affines_differ")


def test_void_qform_beside_an_sform(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), qform=ras(), quatern_b=5.0)
    check(read_bytes(tmp_path, content), stored(), truth(ras()), "file.affines_differ")


def test_neither_code_is_set(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), qform=ras(), sform_code=0, qform_code=0)
    volume = read_bytes(tmp_path, content)
    assert codes(volume) == ["file.frame_unknown"]
    assert volume.grid.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert np.array_equal(volume.array, stored())


@pytest.mark.parametrize("place", ["sform", "qform"])
@pytest.mark.parametrize("code", [3, 4, 5, 99])
def test_a_place_in_a_template_is_doubted(tmp_path: Path, place: str, code: int) -> None:
    """Talairach's and MNI's millimetres are nobody's: the CT was warped or laid there."""
    content = nifti_bytes(stored(), **{place: ras(), f"{place}_code": code})
    volume = read_bytes(tmp_path, content)
    check(volume, stored(), truth(ras()), "file.frame_unknown")
    assert f"{place}_code is {code}" in volume.warnings[0].message


@pytest.mark.parametrize("code", [1, 2])
def test_a_place_in_the_scanner_or_another_scan_is_believed(tmp_path: Path, code: int) -> None:
    check(read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), sform_code=code)), stored(), truth(ras()))


def test_sheared_sform_keeps_its_shear(tmp_path: Path) -> None:
    sheared = ras()
    sheared[:3, 2] += (0.0, 0.9, 0.0)
    volume = read_bytes(tmp_path, nifti_bytes(stored(), sform=sheared))
    check(volume, stored(), truth(sheared))
    assert not volume.grid.is_orthogonal


def test_pixdim_contradicts_the_sform(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), pixdim_3=5.0)
    check(read_bytes(tmp_path, content), stored(), truth(ras()), "file.spacing_conflict")


def test_negative_pixdim_beside_an_sform(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), pixdim_1=-0.7)), stored(), truth(ras()))


@pytest.mark.parametrize("value", [-0.7, 0.0, np.nan, np.inf])
def test_impossible_pixdim_of_a_qform(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), qform=ras(), pixdim_1=value))
    assert caught.value.code == "file.geometry"
    assert f"pixdim[1:4] {value:g} 0.8 2.5" in caught.value.message
    assert caught.value.where == "ct.nii"


def test_quaternion_that_is_no_rotation(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), qform=ras(), quatern_b=1.5))
    assert caught.value.code == "file.geometry"
    assert "quatern_b, c, d 1.5, " in caught.value.message


def test_offset_of_a_qform_without_a_number(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), qform=ras(), qoffset_y=np.nan))
    assert caught.value.code == "file.geometry"
    assert "qoffset_x, y, z -90.5 nan 33" in caught.value.message
    assert "quatern" not in caught.value.message


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_singular_sform(tmp_path: Path, broken: float) -> None:
    flat = ras()
    flat[:3, 2] = broken
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), sform=flat))
    assert caught.value.code == "geometry.singular"
    assert f"sform_code 1): srow_x 0.569658 -0.352776 {broken:g} -90.5, srow_y " in caught.value.message
    assert caught.value.where == "ct.nii"
    assert caught.value.remedy


def test_sform_with_an_empty_row(tmp_path: Path) -> None:
    flat = ras()
    flat[2] = 0
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), sform=flat))
    assert caught.value.code == "geometry.singular"
    assert "srow_z 0 0 0 0" in caught.value.message


@pytest.mark.parametrize("slope", [np.nan, np.inf, -np.inf])
def test_void_slope_leaves_the_values(tmp_path: Path, slope: float) -> None:
    content = nifti_bytes(stored(), sform=ras(), scl_slope=slope)
    check(read_bytes(tmp_path, content), stored(), truth(ras()))


def test_slope_0_leaves_the_values_and_says_so(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), scl_slope=0, scl_inter=-1024)
    check(read_bytes(tmp_path, content), stored(), truth(ras()), "file.scale_ignored")


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, 0.0), (-1.0, 24.0), (0.37, -300.5)])
def test_slope_is_applied_without_rounding(tmp_path: Path, slope: float, intercept: float) -> None:
    content = nifti_bytes(stored(), sform=ras(), scl_slope=slope, scl_inter=intercept)
    expected = stored() * float(np.float32(slope)) + intercept
    volume = read_bytes(tmp_path, content)
    assert np.abs(volume.array - expected).max() < 1e-3
    assert volume.array.dtype == np.float32


def test_intercept_without_a_number(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), scl_slope=2, scl_inter=np.nan))
    assert caught.value.code == "file.header"


@pytest.mark.parametrize("place", ["sform", "qform"])
@pytest.mark.parametrize(("unit", "factor"), [(3, 1e-3), (1, 1e3)])
def test_other_units_become_millimetres(tmp_path: Path, place: str, unit: int, factor: float) -> None:
    scaled = ras()
    scaled[:3] /= factor
    content = nifti_bytes(stored(), **{place: scaled}, xyzt_units=unit)
    check(read_bytes(tmp_path, content), stored(), truth(ras()), "file.unit_converted")


def test_unit_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), xyzt_units=5))
    assert caught.value.code == "file.header"


def test_wrong_unit_is_doubted(tmp_path: Path) -> None:
    volume = read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), xyzt_units=1))
    assert codes(volume) == ["file.unit_converted", "file.spacing_doubtful"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_stored_type(tmp_path: Path, version: int, big_endian: bool, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 120, SHAPE).astype(dtype)
    content = nifti_bytes(values, sform=ras(), version=version, big_endian=big_endian, scl_slope=10, scl_inter=-1000)
    check(read_bytes(tmp_path, content), values.astype(float) * 10 - 1000, truth(ras()))


def test_trailing_dimension_of_one(tmp_path: Path) -> None:
    content = nifti_bytes(stored()[None], sform=ras())
    check(read_bytes(tmp_path, content), stored(), truth(ras()))


@pytest.mark.parametrize("shape", [(2, *SHAPE), (6, 7), (1, 6, 7)])
def test_not_one_volume(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(np.zeros(shape, np.int16), sform=ras()))
    assert caught.value.code == "file.dimensions"


def test_voxels_without_a_number_become_air(tmp_path: Path) -> None:
    values = stored(np.float32)
    values[1, 2, 3], values[1, 2, 4], values[2, 0, 0] = np.nan, np.inf, -np.inf
    volume = read_bytes(tmp_path, nifti_bytes(values, sform=ras()))
    assert codes(volume) == ["file.not_finite"]
    assert volume.warnings[0].message.startswith("3 of 210")
    assert volume.array[1, 2, 3] == volume.array[1, 2, 4] == volume.array[2, 0, 0] == -1024
    assert np.array_equal(volume.array[3:], values[3:])


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras())
    for size in range(1, len(content)):
        with pytest.raises(InputError) as caught:
            read_bytes(tmp_path, content[:size])
        assert caught.value.code in ("file.truncated", "file.header")


def test_every_truncation_of_a_packed_file_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(nifti_bytes(stored(), sform=ras()))
    for size in range(1, len(content)):
        with pytest.raises(InputError) as caught:
            read_bytes(tmp_path, content[:size], "ct.nii.gz")
        assert caught.value.code in ("file.truncated", "file.header")


def test_packed_file_with_a_wrong_checksum(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(nifti_bytes(stored(), sform=ras())))
    content[-6] ^= 1
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, bytes(content), "ct.nii.gz")
    assert caught.value.code == "file.damaged"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_more_bytes_than_declared(tmp_path: Path, pack: Any) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, pack(nifti_bytes(stored(), sform=ras()) + b"\0\0"))
    assert caught.value.code == "file.surplus"


# --- what the table does not name -------------------------------------------------------------------------------------


def test_packed_in_several_members(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras())
    packed = gzip.compress(content[:500]) + gzip.compress(content[500:])
    check(read_bytes(tmp_path, packed, "ct.nii.gz"), stored(), truth(ras()))


def test_format_does_not_depend_on_the_name(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, gzip.compress(nifti_bytes(stored(), sform=ras())), "IM0001"), stored(), truth(ras()))


def test_header_with_an_extension(tmp_path: Path) -> None:
    content = nifti_bytes(stored(), sform=ras(), vox_offset=368)
    content = content[:348] + b"\1\0\0\0" + (16).to_bytes(4, "little") + b"\0" * 12 + content[352:]
    check(read_bytes(tmp_path, content), stored(), truth(ras()))


@pytest.mark.parametrize("packed", [False, True])
def test_header_and_voxels_in_two_files(tmp_path: Path, packed: bool) -> None:
    image = nibabel.Nifti1Pair(stored().transpose(2, 1, 0), ras())
    nibabel.save(image, tmp_path / ("ct.img.gz" if packed else "ct.img"))
    check(read_nifti(next(tmp_path.glob("ct.hdr*"))), stored(), truth(ras()))


def test_two_files_of_which_one_is_missing(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(stored().transpose(2, 1, 0), ras()), tmp_path / "ct.img")
    (tmp_path / "ct.img").unlink()
    with pytest.raises(InputError) as caught:
        read_nifti(tmp_path / "ct.hdr")
    assert caught.value.code == "file.data_missing"


def test_analyze_has_no_orientation(tmp_path: Path) -> None:
    nibabel.save(nibabel.AnalyzeImage(stored().transpose(2, 1, 0), None), tmp_path / "ct.img")
    with pytest.raises(InputError) as caught:
        read_nifti(tmp_path / "ct.hdr")
    assert caught.value.code == "file.unsupported"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"datatype": 128, "bitpix": 24}, "file.unsupported"),
        ({"datatype": 32, "bitpix": 64}, "file.unsupported"),
        ({"bitpix": 8}, "file.header"),
        ({"vox_offset": 100}, "file.header"),
        ({"vox_offset": 352.5}, "file.header"),
        ({"vox_offset": np.nan}, "file.header"),
        ({"vox_offset": 1e30}, "file.truncated"),
        ({"dim": [0, 7, 6, 5, 1, 1, 1, 1]}, "file.header"),
        ({"dim": [3, 7, 6, -5, 1, 1, 1, 1]}, "file.header"),
        ({"dim": [3, 7, 6, 50, 1, 1, 1, 1]}, "file.truncated"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "input.too_large"),
    ],
)
def test_broken_header(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nifti_bytes(stored(), sform=ras(), **fields))
    assert caught.value.code == code


def test_ordinary_sizes_are_within_the_limit() -> None:
    Limits().check_voxels(1500, 512, 512)
    Limits().check_voxels(800, 1024, 1024)
    with pytest.raises(InputError) as caught:
        Limits().check_voxels(4000, 1024, 1024)
    assert caught.value.code == "input.too_large"


@pytest.mark.parametrize(
    ("values", "fields", "is_hu", "expected"),
    [
        (stored(), {}, True, []),
        (stored() + 1024, {}, False, ["file.not_hu"]),
        (np.clip(stored() / 2500.0, -1, 1).astype(np.float32), {}, False, ["file.not_hu"]),
        (stored().astype(np.int32) * 1000, {}, False, ["file.not_hu"]),
        (np.clip(stored(), -200, 300), {}, True, ["file.hu_doubtful"]),
        (stored().astype(np.int32) * 20, {}, True, ["file.hu_doubtful"]),
        (stored(), {"intent_code": 1002}, False, ["file.not_hu"]),
    ],
)
def test_are_the_values_hu(
    tmp_path: Path, values: np.ndarray, fields: dict[str, Any], is_hu: bool, expected: list[str]
) -> None:
    volume = read_bytes(tmp_path, nifti_bytes(values, sform=ras(), **fields))
    assert volume.is_hu is is_hu
    assert codes(volume) == expected


def test_seriesuid_is_the_hash_of_the_content(tmp_path: Path) -> None:
    one = read_bytes(tmp_path, nifti_bytes(stored(), sform=ras()), "one.nii")
    same = read_bytes(tmp_path, nifti_bytes(stored(), sform=ras()), "two.nii")
    other = read_bytes(tmp_path, nifti_bytes(stored(seed=1), sform=ras()), "three.nii")
    assert one.seriesuid.startswith("sha256:")
    assert len(one.seriesuid) == 7 + 64
    assert one.seriesuid == same.seriesuid != other.seriesuid


# --- writing ----------------------------------------------------------------------------------------------------------

angles = st.floats(-180, 180, allow_nan=False).map(lambda x: round(x, 4))
steps = st.floats(0.3, 5.0).map(lambda x: round(x, 5))
origins = st.floats(-400, 400).map(lambda x: round(x, 4))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rotation=st.tuples(angles, angles, angles),
    spacing=st.tuples(steps, steps, steps),
    origin=st.tuples(origins, origins, origins),
    mirrored=st.booleans(),
    shear=st.sampled_from([0.0, 0.3]),
    dtype=st.sampled_from(["u1", "i2", "i4", "f4", "f8", "?"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_written_maps_lie_where_they_should(
    tmp_path: Path, rotation: Any, spacing: Any, origin: Any, mirrored: bool, shear: float, dtype: str, suffix: str
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() * spacing
    affine[:3, 0] += shear * affine[:3, 1]
    affine[:3, 2] *= -1 if mirrored else 1
    affine[:3, 3] = origin
    grid = Grid((40, 300, 256), affine)
    array = np.zeros(grid.shape, dtype)
    array[1, 2, 3] = 1
    path = write_nifti(array, grid, tmp_path / f"map{suffix}", description="a map")
    image = nibabel.load(path)
    corners = np.array([(0, 0, 0), (39, 299, 255), (39, 0, 0), (0, 299, 255), (1, 2, 3)])
    places = corners[:, ::-1] @ image.affine[:3, :3].T + image.affine[:3, 3]
    assert np.abs(places * (-1, -1, 1) - grid.to_mm(corners)).max() < 1e-3
    assert np.asarray(image.dataobj)[3, 2, 1] == 1
    ours = read_nifti(path)
    assert ours.grid.same_as(grid)
    assert np.array_equal(ours.array, array.astype(np.float32))
    if not shear:
        third = SimpleITK.ReadImage(str(path))
        assert np.abs(third.TransformIndexToPhysicalPoint((255, 299, 39)) - grid.to_mm((39, 299, 255))).max() < 2e-3


def test_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    grid = Grid.from_spacing(SHAPE, spacing_mm=(2.5, 0.7, 0.7))
    one = write_nifti(stored(), grid, tmp_path / "one.nii.gz").read_bytes()
    two = write_nifti(stored(), grid, tmp_path / "two.nii.gz").read_bytes()
    assert one == two


def test_both_places_are_set_and_the_window_too(tmp_path: Path) -> None:
    grid = Grid.from_spacing(SHAPE, spacing_mm=(2.5, 0.7, 0.7))
    header = nibabel.load(write_nifti(stored(), grid, tmp_path / "a.nii", display_range=(-1, 2))).header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    assert (header["cal_min"], header["cal_max"]) == (-1, 2)
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("array", "name"),
    [(stored(), "a.mha"), (stored()[1:], "a.nii"), (stored().astype(np.float16), "a.nii")],
)
def test_what_cannot_be_written(tmp_path: Path, array: np.ndarray, name: str) -> None:
    with pytest.raises(ValueError, match=r"NIfTI|shape"):
        write_nifti(array, Grid.from_spacing(SHAPE, spacing_mm=(1, 1, 1)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# --- combinations -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(["sform", "qform", "both"]),
    shear=st.booleans(),
    mirrored=st.booleans(),
    unit=st.sampled_from([(0, 1.0), (2, 1.0), (1, 1e3), (3, 1e-3)]),
    scale=st.sampled_from([(1, 0), (0, -1024), (np.nan, 3), (2, -1024), (-0.5, 10.5)]),
    dtype=st.sampled_from(["i2", "u2", "i4", "f4", "f8"]),
    big_endian=st.booleans(),
    version=st.sampled_from([1, 2]),
    packed=st.booleans(),
    fourth=st.booleans(),
    gaps=st.integers(0, 3),
)
def test_pitfalls_together(
    tmp_path: Path, place: str, shear: bool, mirrored: bool, unit: Any, scale: Any, dtype: str, big_endian: bool,
    version: int, packed: bool, fourth: bool, gaps: int,
) -> None:  # fmt: skip
    affine = ras(spacing=(0.7, 0.8, -2.5 if mirrored else 2.5))
    affine[:3, 2] += (0.0, 0.9, 0.0) if shear and place == "sform" else 0.0
    values = stored(dtype)
    gaps = gaps if np.dtype(dtype).kind == "f" else 0
    slope, intercept = scale if scale[0] and np.isfinite(scale[0]) else (1, 0)
    expected = values.astype(float) * slope + intercept
    values.reshape(-1)[5 : 5 + gaps] = np.nan if gaps else 0
    expected.reshape(-1)[5 : 5 + gaps] = -1024
    small = affine.copy()
    small[:3] /= unit[1]
    content = nifti_bytes(
        values[None] if fourth else values,
        sform=small if place != "qform" else None,
        qform=small if place != "sform" else None,
        version=version, big_endian=big_endian, xyzt_units=unit[0], scl_slope=scale[0], scl_inter=scale[1],
    )  # fmt: skip
    volume = read_bytes(tmp_path, gzip.compress(content, 1) if packed else content, "any name")
    assert np.abs(volume.array - expected).max() <= 1e-2
    assert volume.grid.same_as(Grid(values.shape, truth(affine)), tolerance_mm=2e-3)
    wanted = {"file.unit_converted"} if unit[1] != 1 else set()
    wanted |= {"file.not_finite"} if gaps else set()
    wanted |= {"file.scale_ignored"} if not scale[0] else set()
    wanted |= {"file.scale_ignored"} if np.isnan(scale[0]) else set()
    assert set(codes(volume)) - {"file.not_hu", "file.hu_doubtful"} == wanted
