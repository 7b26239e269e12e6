"""Two studies of the asymmetric phantom: the same marks, moved by a known affine, one grown, one gone, one new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from viewer.conftest import SERIES, a_report, axial_grid, findings, phantom

from imaging.geometry import Grid
from imaging.geometry.volume import Origin
from imaging.registration.alignment import Alignment
from pipelines.viewer.session import Session

#: Where the other study lies: turned by no angle, stretched along the body, shifted.
MATRIX = np.array([[1.0, 0, 0, 12.0], [0, 1.0, 0, -7.0], [0, 0, 0.9, 30.0], [0, 0, 0, 1]])
ALIGNMENT = Alignment(MATRIX, 0.97)
#: mm3 of the same marks, then and now: grown, unchanged, only now.
VOLUMES = ((262.0, 524.0), (110.0, 113.0))


def a_session(volume, rows, folder):
    session = Session(volume, reviewer="A")
    session.set_result(a_report(findings=rows, seriesuid=volume.seriesuid), {}, folder=folder)
    return session


def now_and_then(folder, *, then_date="20251003"):
    """A session of today with three findings, and one 91 days before with two of them and one that is gone."""
    marks = findings()
    now = [replace(marks[n], volume_mm3=VOLUMES[n][1] if n < 2 else None) for n in range(3)]
    then = [
        replace(marks[n], centre_mm=moved(marks[n].centre_mm), volume_mm3=VOLUMES[n][0], tracking_uid=f"2.25.{n}")
        for n in range(2)
    ]
    then.append(replace(marks[2], centre_mm=(70.0, -50.0, -20.0), tracking_uid="2.25.9", side="left"))
    grid = axial_grid()
    volume = phantom()
    other = replace(volume, grid=Grid(grid.shape, MATRIX @ grid.affine), origin=an_origin(f"{SERIES}.9", then_date))
    first = replace(volume, origin=an_origin(SERIES, "20260102"))
    return a_session(first, tuple(now), folder / "now"), a_session(other, tuple(then), folder / "then")


def an_origin(uid, date):
    return Origin(seriesuid=uid, format="dicom", study_date=date)


def moved(point):
    return tuple(float(v) for v in np.asarray(point) @ MATRIX[:3, :3].T + MATRIX[:3, 3])
