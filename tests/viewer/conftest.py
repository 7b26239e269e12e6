"""An asymmetric phantom whose every direction can be told apart, and a result on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.findings import Finding, OperatingPoint, Report
from imaging.geometry import Grid, Volume
from imaging.geometry.volume import Origin
from imaging.provenance import Provenance

SERIES = "1.2.826.0.1.3680043.8.498.1"

#: LPS mm of three marks, none of which is the mirror image of another, and their diameters.
MARKS = (((-41.0, -22.0, -160.0), 10.0), ((57.0, 18.0, -100.0), 6.0), ((-20.0, 35.0, -60.0), 8.0))


def axial_grid() -> Grid:
    return Grid.from_spacing((60, 80, 96), spacing_mm=(2.5, 1.5, 1.5), origin_mm=(-71.0, -62.0, -190.0))


def phantom(grid: Grid | None = None) -> Volume:
    """Air, a body, and marks: bone on the patient's left, water at the back, a bright dot at the top."""
    grid = axial_grid() if grid is None else grid
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    array = np.full(grid.shape, -850.0, dtype=np.float32)
    array[x > 60] = 700.0
    array[(y > 45) & (x <= 60)] = 0.0
    array[(z > -52) & (x <= 60) & (y <= 45)] = 300.0
    for centre, diameter in MARKS:
        array[((points - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter / 2) ** 2] = 40.0
    return Volume(array, grid, origin=Origin(seriesuid=SERIES, format="dicom", study_date="20260102"))


def findings() -> tuple[Finding, ...]:
    return tuple(
        Finding(
            number=number,
            tracking_uid=f"{SERIES}.{number}",
            centre_mm=centre,
            score=0.9 - 0.2 * number,
            logit=1.0,
            diameter_mm=diameter,
            side="right" if centre[0] < 0 else "left",
            zone=("lower", "middle", "upper")[number - 1],
            attributes={"solid": 0.8, "spiculated": 0.3},
        )
        for number, (centre, diameter) in enumerate(MARKS, start=1)
    )


def a_report(**changes) -> Report:
    values = {
        "seriesuid": SERIES,
        "study_instance_uid": "1.2.3",
        "study_date": "20260102",
        "findings": findings(),
        "notices": (),
        "operating_point": OperatingPoint(0.3, 1.5, "a phantom"),
        "provenance": Provenance("nodulus", None, "phantom-weights", "0" * 64),
        "grid": axial_grid().to_json(),
    }
    return Report(**(values | changes))


def a_map(grid: Grid) -> np.ndarray:
    """1 at the centre of the first mark, falling off with distance."""
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    return np.exp(-((points - np.asarray(MARKS[0][0])) ** 2).sum(axis=-1) / 200).astype(np.float32)


def nodule_labels(grid: Grid) -> np.ndarray:
    points = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, (centre, diameter) in enumerate(MARKS, start=1):
        labels[((points - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter / 2) ** 2] = number
    return labels


@pytest.fixture
def volume() -> Volume:
    return phantom()


@pytest.fixture
def session(volume, tmp_path: Path):
    """A session with a result and a folder for its decisions."""
    from pipelines.viewer.session import Session

    session = Session(volume, reviewer="Dr. A. Reader")
    grid = volume.grid
    maps = {"nodules": (nodule_labels(grid), grid), "grad_cam": (a_map(grid), grid), "similarity": (a_map(grid), grid)}
    session.set_result(a_report(), maps, folder=tmp_path / "result")
    return session
