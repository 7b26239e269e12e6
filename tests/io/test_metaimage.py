"""MetaImage: each row of the table of pitfalls, with the truth known, and SimpleITK as the writer of honest files."""

from __future__ import annotations

import itertools
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imaging.errors import InputError
from imaging.geometry import Grid
from imaging.io.itk import read_metaimage

SHAPE = (5, 6, 7)
SPACING = (0.7, 0.8, 2.5)
OFFSET = (-90.5, -120.25, 33.0)
ROTATION = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()


def stored(dtype: Any = np.int16) -> np.ndarray:
    values = np.random.default_rng(0).integers(-1000, 1500, SHAPE)
    values[0, 0, 0] = -1000
    return values.astype(dtype)


def truth(rotation: Any = ROTATION, spacing: Any = SPACING, offset: Any = OFFSET) -> Grid:
    """Where the voxels must lie: steps along slice, row and column are the directions' columns, last first."""
    affine = np.eye(4)
    affine[:3, :3] = (rotation * np.asarray(spacing))[:, ::-1]
    affine[:3, 3] = offset
    return Grid(SHAPE, affine)


def text(numbers: Any) -> str:
    return " ".join(repr(float(number)) for number in np.ravel(numbers))


def mha_bytes(data: bytes, *, leave_out: tuple[str, ...] = (), **fields: Any) -> bytes:
    """A .mha file, its header written line by line; `fields` replace lines or add them."""
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": False,
        "TransformMatrix": text(ROTATION.T),
        "Offset": text(OFFSET),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": text(SPACING),
        "DimSize": "7 6 5",
        "ElementType": "MET_SHORT",
    } | fields
    last = lines.pop("ElementDataFile", "LOCAL")
    header = "".join(f"{name} = {value}\n" for name, value in lines.items() if name not in leave_out)
    return (header + f"ElementDataFile = {last}\n").encode() + data


def read_bytes(folder: Path, content: bytes, name: str = "ct.mha") -> Any:
    (folder / name).write_bytes(content)
    return read_metaimage(folder / name)


def refusal(folder: Path, content: bytes, name: str = "ct.mha") -> str:
    with pytest.raises(InputError) as caught:
        read_bytes(folder, content, name)
    return caught.value.code


def check(volume: Any, *expected: str, values: np.ndarray | None = None, grid: Grid | None = None) -> None:
    assert np.abs(volume.array - (stored() if values is None else values)).max() <= 1e-3
    assert volume.grid.same_as(grid or truth())
    assert [notice.code for notice in volume.warnings] == list(expected)


RAW = stored().tobytes()
PACKED = zlib.compress(RAW)


def test_plain(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, mha_bytes(RAW)))


def test_windows_line_ends(tmp_path: Path) -> None:
    content = mha_bytes(b"").replace(b"\n", b"\r\n")
    check(read_bytes(tmp_path, content + RAW))


def test_compressed(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, mha_bytes(PACKED, CompressedData=True, CompressedDataSize=len(PACKED))))


@pytest.mark.parametrize("field", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_big_endian(tmp_path: Path, field: str) -> None:
    fields = {field: True}
    content = mha_bytes(stored(">i2").tobytes(), **fields)
    if field == "ElementByteOrderMSB":
        content = content.replace(b"BinaryDataByteOrderMSB = False\n", b"")
    check(read_bytes(tmp_path, content))


@pytest.mark.parametrize("matrix", ["TransformMatrix", "Rotation", "Orientation"])
@pytest.mark.parametrize("offset", ["Offset", "Position", "Origin"])
def test_other_names_of_the_fields(tmp_path: Path, matrix: str, offset: str) -> None:
    content = mha_bytes(RAW).replace(b"TransformMatrix", matrix.encode()).replace(b"Offset", offset.encode())
    check(read_bytes(tmp_path, content))


def test_header_size_minus_1_counts_from_the_end(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, mha_bytes(b"something else" + RAW, HeaderSize=-1)))


def test_header_size_of_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "ct.raw").write_bytes(b"head" + RAW)
    check(read_bytes(tmp_path, mha_bytes(b"", ElementDataFile="ct.raw", HeaderSize=4), "ct.mhd"))


def test_compressed_without_its_size(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, mha_bytes(PACKED, CompressedData=True)))


@pytest.mark.parametrize("size", [0, 10, len(PACKED) - 1, len(PACKED) + 1, 10**9])
def test_compressed_with_a_wrong_size(tmp_path: Path, size: int) -> None:
    content = mha_bytes(PACKED, CompressedData=True, CompressedDataSize=size)
    check(read_bytes(tmp_path, content), "file.size_ignored")


@pytest.mark.parametrize(("slope", "offset"), [(2, 0), (1, -1024), (0.5, -1024.5), (-1, 24)])
def test_slope_and_offset_are_applied(tmp_path: Path, slope: float, offset: float) -> None:
    content = mha_bytes(RAW, ElementToIntensityFunctionSlope=slope, ElementToIntensityFunctionOffset=offset)
    check(read_bytes(tmp_path, content), "file.rescaled", values=stored() * slope + offset)


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("cm", 10.0)])
def test_other_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    spacing, offset = text(np.array(SPACING) / factor), text(np.array(OFFSET) / factor)
    content = mha_bytes(RAW, DistanceUnits=unit, ElementSpacing=spacing, Offset=offset)
    check(read_bytes(tmp_path, content), "file.unit_converted")


@pytest.mark.parametrize("unit", ["mm", "?"])
def test_unit_millimetre_or_not_said(tmp_path: Path, unit: str) -> None:
    check(read_bytes(tmp_path, mha_bytes(RAW, DistanceUnits=unit)))


def test_negative_spacing_turns_the_axis(tmp_path: Path) -> None:
    volume = read_bytes(tmp_path, mha_bytes(RAW, ElementSpacing="0.7 -0.8 2.5"))
    check(volume, grid=truth(spacing=(0.7, -0.8, 2.5)))
    assert min(volume.grid.spacing_mm) > 0


def test_zero_spacing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, mha_bytes(RAW, ElementSpacing="0.7 0.8 0"))
    assert caught.value.code == "geometry.singular"
    assert "ElementSpacing = 0.7 0.8 0; " in caught.value.message
    assert "TransformMatrix = " in caught.value.message
    assert caught.value.where == "ct.mha"


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_refused(tmp_path: Path, packed: bool) -> None:
    content = mha_bytes(PACKED if packed else RAW, CompressedData=packed)
    for size in range(1, len(content)):
        assert refusal(tmp_path, content[:size]) in ("file.truncated", "file.header", "file.data_missing")


def test_wrong_checksum(tmp_path: Path) -> None:
    content = bytearray(mha_bytes(PACKED, CompressedData=True))
    content[-1] ^= 1
    assert refusal(tmp_path, bytes(content)) == "file.damaged"


def test_more_bytes_than_declared(tmp_path: Path) -> None:
    assert refusal(tmp_path, mha_bytes(RAW + b"12")) == "file.surplus"
    assert refusal(tmp_path, mha_bytes(zlib.compress(RAW + b"12"), CompressedData=True)) == "file.surplus"
    assert refusal(tmp_path, mha_bytes(PACKED + b"12", CompressedData=True)) == "file.damaged"


def test_inflating_stops_at_the_declared_size(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert refusal(tmp_path, mha_bytes(bomb, CompressedData=True)) == "file.surplus"


def test_sheared_matrix_keeps_its_shear(tmp_path: Path) -> None:
    sheared = ROTATION.copy()
    sheared[:, 2] += 0.3 * sheared[:, 1]
    sheared[:, 2] /= np.linalg.norm(sheared[:, 2])
    content = mha_bytes(RAW, TransformMatrix=text(sheared.T))
    check(read_bytes(tmp_path, content), grid=truth(rotation=sheared))


def test_fourth_dimension_of_one(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION
    content = mha_bytes(
        RAW, NDims=4, DimSize="7 6 5 1", ElementSpacing=text((*SPACING, 1)), Offset=text((*OFFSET, 0)),
        TransformMatrix=text(matrix.T),
    )  # fmt: skip
    check(read_bytes(tmp_path, content))


@pytest.mark.parametrize("missing", ["TransformMatrix", "Offset"])
def test_missing_place_is_doubted(tmp_path: Path, missing: str) -> None:
    volume = read_bytes(tmp_path, mha_bytes(RAW, leave_out=(missing,)))
    assert [notice.code for notice in volume.warnings] == ["file.frame_unknown"]


def test_size_of_an_element_stands_in_for_the_spacing(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, mha_bytes(RAW, leave_out=("ElementSpacing",), ElementSize=text(SPACING))))


@pytest.mark.parametrize("letters", ["RAI", "LPS", "rai", "???", "????", "", "RAIX", "RRI", "RL"])
def test_letters_that_fit_the_matrix_or_say_nothing(tmp_path: Path, letters: str) -> None:
    """ROTATION is 10 to 30 degrees off LPS: RAI where the axes come from, LPS where they go to."""
    check(read_bytes(tmp_path, mha_bytes(RAW, AnatomicalOrientation=letters)))


@pytest.mark.parametrize("letters", ["LAI", "RPI", "RAS", "LPI", "ARI", "ASL", "LPIX"])
def test_letters_that_contradict_the_matrix_are_told_and_the_matrix_counts(tmp_path: Path, letters: str) -> None:
    volume = read_bytes(tmp_path, mha_bytes(RAW, AnatomicalOrientation=letters))
    check(volume, "file.orientation_conflict")
    message = volume.warnings[0].message
    assert f"AnatomicalOrientation {letters} contradicts TransformMatrix 0." in message
    assert "the matrix counts, as in ITK" in message


def test_letters_beside_no_matrix_contradict_nothing_more(tmp_path: Path) -> None:
    content = mha_bytes(RAW, leave_out=("TransformMatrix",), AnatomicalOrientation="LPI")
    check(read_bytes(tmp_path, content), "file.frame_unknown", grid=truth(np.eye(3)))


def test_itk_as_the_witness_that_the_matrix_counts(tmp_path: Path) -> None:
    (tmp_path / "ct.mha").write_bytes(mha_bytes(RAW, AnatomicalOrientation="LPI"))
    theirs = SimpleITK.ReadImage(str(tmp_path / "ct.mha"))
    assert np.allclose(np.reshape(theirs.GetDirection(), (3, 3)), ROTATION)


def _orientations() -> list[str]:
    """All 48 ways to lay a box along the axes of the body."""
    pairs = [("L", "R"), ("P", "A"), ("S", "I")]
    return ["".join(word) for order in itertools.permutations(pairs) for word in itertools.product(*order)]


def _written_by_simpleitk(path: Path, direction: Any) -> Any:
    image = SimpleITK.GetImageFromArray(stored())
    image.SetDirection([float(cosine) for cosine in np.ravel(direction)])
    SimpleITK.WriteImage(image, str(path))
    return read_metaimage(path)


def test_no_orientation_that_simpleitk_writes_is_doubted(tmp_path: Path) -> None:
    letters = set()
    for name in _orientations():
        direction = SimpleITK.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(name)
        assert _written_by_simpleitk(tmp_path / "ct.mha", direction).warnings == ()
        letters.add(re.search(rb"AnatomicalOrientation = (\w{3})\n", (tmp_path / "ct.mha").read_bytes())[1])
    assert len(letters) == 48


def test_no_oblique_image_that_simpleitk_writes_is_doubted(tmp_path: Path) -> None:
    rotations = [*Rotation.random(150, random_state=0).as_matrix(), *_ties()]
    for rotation in rotations:
        assert _written_by_simpleitk(tmp_path / "ct.mha", rotation).warnings == ()


def _ties() -> list[np.ndarray]:
    """Rotations in which two or three letters would do as well for an axis."""
    angles = itertools.product((45, 135, -45), (0, 35.26438968, 45), (0, 45, 90))
    return [Rotation.from_euler("zyx", angle, degrees=True).as_matrix() for angle in angles]


def test_another_modality_is_not_hu(tmp_path: Path) -> None:
    volume = read_bytes(tmp_path, mha_bytes(RAW, Modality="MET_MOD_MR"))
    assert not volume.is_hu
    check(volume, "file.not_hu")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"leave_out": ("ElementSpacing",)}, "file.geometry"),
        ({"leave_out": ("DimSize",)}, "file.header"),
        ({"leave_out": ("ElementType",)}, "file.header"),
        ({"ObjectType": "Tube"}, "file.unsupported"),
        ({"ElementType": "MET_OTHER"}, "file.unsupported"),
        ({"ElementNumberOfChannels": 3}, "file.unsupported"),
        ({"BinaryData": False}, "file.unsupported"),
        ({"BinaryData": "perhaps"}, "file.header"),
        ({"ElementByteOrderMSB": True}, "file.header"),
        ({"NDims": 2}, "file.header"),
        ({"NDims": 2, "DimSize": "7 30"}, "file.dimensions"),
        ({"DimSize": "7 6 1"}, "file.dimensions"),
        ({"DimSize": "7 6 -5"}, "file.header"),
        ({"DimSize": "7 6 5.5"}, "file.header"),
        ({"DimSize": "7 6 +-5"}, "file.header"),
        ({"DimSize": "99999 99999 99999"}, "input.too_large"),
        ({"DimSize": "7 6 6"}, "file.truncated"),
        ({"ElementSpacing": "0.7 0.8"}, "file.header"),
        ({"ElementSpacing": "0.7 0.8 nan"}, "file.header"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 2"}, "file.geometry"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 1 0"}, "geometry.singular"),
        ({"Origin": "1 2 3"}, "file.header"),
        ({"DistanceUnits": "furlong"}, "file.header"),
        ({"ElementToIntensityFunctionSlope": 0}, "file.header"),
        ({"ElementToIntensityFunctionOffset": "much"}, "file.header"),
        ({"HeaderSize": -2}, "file.header"),
        ({"HeaderSize": 10}, "file.header"),
        ({"HeaderSize": -1, "CompressedData": True}, "file.header"),
        ({"ElementDataFile": "absent.raw"}, "file.data_missing"),
        ({"ElementDataFile": "../ct.raw"}, "file.data_missing"),
        ({"ElementDataFile": "/etc/passwd"}, "file.data_missing"),
        ({"ElementDataFile": "LIST"}, "file.unsupported"),
        ({"ElementDataFile": "ct%03d.raw 1 5 1"}, "file.unsupported"),
    ],
)
def test_broken_header(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    assert refusal(tmp_path, mha_bytes(RAW, **fields)) == code


def test_field_given_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"DimSize = 7 6 4\n" + mha_bytes(RAW)) == "file.header"


def test_header_without_an_end(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"ObjectType = Image\nNDims = 3\n") == "file.header"
    assert refusal(tmp_path, b"ObjectType = " + b" " * 3_000_000 + b"x") == "file.header"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]),
    name=st.sampled_from(["ct.mha", "ct.mhd"]),
    packed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_what_simpleitk_writes(
    tmp_path: Path, shape: Any, angles: Any, spacing: Any, origin: Any, dtype: str, name: str, packed: bool, seed: int
) -> None:
    array = np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(Rotation.from_euler("xyz", angles, degrees=True).as_matrix().ravel())
    SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=packed)
    volume = read_metaimage(tmp_path / name)
    assert np.array_equal(volume.array, array.astype(np.float32))
    for index in [(0, 0, 0), tuple(n - 1 for n in shape), (1, 0, 1)]:
        place = image.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
        assert np.abs(volume.grid.to_mm(index) - place).max() < 1e-3


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    big_endian=st.booleans(),
    packed=st.booleans(),
    size=st.sampled_from([None, 0, 7, 10**6]),
    scale=st.sampled_from([(1, 0), (2, -24), (-1, 5)]),
    unit=st.sampled_from([("mm", 1.0), ("um", 1e-3), ("cm", 10.0)]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    detached=st.booleans(),
    from_end=st.booleans(),
)
def test_pitfalls_together(
    tmp_path: Path, big_endian: bool, packed: bool, size: Any, scale: Any, unit: Any, signs: Any, detached: bool,
    from_end: bool,
) -> None:  # fmt: skip
    raw = stored(">i2" if big_endian else "<i2").tobytes()
    data = zlib.compress(raw) if packed else raw
    spacing = np.array(SPACING) * signs
    fields: dict[str, Any] = {
        "BinaryDataByteOrderMSB": big_endian,
        "CompressedData": packed,
        "ElementToIntensityFunctionSlope": scale[0],
        "ElementToIntensityFunctionOffset": scale[1],
        "DistanceUnits": unit[0],
        "ElementSpacing": text(spacing / unit[1]),
        "Offset": text(np.array(OFFSET) / unit[1]),
    }
    expected = ["file.unit_converted"] if unit[1] != 1 else []
    expected += ["file.rescaled"] if scale != (1, 0) else []
    if packed and size is not None:
        fields["CompressedDataSize"] = size
        expected += ["file.size_ignored"]
    if from_end and not packed:
        fields["HeaderSize"], data = -1, b"in front" + data
    if detached:
        fields["ElementDataFile"] = "voxels"
        (tmp_path / "voxels").write_bytes(data)
    volume = read_bytes(tmp_path, mha_bytes(b"" if detached else data, **fields), "any name")
    check(volume, *expected, values=stored() * scale[0] + scale[1], grid=truth(spacing=spacing))
