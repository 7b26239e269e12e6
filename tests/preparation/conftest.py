"""Small collections laid out exactly as the public ones: real DICOM and MetaImage files of simulated chests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import Volume
from imaging.simulation.dicom_series import SeriesOptions, make_series, save
from imaging.simulation.thorax import simulate_thorax

SHAPE, SPACING_MM = (48, 96, 96), (6.0, 3.6, 3.6)
#: The ball that a scan "with a nodule" shows, in mm.
DIAMETER_MM = 30.0


@dataclass(frozen=True)
class Chests:
    """A chest as it is, the same with a ball in its right lung, and where that is."""

    clear: Volume
    ball: Volume
    centre_index: tuple[int, int, int]

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """LPS."""
        x, y, z = (float(v) for v in self.ball.grid.to_mm(np.array(self.centre_index)))
        return x, y, z


@pytest.fixture(scope="session")
def chests() -> Chests:
    thorax = simulate_thorax(rng=np.random.default_rng(0), shape=SHAPE, spacing_mm=SPACING_MM, nodules=0)
    grid = thorax.volume.grid
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    slice_, row, column = np.round(np.argwhere(thorax.lungs == 1).mean(axis=0)).astype(int).tolist()
    centre = (slice_, row, column)
    inside = np.linalg.norm(grid.to_mm(index) - grid.to_mm(np.array(centre)), axis=-1) < DIAMETER_MM / 2
    ball = np.where(inside, 40.0, thorax.volume.array).astype(np.float32)
    return Chests(thorax.volume, Volume(ball, grid), centre)


def write_dicom(volume: Volume, folder: Path, *, patient: str, key: str, **header: object) -> list[object]:
    """A series called as the archive's downloader calls its files; the data sets, slice by slice."""
    options = SeriesOptions(key=key, study_key=key, patient_id=patient, attributes=dict(header))
    images = make_series(volume, options)
    save(images, folder, names=[f"1-{number + 1:03d}.dcm" for number in range(len(images))])
    return list(images)


# --- LIDC-IDRI -------------------------------------------------------------------------------------------------------

RATED = {"subtlety": 5, "internalStructure": 1, "calcification": 6, "sphericity": 4, "margin": 5, "lobulation": 1}
RATED |= {"spiculation": 1, "texture": 5, "malignancy": 3}


def outline_xml(image: str, points: Sequence[tuple[int, int]], *, inclusion: str = "TRUE") -> str:
    """One region as the readers' software wrote it: (column, row)."""
    edge = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>0.0 </imageZposition><imageSOP_UID>{image}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edge}</roi>"
    )


def nodule_xml(regions: str, ratings: dict[str, int] | None) -> str:
    rated = "".join(f"<{name}>{value}</{name}>" for name, value in (ratings or {}).items())
    given = f"<characteristics>{rated}</characteristics>" if ratings else ""
    return f"<unblindedReadNodule><noduleID>1</noduleID>{given}{regions}</unblindedReadNodule>"


def reading_xml(seriesuid: str, sessions: Sequence[str], *, root: str = "LidcReadMessage") -> str:
    """A file as the collection holds it, one session a reader."""
    body = "".join(
        f"<readingSession><annotationVersion>3.12</annotationVersion>"
        f"<servicingRadiologistID>anon</servicingRadiologistID>{session}</readingSession>"
        for session in sessions
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<{root} uid="1.3" xmlns="http://www.nih.gov" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<ResponseHeader><Version>1.8.1</Version><SeriesInstanceUid>{seriesuid}</SeriesInstanceUid></ResponseHeader>"
        f"{body}</{root}>"
    )


def ring(centre: tuple[float, float], radius: float) -> list[tuple[int, int]]:
    """The first pixels outside a disc of that radius, in order around it: (column, row)."""
    row, column = centre
    reach = int(radius) + 3
    inside = {
        (y, x)
        for y in range(int(row) - reach, int(row) + reach + 1)
        for x in range(int(column) - reach, int(column) + reach + 1)
        if np.hypot(y - row, x - column) < radius
    }
    touching = {(y + a, x + b) for y, x in inside for a, b in ((0, 1), (0, -1), (1, 0), (-1, 0))} - inside
    around = sorted(touching, key=lambda p: np.arctan2(p[0] - row, p[1] - column))
    return [(x, y) for y, x in around]


def ball_xml(
    chests: Chests,
    images: Sequence[object],
    *,
    shift: tuple[float, float] = (0, 0),
    ratings: dict[str, int] | None = None,
) -> str:
    """One reader's outlines of the ball, the reader's hand shifted by some pixels."""
    regions = []
    for number, image in enumerate(images):
        height = (number - chests.centre_index[0]) * SPACING_MM[0]
        left = (DIAMETER_MM / 2) ** 2 - height**2
        if left > 0:
            centre = (chests.centre_index[1] + shift[0], chests.centre_index[2] + shift[1])
            points = ring(centre, np.sqrt(left) / SPACING_MM[1])
            regions.append(outline_xml(str(image.SOPInstanceUID), points))  # type: ignore[attr-defined]
    return nodule_xml("".join(regions), RATED | (ratings or {}))


@dataclass(frozen=True)
class Lidc:
    """A made LIDC-IDRI: its root, and the series UID of each patient's CT."""

    root: Path
    series: dict[str, str]


@pytest.fixture
def lidc(tmp_path: Path, chests: Chests) -> Lidc:
    """Patients 1 and 5 with a nodule of four and three readers, 2 and 4 with none, 3 with one of two readers."""
    root, series = tmp_path / "manifest-1600709154662", {}
    readers = {1: 4, 2: 0, 3: 2, 4: 0, 5: 3}
    for number, agreeing in readers.items():
        patient = f"LIDC-IDRI-{number:04d}"
        folder = root / "LIDC-IDRI" / patient / f"01-01-2000-NA-NA-{number}0178" / f"300{number}566.000000-NA-03192"
        images = write_dicom(chests.ball if agreeing else chests.clear, folder, patient=patient, key=patient)
        uid = str(images[0].SeriesInstanceUID)  # type: ignore[attr-defined]
        tiny = nodule_xml(outline_xml(str(images[9].SOPInstanceUID), [(40, 50)]), None)  # type: ignore[attr-defined]
        sessions = [ball_xml(chests, images, shift=(0, reader % 2)) for reader in range(agreeing)]
        sessions += [tiny] * (4 - agreeing)
        (folder / "069.xml").write_text(reading_xml(uid, sessions), encoding="utf-8")
        series[patient] = uid
    radiograph = root / "LIDC-IDRI" / "LIDC-IDRI-0001" / "01-01-2000-NA-NA-98329" / "3000923.000000-NA-62357"
    write_dicom(chests.clear, radiograph, patient="LIDC-IDRI-0001", key="dx", Modality="DX")
    (radiograph / "068.xml").write_text(reading_xml("1.2.3", ["<x/>"], root="IdriReadMessage"), encoding="utf-8")
    (root / "metadata.csv").write_text("Series UID,Collection\n", encoding="utf-8")
    return Lidc(root, series)


# --- LUNA16 ----------------------------------------------------------------------------------------------------------


def write_mhd(volume: Volume, path: Path) -> None:
    """As LUNA16's files: MetaImage with its voxels beside it, written by another library."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array.astype(np.int16))
    x, y, z = (float(v) for v in volume.grid.to_mm(np.zeros(3)))
    image.SetOrigin((x, y, z))
    image.SetSpacing(SPACING_MM[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def luna_uid(number: int) -> str:
    return f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{1000 + number}"


@pytest.fixture
def luna16(tmp_path: Path, chests: Chests) -> Path:
    """Four scans in three subsets: 0 and 2 annotated, 1 with nothing, 3 with what two readers outlined."""
    root = tmp_path / "LUNA16"
    for number, (subset, with_ball) in enumerate([(0, True), (0, False), (9, True), (1, True)]):
        write_mhd(chests.ball if with_ball else chests.clear, root / f"subset{subset}" / f"{luna_uid(number)}.mhd")
    write_mhd(chests.clear, root / "seg-lungs-LUNA16" / f"{luna_uid(0)}.mhd")
    x, y, z = chests.centre_mm
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    lines = [f"{luna_uid(n)},{x!r},{y!r},{z!r},{DIAMETER_MM}\n" for n in (0, 2, 77)]
    (root / "annotations.csv").write_text(head + "".join(lines), encoding="utf-8")
    (root / "candidates_V2.csv").write_text(
        "seriesuid,coordX,coordY,coordZ,class\n"
        + "".join(f"{luna_uid(n)},{x!r},{y!r},{z!r},{int(n != 1)}\n" for n in range(3)),
        encoding="utf-8",
    )
    scripts = root / "evaluationScript" / "annotations"
    scripts.mkdir(parents=True)
    rows = f"{luna_uid(3)},{x!r},{y!r},{z!r},{DIAMETER_MM}\n{luna_uid(1)},0.0,0.0,0.0,-1.0\n"
    (scripts / "annotations_excluded.csv").write_text(head + rows, encoding="utf-8")
    return root


# --- NLST ------------------------------------------------------------------------------------------------------------

CTAB = "dataset_version,pid,sct_ab_desc,sct_ab_num,sct_epi_loc,sct_long_dia,sct_margins,sct_perp_dia,sct_pre_att,"
CTAB += "sct_slice_num,study_yr,sct_found_after_comp\n"


@dataclass(frozen=True)
class Nlst:
    root: Path
    ctab: Path
    screen: Path


@pytest.fixture
def nlst(tmp_path: Path, chests: Chests) -> Nlst:
    """Seven exams of six participants: a nodule, none, micronodules, a calcified one, not diagnostic, never read."""
    root = tmp_path / "manifest-NLST_allCT"
    exams = [("100012", 1999, True), ("100012", 2000, False), ("100158", 1999, False), ("100242", 2001, True)]
    exams += [("100280", 1999, False), ("100517", 1999, False), ("200001", 1999, False)]
    for pid, year, with_ball in exams:
        study = root / "NLST" / pid / f"01-02-{year}-NA-NLST-LSS-{pid[-2:]}{year}"
        volume = chests.ball if with_ball else chests.clear
        header = {"StudyDate": f"{year}0102"}
        write_dicom(volume, study / "2.000000-0OPAGELSPLUSD3602.512080.00.10.75-30983", patient=pid,
                    key=f"{pid}{year}a", **header)  # fmt: skip
        if year == 1999 and with_ball:  # an exam has a localizer too
            write_dicom(volume, study / "1.000000-0OPALOCALIZER-1", patient=pid, key=f"{pid}{year}b",
                        **header, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    ctab, screen = tmp_path / "nlst_780_ctab_idc_20210527.csv", tmp_path / "nlst_780_screen_idc_20210527.csv"
    ctab.write_text(
        CTAB
        + "2011.02.03,100012,51,1,1,14,1,9,1,66,0,0\n2011.02.03,100012,59,2,.N,.N,.N,.N,.N,.N,0,0\n"
        + "2011.02.03,100012,59,1,.N,.N,.N,.N,.N,.N,1,0\n"
        + "2011.02.03,100158,52,1,.N,.N,.N,.N,.N,.N,0,0\n2011.02.03,100242,53,1,.N,.N,.N,.N,.N,.N,2,0\n",
        encoding="utf-8",
    )
    screen.write_text(
        "pid,study_yr,ctdxqual\n100012,0,1\n100012,1,1\n100158,0,1\n100242,2,2\n100280,0,3\n100517,0,1\n",
        encoding="utf-8",
    )
    return Nlst(root, ctab, screen)


# --- running the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """``nodulus prepare ...``: exit code, and what was said."""
    from pipelines.cli.main import run

    def call(*words: object) -> tuple[int, str]:
        code = run(["prepare", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call
