"""A result for the viewer: from a `CaseResult` in memory, or from the folder that `nodulus predict` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.findings import OperatingPoint, Report
from imaging.geometry import Grid
from imaging.provenance import Provenance
from pipelines.viewer.review import Earlier, Reviewed

if TYPE_CHECKING:
    from imaging.io.dicom_results import OutsideResult
    from imaging.outputs.case import CaseResult
    from pipelines.viewer.session import Session

Maps = dict[str, tuple[npt.NDArray[Any], Grid]]

#: role -> file in a result folder, and whether its values are labels.
MAP_FILES = {
    "similarity": ("similarity.nii.gz", False),
    "grad_cam": ("grad_cam.nii.gz", False),
    "nodules": ("nodules.nii.gz", True),
}


def is_result_folder(path: Path) -> bool:
    """Whether a folder holds a result of `nodulus predict`."""
    return path.is_dir() and (path / "report.json").is_file()


def read_report(folder: Path) -> Report:
    """The report of a result folder.

    Raises:
        InputError: ``result.unreadable``.
    """
    from imaging.outputs.report_json import read

    try:
        return read(folder / "report.json")
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"report.json is not a report of this version: {type(error).__name__}: {error}"
        raise InputError("result.unreadable", message, where=folder) from error


def read_maps(folder: Path) -> Maps:
    """The maps that a result folder holds, each with its grid."""
    from imaging.io.nifti import read_nifti

    maps: Maps = {}
    for role, (name, labels) in MAP_FILES.items():
        if (folder / name).is_file():
            volume = read_nifti(folder / name)
            maps[role] = (volume.array.astype(np.uint8) if labels else volume.array, volume.grid)
    return maps


def show_folder(session: Session, folder: Path) -> None:
    """Take the result in `folder`, with every decision that was made on it.

    Raises:
        InputError: ``result.unreadable``; ``result.other_series`` if it belongs to another CT.
    """
    report = read_report(folder)
    if report.seriesuid != session.volume.seriesuid:
        raise InputError(
            "result.other_series",
            f"it is of another CT: of series {report.seriesuid}, open is {session.volume.seriesuid}",
            where=folder,
        )
    original = folder / "sr.dcm"
    session.set_result(report, read_maps(folder), folder=folder, original=original if original.is_file() else None)


def show_result(session: Session, result: CaseResult, *, folder: Path | None = None) -> None:
    """Take a result that is in memory."""
    grid = result.volume.grid
    maps: Maps = {"nodules": (result.nodules, grid)}
    if result.lungs is not None:
        maps["lungs"] = (result.lungs.labels, result.lungs.grid)
    if result.grad_cam is not None:
        maps["grad_cam"] = (result.grad_cam, grid)
    if result.similarity is not None:
        maps["similarity"] = (result.similarity, grid)
    session.set_result(result.report, maps, folder=folder)


def show_outside(session: Session, path: Path, *, folder: Path) -> None:
    """Lay a DICOM segmentation over the CT, or take the findings of a structured report, of this or another product.

    Args:
        folder: where decisions on the findings of a report are kept.

    Raises:
        InputError: ``result.unreadable``; ``result.other_series`` if it refers to another CT.
    """
    from imaging.io.dicom_results import read_outside_result

    outside = read_outside_result(path, session.volume)
    if outside.series and session.volume.seriesuid not in outside.series:
        message = f"it is of another CT: of series {', '.join(outside.series)}, open is {session.volume.seriesuid}"
        raise InputError("result.other_series", message, where=path)
    if outside.labels is not None and outside.grid is not None:
        session.lay_over(outside.labels, outside.grid, by=outside.by)
        return
    report = Report(
        seriesuid=session.volume.seriesuid,
        study_instance_uid=None,
        study_date=None,
        findings=outside.findings,
        notices=outside.notices,
        operating_point=OperatingPoint(0.0, None, "not said in the report"),
        provenance=Provenance(outside.by, None, outside.by, ""),
        grid=session.volume.grid.to_json(),
    )
    session.set_result(report, {}, folder=folder, original=path, earlier=_earlier(outside))


def _earlier(outside: OutsideResult) -> Earlier:
    """The decisions that stand in a reviewed report of nodulus's own, as where this review begins."""
    by = ", ".join(outside.readers)
    rows = {
        finding.tracking_uid: Reviewed(
            finding,
            None if said.verdict == "added" else finding,
            state="accepted",
            comment=said.comment,
            reviewer=by,
            corrected=said.verdict == "corrected",
            sized_by_hand=said.sized_by_hand,
        )
        for finding in outside.findings
        if (said := outside.stated.get(finding.tracking_uid)) is not None and said.verdict != "rejected"
    }
    return Earlier(rows, outside.readers)
