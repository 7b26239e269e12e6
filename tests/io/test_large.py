"""Whole-body CTs are ordinary: read for real, every voxel right, within a bound of time and memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import Grid, Volume
from imaging.simulation.dicom_encoding import set_pixels
from imaging.simulation.dicom_series import SeriesOptions, ds, make_series, uid

STEP_MM = 0.6
#: Least free disk for the larger one, in bytes.
ROOM = 3 * 2**30

#: Reads the series in a process of its own: each voxel is compared with the formula of `write_large`.
PROBE = """
import sys, time
import numpy as np
import imaging, imaging.io.dicom_volume, imaging.io.dicom_codecs, imaging.io.dicom_multiframe
def peak():  # of this process alone; getrusage would count what the one it was forked from held
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
imaging.read_volume(sys.argv[2])
before, started = peak(), time.perf_counter()
volume = imaging.read_volume(sys.argv[1])
print(time.perf_counter() - started, (peak() - before) / volume.array.nbytes)
slices, rows, columns = volume.array.shape
print(slices, rows, columns, *[notice.code for notice in volume.warnings])
plane = ((np.arange(rows)[:, None] * 3 + np.arange(columns)[None] * 7) % 1500 - 1000).astype(np.float32)
print(all(np.array_equal(one, plane + k % 97) for k, one in enumerate(volume.array)))
print(np.abs(volume.grid.to_mm((slices - 1, rows - 1, columns - 1))
      - [-180 + 0.7 * (columns - 1), -180 + 0.7 * (rows - 1), 0.6 * (slices - 1)]).max() < 1e-6)
"""


def write_large(folder: Path, shape: tuple[int, int, int], syntax: str) -> None:
    """Different HU in each slice; one image at a time, all of it but place, number and pixels being the same."""
    slices, rows, columns = shape
    plane = ((np.arange(rows)[:, None] * 3 + np.arange(columns)[None] * 7) % 1500 - 1000).astype(np.int16)
    grid = Grid.from_spacing((1, rows, columns), spacing_mm=(STEP_MM, 0.7, 0.7), origin_mm=(-180.0, -180.0, 0.0))
    (image,) = make_series(Volume(plane[None].astype(np.float32), grid), SeriesOptions(intercept=0))
    folder.mkdir()
    for k in range(slices):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid("large", str(k))
        image.InstanceNumber = slices - k
        image.ImagePositionPatient = ["-180", "-180", ds(STEP_MM * k)]
        set_pixels(image, plane + np.int16(k % 97), syntax)
        image.save_as(folder / f"{k * 7919 % slices}", enforce_file_format=True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied at once, not after three further runs as pytest does."""
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip(f"needs {ROOM:,} bytes of free disk")
    yield tmp_path / "large"
    shutil.rmtree(tmp_path / "large", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "syntax"), [((1500, 512, 512), "explicit"), ((800, 1024, 1024), "explicit"), ((150, 512, 512), "rle")]
)
def test_ordinary_sizes_are_read(
    folder: Path, shape: tuple[int, int, int], syntax: str, record_property: Callable[[str, object], None]
) -> None:
    write_large(folder, shape, syntax)
    write_large(folder.parent / "tiny", (3, 32, 32), syntax)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, folder, folder.parent / "tiny"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    cost, sizes, *checks = done.stdout.splitlines()
    record_property("seconds and share of the array", cost)
    seconds, memory = (float(number) for number in cost.split())
    assert sizes == " ".join(str(size) for size in shape)
    assert checks == ["True", "True"]
    assert memory <= 1.5  # of the float32 array, over import
    assert seconds < 60
