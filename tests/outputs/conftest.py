"""A small synthetic case: a box of lung with two bright balls, written as if read from a DICOM series."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from imaging.errors import CODES, Notice
from imaging.findings import Finding, OperatingPoint, RejectedSeries, Report
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Instance, Origin, Volume
from imaging.outputs.case import CaseResult
from imaging.provenance import Provenance

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES_UID = "1.2.826.0.1.3680043.8.498.2"
FRAME_UID = "1.2.826.0.1.3680043.8.498.3"
#: Never in a text output unless identifiers are asked for.
SECRETS = ("ANDERSON", "Zebulon", "MRN-77-4711", "19470229")


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def make_header(**changes: Any) -> Dataset:
    """Patient and study of a CT as a reader keeps them; `changes` replace attributes, None deletes one."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = CT_IMAGE
    header.StudyInstanceUID = STUDY_UID
    header.SeriesInstanceUID = SERIES_UID
    header.FrameOfReferenceUID = FRAME_UID
    header.PatientName = "ANDERSON^Zebulon"
    header.PatientID = "MRN-77-4711"
    header.PatientBirthDate = "19470225"
    header.PatientSex = "M"
    header.StudyDate = "20200102"
    header.StudyTime = "101112"
    header.StudyID = "S1"
    header.AccessionNumber = "A1"
    header.ReferringPhysicianName = ""
    header.StudyDescription = "CT thorax"
    header.Modality = "CT"
    header.BodyPartExamined = "CHEST"
    for name, value in changes.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    return header


def make_grid(kind: str = "axial", shape: tuple[int, int, int] = (24, 60, 64)) -> Grid:
    """A grid of one kind: axial, descending (head first), prone, oblique or sheared (tilted gantry)."""
    spacing = (2.5, 0.7, 0.65)
    grid = Grid.from_spacing(
        shape, spacing_mm=spacing, origin_mm=(-20.0, -30.0, -150.0), frame_of_reference_uid=FRAME_UID
    )
    affine = np.array(grid.affine)
    if kind == "descending":
        affine[:3, 0] *= -1
    elif kind == "prone":
        affine[:3, 1:3] *= -1
    elif kind == "oblique":
        angle = np.deg2rad(12.0)
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        affine[:3, :3] = turn @ affine[:3, :3]
    elif kind == "sheared":
        affine[1, 0] = 2.5 * np.tan(np.deg2rad(15.0))
    return Grid(shape, affine, FRAME_UID)


def make_findings(grid: Grid, count: int) -> tuple[Finding, ...]:
    """Findings at fixed indices of the grid, the first one measured in full, the second hardly at all."""
    indices = [(8, 22, 20), (15, 40, 45), (4, 30, 50)][:count]
    places = [tuple(float(v) for v in grid.to_mm(index)) for index in indices]
    findings = [
        Finding(
            number=number,
            tracking_uid=f"2.25.{10**30 + number}",
            centre_mm=place,  # type: ignore[arg-type]
            score=0.9123456789012345 / number,
            logit=2.345678901234567 / number,
        )
        for number, place in enumerate(places, start=1)
    ]
    if findings:
        x, y, z = findings[0].centre_mm
        findings[0] = replace(
            findings[0],
            diameter_mm=7.25,
            long_axis_mm=8.5,
            short_axis_mm=6.125,
            long_axis_ends_mm=((x - 4.25, y, z), (x + 4.25, y, z)),
            volume_mm3=199.53,
            mean_hu=-12.5,
            side="right",
            zone="upper",
            attributes={"solid": 0.8, "ground-glass": 0.1, "spiculated": 0.35},
        )
    return tuple(findings)


def make_case(
    kind: str = "axial", findings: int = 2, *, header: Dataset | None = None, dicom: bool = True, maps: bool = True
) -> CaseResult:
    """A `CaseResult` on a grid of the given kind with 0 to 3 findings."""
    grid = make_grid(kind)
    found = make_findings(grid, findings)
    distances = [
        np.linalg.norm(grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)) - f.centre_mm, axis=-1) for f in found
    ]
    array = np.full(grid.shape, -850, np.float32) + np.random.default_rng(1).normal(0, 25, grid.shape).astype(
        np.float32
    )
    array[:, :6], array[:, -6:] = 40, 40
    nodules = np.zeros(grid.shape, np.uint8)
    heat = np.zeros(grid.shape, np.float32)
    for finding, distance in zip(found, distances, strict=True):
        array[distance <= 3.6] = 30
        nodules[distance <= 3.6] = finding.number
        heat = np.maximum(heat, finding.score * np.exp(-((distance / 6.0) ** 2)).astype(np.float32))
    return CaseResult(
        volume=Volume(array, grid, origin=make_origin(grid, header, dicom)),
        report=make_report(grid, found, dicom=dicom),
        lungs=None,
        nodules=nodules,
        grad_cam=2.5 * heat if maps else None,
        similarity=heat if maps else None,
        similarity_prompt="lung nodule" if maps else "",
    )


def make_origin(grid: Grid, header: Dataset | None, dicom: bool) -> Origin:
    """Where the synthetic CT claims to come from."""
    if not dicom:
        return Origin(seriesuid="sha256:" + "0" * 64, format="nifti", content_sha256="0" * 64)
    return Origin(
        seriesuid=SERIES_UID,
        format="dicom",
        study_instance_uid=STUDY_UID,
        study_date="20200102",
        modality="CT",
        series_description="Thorax 2.5 lung",
        slice_thickness_mm=2.5,
        instances=tuple(Instance(CT_IMAGE, f"{SERIES_UID}.{n}") for n in range(1, grid.shape[0] + 1)),
        header=make_header() if header is None else header,
    )


def make_report(grid: Grid, findings: tuple[Finding, ...], *, dicom: bool = True) -> Report:
    """A report with every field filled."""
    return Report(
        seriesuid=SERIES_UID if dicom else "sha256:" + "0" * 64,
        study_instance_uid=STUDY_UID if dicom else None,
        study_date="20200102" if dicom else None,
        findings=findings,
        notices=(a_notice(),),
        operating_point=OperatingPoint(0.31, 1.9, "39 validation scans"),
        provenance=Provenance(
            software="nodulus 0.1.0",
            input_sha256="ab" * 32,
            weights_name="nodulus-vit-s",
            weights_sha256="cd" * 32,
            settings={"threshold": 0.31, "max_findings": 20, "explained": "whole lung"},
            versions={"torch": "2.6"},
            created="2023-11-14T22:13:20+00:00",
        ),
        grid=grid.to_json(),
        series_choice="the thinnest of two series that cover the lungs",
        rejected_series=(
            RejectedSeries("1.2.3", "Thorax 5.0 soft", a_notice().code, "slices of 5 mm are thicker than 2.5 mm"),
        ),
        lungs_ml=4321.5,
    )


def a_notice() -> Notice:
    """Some notice of the table of codes."""
    code = next(code for code, info in CODES.items() if info.kind == "notice")
    return Notice(code, "stated for the test: 3 slices were dropped")


@pytest.fixture
def case() -> CaseResult:
    """Two findings on an axial grid."""
    return make_case()


@pytest.fixture
def negative() -> CaseResult:
    """A case without findings."""
    return make_case(findings=0)


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The functions of this file, for tests that need a case of their own."""
    return SimpleNamespace(
        case=make_case, header=make_header, grid=make_grid, findings=make_findings, report=make_report, SECRETS=SECRETS
    )
