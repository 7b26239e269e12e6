"""One CT in every format gives the same volume: equal HU, and places within 0.001 mm."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from imaging import Volume, list_series, read_volume
from imaging.geometry import Grid
from imaging.io.nifti import write_nifti
from imaging.simulation.dicom_series import write_series


def write_all(volume: Volume, folder: Path, *, packed: bool = True) -> dict[str, Path]:
    """The volume as zip, NIfTI, MetaImage and NRRD, each by another writer where there is one."""
    words = volume.array.astype(np.int16)
    paths = {name: folder / name for name in ("ct.nii", "ct.nii.gz", "ct.mha", "ct.mhd", "ct.nrrd", "ras.nrrd")}
    write_nifti(words, volume.grid, paths["ct.nii"])
    write_nifti(words, volume.grid, paths["ct.nii.gz"])
    image = SimpleITK.GetImageFromArray(words)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(tuple(volume.grid.to_mm((0, 0, 0))))
    image.SetDirection(volume.grid.direction[:, ::-1].ravel())
    for name in ("ct.mha", "ct.mhd", "ct.nrrd"):
        SimpleITK.WriteImage(image, str(paths[name]), useCompression=packed and name != "ct.mhd")
    to_ras = np.diag([-1.0, -1.0, 1.0])
    header = {
        "space": "right-anterior-superior",
        "space directions": (to_ras @ volume.grid.affine[:3, [2, 1, 0]]).T,
        "space origin": to_ras @ volume.grid.affine[:3, 3],
        "encoding": "gzip" if packed else "raw",
    }
    nrrd.write(str(paths["ras.nrrd"]), words.transpose(2, 1, 0), header)
    return paths


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder.parent))
    return path


def check_equal(one: Volume, other: Volume) -> None:
    assert np.array_equal(one.array, other.array)
    assert np.abs(one.grid.affine - other.grid.affine).max() < 1e-3
    assert one.grid.same_as(other.grid, tolerance_mm=1e-3)
    assert one.is_hu
    assert other.is_hu


@pytest.mark.parametrize("turn", [(0, 0, 0), (0, 0, 180), (12, -7, 25)])
@pytest.mark.parametrize("upwards", [True, False])
def test_one_phantom_in_every_format(tmp_path: Path, turn: tuple[float, float, float], upwards: bool) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(-1024, 1500, (9, 20, 30)).astype(np.float32)
    affine = np.eye(4)
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=float) * (2.5 if upwards else -2.5, 0.683594, 0.683594)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ axes
    affine[:3, 3] = (-170.123, -303.4, -95.75)
    volume = Volume(array, Grid(array.shape, affine))
    write_series(volume, tmp_path / "dicom")
    dicom = read_volume(tmp_path / "dicom")
    expected = volume if upwards else None  # DICOM's slices are sorted along their normal, whatever the order stored
    if expected is not None:
        check_equal(dicom, expected)
    check_equal(read_volume(zipped(tmp_path / "dicom", tmp_path / "ct.zip")), dicom)
    for path in write_all(dicom, tmp_path).values():
        check_equal(read_volume(path), dicom)
        (line,) = list_series(path)
        assert line.seriesuid == read_volume(path).seriesuid
        assert line.seriesuid.startswith("sha256:")


@pytest.mark.parametrize("header", ["ct.mhd", "ct.nhdr", "ct.hdr"])
def test_header_and_voxels_within_one_zip(tmp_path: Path, header: str) -> None:
    array = np.random.default_rng(0).integers(-1024, 1500, (4, 5, 6)).astype(np.int16)
    (tmp_path / "case").mkdir()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "case" / header))
    from_folder = read_volume(tmp_path / "case")
    from_zip = read_volume(zipped(tmp_path / "case", tmp_path / "case.zip"))
    assert np.array_equal(from_folder.array, array)
    check_equal(from_folder, from_zip)
    assert from_folder.seriesuid == from_zip.seriesuid
    assert from_folder.warnings == from_zip.warnings == ()


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["LIDC-IDRI-0001.zip", "LIDC-IDRI-0132.zip"])
def test_one_patient_in_every_format(shared_data: Path, tmp_path: Path, name: str) -> None:
    dicom = read_volume(shared_data / "ct" / name)
    with zipfile.ZipFile(shared_data / "ct" / name) as archive:
        archive.extractall(tmp_path / "dicom")
    check_equal(read_volume(tmp_path / "dicom"), dicom)
    for path in write_all(dicom, tmp_path, packed=False).values():
        check_equal(read_volume(path), dicom)
