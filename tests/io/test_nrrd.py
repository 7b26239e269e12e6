"""NRRD: each row of the table of pitfalls, with the truth known; pynrrd and SimpleITK write the honest files."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imaging.errors import InputError
from imaging.geometry import Grid
from imaging.io.itk import read_nrrd

SHAPE = (5, 6, 7)
SPACING = (0.7, 0.8, 2.5)
ORIGIN = np.array([-90.5, -120.25, 33.0])
ROTATION = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()
#: One step along column, row and slice, as columns, in LPS.
STEPS = ROTATION * SPACING


def stored(dtype: Any = np.int16) -> np.ndarray:
    values = np.random.default_rng(0).integers(-1000, 1500, SHAPE)
    values[0, 0, 0] = -1000
    return values.astype(dtype)


def truth(steps: np.ndarray = STEPS, origin: np.ndarray = ORIGIN) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = steps[:, ::-1]
    affine[:3, 3] = origin
    return Grid(SHAPE, affine)


def vector(numbers: Any) -> str:
    return "(" + ",".join(repr(float(number)) for number in numbers) + ")"


def vectors(columns: np.ndarray) -> str:
    return " ".join(vector(column) for column in columns.T)


def nrrd_bytes(data: bytes, *, leave_out: tuple[str, ...] = (), extra: str = "", **fields: Any) -> bytes:
    """An NRRD file, its header written line by line; an underscore in a name of `fields` stands for a space."""
    lines = {
        "type": "short",
        "dimension": 3,
        "space": "left-posterior-superior",
        "sizes": "7 6 5",
        "space directions": vectors(STEPS),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": vector(ORIGIN),
    } | {name.replace("_", " "): value for name, value in fields.items()}
    header = "".join(f"{name}: {value}\n" for name, value in lines.items() if name not in leave_out)
    return f"NRRD0005\n# a comment\n{header}{extra}\n".encode() + data


def read_bytes(folder: Path, content: bytes, name: str = "ct.nrrd") -> Any:
    (folder / name).write_bytes(content)
    return read_nrrd(folder / name)


def refusal(folder: Path, content: bytes, name: str = "ct.nrrd") -> str:
    with pytest.raises(InputError) as caught:
        read_bytes(folder, content, name)
    return caught.value.code


def check(volume: Any, *expected: str, values: np.ndarray | None = None, grid: Grid | None = None) -> None:
    assert np.array_equal(volume.array, stored() if values is None else values)
    assert volume.grid.same_as(grid or truth())
    assert [notice.code for notice in volume.warnings] == list(expected)


RAW = stored().tobytes()


@pytest.mark.parametrize(
    ("names", "flip"),
    [
        (("left-posterior-superior", "LPS", "lps"), (1, 1, 1)),
        (("right-anterior-superior", "RAS", "ras"), (-1, -1, 1)),
        (("left-anterior-superior", "LAS", "Left-Anterior-Superior"), (1, -1, 1)),
    ],
)
def test_named_spaces(tmp_path: Path, names: tuple[str, ...], flip: tuple[int, int, int]) -> None:
    turn = np.diag(flip).astype(float)
    for name in names:
        content = nrrd_bytes(
            RAW, space=name, **{"space directions": vectors(turn @ STEPS), "space origin": vector(turn @ ORIGIN)}
        )
        check(read_bytes(tmp_path, content))


def test_spacings_only(tmp_path: Path) -> None:
    content = nrrd_bytes(
        RAW, leave_out=("space", "space directions", "space origin"), spacings="0.7 0.8 2.5", units='"mm" "mm" "mm"'
    )
    check(read_bytes(tmp_path, content), "file.frame_unknown", grid=truth(np.diag(SPACING), np.zeros(3)))


def test_space_dimension_without_a_name(tmp_path: Path) -> None:
    content = nrrd_bytes(RAW, leave_out=("space",), **{"space dimension": 3})
    check(read_bytes(tmp_path, content), "file.frame_unknown")


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "3D-left-handed"])
def test_space_that_does_not_know_the_patient(tmp_path: Path, space: str) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(RAW, space=space)), "file.frame_unknown")


def test_missing_origin_is_doubted(tmp_path: Path) -> None:
    content = nrrd_bytes(RAW, leave_out=("space origin",))
    check(read_bytes(tmp_path, content), "file.frame_unknown", grid=truth(origin=np.zeros(3)))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("microns", 1e-3), ("cm", 10.0)])
def test_space_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    content = nrrd_bytes(
        RAW,
        **{
            "space directions": vectors(STEPS / factor),
            "space origin": vector(ORIGIN / factor),
            "space units": f'"{unit}" "{unit}" "{unit}"',
        },
    )
    check(read_bytes(tmp_path, content), "file.unit_converted")


def test_space_units_in_millimetres(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(RAW, **{"space units": '"mm" "mm" "mm"'})))


def test_sheared_directions_keep_their_shear(tmp_path: Path) -> None:
    sheared = STEPS.copy()
    sheared[:, 2] += 0.3 * sheared[:, 1]
    volume = read_bytes(tmp_path, nrrd_bytes(RAW, **{"space directions": vectors(sheared)}))
    check(volume, grid=truth(sheared))
    assert not volume.grid.is_orthogonal


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("gz", gzip.compress), ("bzip2", bz2.compress)]
)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_packed(tmp_path: Path, encoding: str, pack: Any, endian: str) -> None:
    raw = stored(">i2" if endian == "big" else "<i2").tobytes()
    check(read_bytes(tmp_path, nrrd_bytes(pack(raw), encoding=encoding, endian=endian)))


def test_skips(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(b"12345" + RAW, byte_skip=5)))
    check(read_bytes(tmp_path, nrrd_bytes(b"anything at all" + RAW, byte_skip=-1)))
    check(read_bytes(tmp_path, nrrd_bytes(b"one\ntwo\n" + RAW, line_skip=2)))
    check(read_bytes(tmp_path, nrrd_bytes(b"one\ntwo\n12345" + RAW, line_skip=2, byteskip=5)))
    check(
        read_bytes(
            tmp_path, nrrd_bytes(b"one\n" + gzip.compress(b"12345" + RAW), encoding="gz", lineskip=1, byteskip=5)
        )
    )


def test_voxels_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "ct.raw").write_bytes(RAW)
    for name in ("data file", "datafile"):
        check(read_bytes(tmp_path, nrrd_bytes(b"", **{name: "ct.raw"}), "ct.nhdr"))
        check(read_bytes(tmp_path, nrrd_bytes(b"", **{name: "./ct.raw"})[:-1], "ct.nhdr"))


def test_windows_line_ends(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(b"").replace(b"\n", b"\r\n") + RAW))


def test_axis_of_one_step_without_a_direction(tmp_path: Path) -> None:
    first = nrrd_bytes(RAW, dimension=4, sizes="1 7 6 5", **{"space directions": "none " + vectors(STEPS)})
    last = nrrd_bytes(RAW, dimension=4, sizes="7 6 5 1", **{"space directions": vectors(STEPS) + " none"})
    check(read_bytes(tmp_path, first))
    check(read_bytes(tmp_path, last))


@pytest.mark.parametrize("kinds", ["domain domain time", "vector domain domain", "space list space"])
def test_an_axis_of_time_or_vectors_is_no_axis_of_a_volume(tmp_path: Path, kinds: str) -> None:
    assert refusal(tmp_path, nrrd_bytes(RAW, kinds=kinds)) == "file.dimensions"


def test_axes_of_space_or_unknown_kind_are_those_of_a_volume(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(RAW, kinds="space Space ???")))


def test_key_value_pairs_are_passed_over(tmp_path: Path) -> None:
    check(read_bytes(tmp_path, nrrd_bytes(RAW, extra="Slicer_Name:=thorax\nsizes:=1 1 1\n")))


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress])
def test_every_truncation_is_refused(tmp_path: Path, pack: Any) -> None:
    if pack is None:
        content = nrrd_bytes(RAW)
    else:
        content = nrrd_bytes(pack(RAW), encoding="gzip" if pack is gzip.compress else "bzip2")
    for size in range(1, len(content)):
        assert refusal(tmp_path, content[:size]) in ("file.truncated", "file.header", "file.damaged")


def test_wrong_checksum(tmp_path: Path) -> None:
    for pack, encoding in [(gzip.compress, "gzip"), (bz2.compress, "bzip2")]:
        packed = bytearray(pack(RAW))
        packed[len(packed) // 2] ^= 255
        assert refusal(tmp_path, nrrd_bytes(bytes(packed), encoding=encoding)) in ("file.damaged", "file.truncated")


def test_more_bytes_than_declared(tmp_path: Path) -> None:
    assert refusal(tmp_path, nrrd_bytes(RAW + b"12")) == "file.surplus"
    assert refusal(tmp_path, nrrd_bytes(gzip.compress(RAW + b"12"), encoding="gzip")) == "file.surplus"


@pytest.mark.parametrize("field", ["old min", "old max"])
def test_rescaled_values_are_not_hu(tmp_path: Path, field: str) -> None:
    volume = read_bytes(tmp_path, nrrd_bytes(RAW, **{field: 0.0}))
    assert not volume.is_hu
    check(volume, "file.not_hu")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"leave_out": ("sizes",)}, "file.header"),
        ({"leave_out": ("endian",)}, "file.header"),
        ({"endian": "middle"}, "file.header"),
        ({"leave_out": ("space directions",)}, "file.geometry"),
        ({"leave_out": ("space directions",), "spacings": "0.7 0.8"}, "file.header"),
        ({"leave_out": ("space directions",), "spacings": "0.7 0.8 nan"}, "file.header"),
        ({"space_directions": "(1,0,0) (0,1,0) none"}, "file.geometry"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "file.header"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0)"}, "file.header"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "geometry.singular"),
        ({"space_origin": "1 2 3"}, "file.header"),
        ({"space": "left-posterior-superior-time"}, "file.unsupported"),
        ({"space_units": '"mm" "mm"'}, "file.header"),
        ({"space_units": '"mm" "mm" "lightyear"'}, "file.header"),
        ({"type": "block"}, "file.unsupported"),
        ({"encoding": "hex"}, "file.unsupported"),
        ({"encoding": "ascii"}, "file.unsupported"),
        ({"dimension": 4}, "file.header"),
        ({"dimension": 4, "sizes": "2 7 6 5"}, "file.dimensions"),
        ({"dimension": 2, "sizes": "7 30"}, "file.dimensions"),
        ({"sizes": "7 30 1"}, "file.dimensions"),
        ({"sizes": "7 6 -5"}, "file.header"),
        ({"sizes": "7 6 x"}, "file.header"),
        ({"sizes": "999999 999999 999999"}, "input.too_large"),
        ({"sizes": "7 6 6"}, "file.truncated"),
        ({"byte_skip": -2}, "file.header"),
        ({"byte_skip": -1, "encoding": "gzip"}, "file.header"),
        ({"byte_skip": 99999999}, "file.truncated"),
        ({"line_skip": -1}, "file.header"),
        ({"line_skip": 99}, "file.header"),
        ({"data_file": "absent.raw"}, "file.data_missing"),
        ({"data_file": "../../etc/passwd"}, "file.data_missing"),
        ({"data_file": "/etc/passwd"}, "file.data_missing"),
        ({"data_file": "LIST"}, "file.unsupported"),
        ({"data_file": "ct%03d.raw 1 5 1"}, "file.unsupported"),
        ({"extra": "no colon\n"}, "file.header"),
        ({"extra": "sizes: 7 6 4\n"}, "file.header"),
    ],
)
def test_broken_header(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    assert refusal(tmp_path, nrrd_bytes(RAW, **fields)) == code


def test_a_refused_place_names_its_fields(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, nrrd_bytes(RAW, space_directions="(1,0,0) (0,1,0) (0,0,0)"))
    assert "space directions: (1,0,0) (0,1,0) (0,0,0); space origin: " in caught.value.message
    assert caught.value.where == "ct.nrrd"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    steps=st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    space=st.sampled_from(sorted({"left-posterior-superior", "right-anterior-superior", "left-anterior-superior"})),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]),
    encoding=st.sampled_from(["raw", "gzip", "bzip2"]),
    detached=st.booleans(),
)
def test_what_pynrrd_writes(
    tmp_path: Path, shape: Any, steps: Any, origin: Any, space: str, dtype: str, encoding: str, detached: bool
) -> None:
    matrix = np.reshape(steps, (3, 3)) + 10 * np.eye(3)  # diagonally dominant: never singular
    array = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    header = {"space": space, "space directions": matrix.T, "space origin": np.array(origin), "encoding": encoding}
    path = tmp_path / ("ct.nhdr" if detached else "ct.nrrd")
    nrrd.write(str(path), array, header, index_order="C")
    flip = {"l": [1, 1, 1], "r": [-1, -1, 1]}[space[0]]
    turn = np.diag([flip[0], 1 if space.startswith("left-posterior") else -1, 1])
    affine = np.eye(4)
    # In C order pynrrd stores the vectors in the order of the array's axes reversed.
    affine[:3, :3] = (turn @ np.asarray(nrrd.read_header(str(path))["space directions"], dtype=float).T)[:, ::-1]
    affine[:3, 3] = turn @ origin
    volume = read_nrrd(path)
    assert np.array_equal(volume.array, array.astype(np.float32))
    assert volume.grid.same_as(Grid(shape, affine))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    name=st.sampled_from(["ct.nrrd", "ct.nhdr"]),
    packed=st.booleans(),
)
def test_what_simpleitk_writes(
    tmp_path: Path, shape: Any, angles: Any, spacing: Any, origin: Any, name: str, packed: bool
) -> None:
    array = np.random.default_rng(1).integers(-1000, 1500, shape).astype(np.int16)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(Rotation.from_euler("xyz", angles, degrees=True).as_matrix().ravel())
    SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=packed)
    volume = read_nrrd(tmp_path / name)
    assert np.array_equal(volume.array, array.astype(np.float32))
    for index in [(0, 0, 0), tuple(n - 1 for n in shape)]:
        place = image.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
        assert np.abs(volume.grid.to_mm(index) - place).max() < 1e-3


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    space=st.sampled_from([("lps", (1, 1, 1)), ("RAS", (-1, -1, 1)), ("left-anterior-superior", (1, -1, 1))]),
    unit=st.sampled_from([None, ("mm", 1.0), ("um", 1e-3)]),
    encoding=st.sampled_from(["raw", "gzip", "bzip2"]),
    big_endian=st.booleans(),
    skips=st.tuples(st.integers(0, 2), st.integers(0, 9)),
    axis=st.sampled_from(["", "first", "last"]),
    shear=st.booleans(),
    detached=st.booleans(),
)
def test_pitfalls_together(
    tmp_path: Path, space: Any, unit: Any, encoding: str, big_endian: bool, skips: Any, axis: str, shear: bool,
    detached: bool,
) -> None:  # fmt: skip
    steps = STEPS.copy()
    steps[:, 2] += 0.3 * steps[:, 1] * shear
    turn = np.diag(space[1]).astype(float) / (unit[1] if unit else 1.0)
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    raw = stored(">i2" if big_endian else "<i2").tobytes()
    data = b"line\n" * skips[0] + pack(b"x" * skips[1] + raw)
    none = {"": "{}", "first": "none {}", "last": "{} none"}[axis]
    fields: dict[str, Any] = {
        "space": space[0],
        "space directions": none.format(vectors(turn @ steps)),
        "space origin": vector(turn @ ORIGIN),
        "endian": "big" if big_endian else "little",
        "encoding": encoding,
        "line skip": skips[0],
        "byte skip": skips[1],
        "dimension": 4 if axis else 3,
        "sizes": {"": "7 6 5", "first": "1 7 6 5", "last": "7 6 5 1"}[axis],
    }
    if unit:
        fields["space units"] = f'"{unit[0]}" "{unit[0]}" "{unit[0]}"'
    if detached:
        fields["data file"] = "voxels"
        (tmp_path / "voxels").write_bytes(data)
    volume = read_bytes(tmp_path, nrrd_bytes(b"" if detached else data, **fields), "any name")
    check(volume, *(["file.unit_converted"] if unit and unit[1] != 1 else []), grid=truth(steps))
