"""The written series are valid, the same each time, and what independent readers see is the truth."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from strategies import make_volume, rotation

from imaging.errors import UsageError
from imaging.geometry import Volume
from imaging.simulation.dicom_encoding import TRANSFER_SYNTAXES
from imaging.simulation.dicom_series import SeriesOptions, instance_numbers, write_series

SHAPE = (4, 40, 36)


def tilted() -> Volume:
    axes = rotation(15, 0) @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    return make_volume(SHAPE, axes=axes, lean_mm=(0.0, 0.1, 0.2))


@pytest.mark.parametrize("enhanced", [False, True], ids=["single", "enhanced"])
@pytest.mark.parametrize("syntax", [name for name in TRANSFER_SYNTAXES if name != "deflated"])
def test_the_validator_finds_nothing(syntax: str, enhanced: bool, tmp_path: Path, require_tool) -> None:
    """dciodvfy cannot inflate, so deflated files are left out; their data set is that of explicit ones."""
    require_tool(shutil.which("dciodvfy"), "dciodvfy (dicom3tools)")
    for path in write_series(tilted(), tmp_path, options=SeriesOptions(transfer_syntax=syntax), enhanced=enhanced):
        result = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        complaints = [line for line in result.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        assert complaints == []
        assert "CTImage" in result.stderr


@pytest.mark.parametrize("enhanced", [False, True], ids=["single", "enhanced"])
def test_the_same_call_writes_the_same_bytes(enhanced: bool, tmp_path: Path) -> None:
    first = write_series(make_volume(), tmp_path / "a", enhanced=enhanced, rng=np.random.default_rng(7))
    second = write_series(make_volume(), tmp_path / "b", enhanced=enhanced, rng=np.random.default_rng(7))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_pydicom_sees_each_slice_where_it_is(tmp_path: Path) -> None:
    volume = tilted()
    for place, path in enumerate(write_series(volume, tmp_path, options=SeriesOptions(slope=0.5, intercept=-1024))):
        dataset = dcmread(path)
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert np.array_equal(hu, volume.array[place])
        row, column = 17, 30
        point = (
            np.array(dataset.ImagePositionPatient, dtype=float)
            + np.array(dataset.ImageOrientationPatient[:3], dtype=float) * float(dataset.PixelSpacing[1]) * column
            + np.array(dataset.ImageOrientationPatient[3:], dtype=float) * float(dataset.PixelSpacing[0]) * row
        )
        assert point == pytest.approx(volume.grid.to_mm((place, row, column)), abs=1e-6)


def test_highdicom_sees_the_frames_where_they_are(tmp_path: Path) -> None:
    import highdicom

    truth = make_volume(SHAPE)
    (path,) = write_series(truth, tmp_path, enhanced=True)
    volume = highdicom.imread(path).get_volume()
    for index in ((0, 0, 0), (3, 39, 35), (1, 7, 30)):
        found = np.rint(volume.map_reference_to_indices(truth.grid.to_mm(index)[None])[0]).astype(int)
        assert volume.array[tuple(found)] == truth.array[index]


def test_simpleitk_sees_the_same_volume(tmp_path: Path) -> None:
    import SimpleITK as sitk

    truth = make_volume(SHAPE)
    write_series(truth, tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    for index in ((0, 0, 0), (3, 39, 35), (2, 11, 4)):
        place = image.TransformPhysicalPointToIndex(truth.grid.to_mm(index).tolist())
        assert image.GetPixel(place) == truth.array[index]


def test_orders() -> None:
    assert instance_numbers(4, "sorted") == [1, 2, 3, 4]
    assert instance_numbers(4, "reversed") == [4, 3, 2, 1]
    assert sorted(instance_numbers(9, "shuffled")) == list(range(1, 10)) != instance_numbers(9, "shuffled")


def test_values_beyond_the_stored_bits_are_held(tmp_path: Path) -> None:
    volume = make_volume()
    loud = Volume(volume.array * 1000, volume.grid)
    (path, *_) = write_series(loud, tmp_path, order="sorted", options=SeriesOptions(bits_stored=12, signed=False))
    stored = dcmread(path).pixel_array
    assert (stored.min(), stored.max()) == (0, 4095)


def test_unknown_syntax(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_series(make_volume(), tmp_path, options=SeriesOptions(transfer_syntax="zstd"))
    assert caught.value.code == "usage.option"
