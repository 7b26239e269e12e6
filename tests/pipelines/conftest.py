"""A spine of small fakes: everything that `predict` calls, answering at once, so that the faces are tested alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from imaging.errors import InputError, Notice
from imaging.findings import Finding, OperatingPoint
from imaging.geometry import Grid, Volume
from imaging.geometry.volume import Origin
from imaging.io import SeriesInfo
from imaging.preprocessing.lungs import Lungs

GRID = Grid.from_spacing((12, 20, 24), spacing_mm=(2.5, 1.5, 1.5), origin_mm=(-10, -20, -30))
FINDING = Finding(
    number=1,
    tracking_uid="2.25.1",
    centre_mm=tuple(float(v) for v in GRID.to_mm((5, 9, 13))),
    score=0.75,
    logit=1.1,
    diameter_mm=6.0,
    volume_mm3=113.0,
    side="left",
    zone="upper",
    attributes={"solid": 0.8},
)


def info(seriesuid: str = "1.2.3", **facts: Any) -> SeriesInfo:
    """A usable chest CT; `facts` change it, `mm` its slices' thickness and spacing."""
    if "mm" in facts:
        facts["slice_thickness_mm"] = facts["slice_spacing_mm"] = facts.pop("mm")
    values: dict[str, Any] = {
        "seriesuid": seriesuid,
        "format": "dicom",
        "usable": True,
        "code": None,
        "reason": None,
        "modality": "CT",
        "description": "chest",
        "study_instance_uid": "1.2",
        "study_date": "20200102",
        "patient_key": "p1",
        "instances": 120,
        "rows": 512,
        "columns": 512,
        "slice_spacing_mm": 2.5,
        "slice_thickness_mm": 2.5,
        "pixel_spacing_mm": (0.7, 0.7),
        "convolution_kernel": "STANDARD",
        "extent_mm": 300.0,
        "files": (f"{seriesuid}.dcm",),
        "notices": (),
        "group": "",
    }
    return SeriesInfo(**(values | facts))


@pytest.fixture(name="info")
def _info() -> Callable[..., SeriesInfo]:
    return info


@dataclass
class Spine:
    """What the fakes answer; tests change it."""

    infos: list[SeriesInfo] = field(default_factory=lambda: [info()])
    findings: tuple[Finding, ...] = (FINDING,)
    lung_ml: dict[str, float | None] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    not_hu: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    calls: dict[str, Any] = field(default_factory=dict)

    def list_series(self, path: Path) -> list[SeriesInfo]:
        return self.infos

    def read_volume(self, path: Path, *, series: SeriesInfo, on_progress: Any = None) -> Volume:
        self.read.append(series.seriesuid)
        if series.seriesuid in self.broken:
            raise InputError("archive.damaged", "truncated", where=path)
        array = np.full(GRID.shape, -800, dtype=np.float32)
        array[:, :3] = 40
        origin = Origin(series.seriesuid, "dicom", study_instance_uid="1.2", study_date="20200102", modality="CT")
        return Volume(array, GRID, origin=origin, is_hu=series.seriesuid not in self.not_hu)

    def find_lungs(self, volume: Volume, *, on_progress: Any = None) -> Lungs:
        millilitres = self.lung_ml.get(volume.seriesuid, 4000.0)
        if millilitres is None:
            raise InputError("lungs.none", "no aerated lung", where=volume.seriesuid)
        if on_progress:
            on_progress(1, 1)
        notices = (Notice("lungs.partial", "cut"),) if volume.seriesuid in self.partial else ()
        return Lungs(np.ones(GRID.shape, dtype=np.uint8), GRID, millilitres, notices)

    def score_volume(
        self, model: Any, volume: Volume, lungs: Lungs, *, prompts: Any = (), on_progress: Any = None
    ) -> Any:
        self.calls["prompts"] = prompts
        if on_progress:
            on_progress(0, 2)
            on_progress(2, 2)
        return FakeTokenMap()

    def find_findings(self, volume: Volume, lungs: Lungs, token_map: Any, model: Any, **options: Any) -> Any:
        self.calls["localize"] = options
        nodules = np.zeros(GRID.shape, dtype=np.uint8)
        nodules[5, 9, 13] = len(self.findings)
        return FakeLocalization(self.findings, nodules)

    def load_model(self, weights: Any = None, *, device: str = "cpu") -> Any:
        self.calls["load"] = (weights, device)
        return FakeModel()


@dataclass(frozen=True)
class FakeModel:
    name: str = "fake"
    sha256: str = "f" * 64
    operating_point: OperatingPoint = field(default_factory=lambda: OperatingPoint(0.5, 1.0, "fakes"))
    card: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeTokenMap:
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class FakeLocalization:
    findings: tuple[Finding, ...]
    nodules: Any
    notices: tuple[Notice, ...] = ()


@pytest.fixture
def spine(monkeypatch: pytest.MonkeyPatch) -> Spine:
    """The fakes in the places where the pipeline looks for the real ones; torch is never imported."""
    fakes = Spine()
    monkeypatch.setattr("pipelines.chosen_series.list_series", fakes.list_series)
    monkeypatch.setattr("pipelines.chosen_series.read_volume", fakes.read_volume)
    monkeypatch.setattr("imaging.io.list_series", fakes.list_series)
    monkeypatch.setattr("imaging.io.read_volume", fakes.read_volume)
    monkeypatch.setattr("pipelines.predict.load_on", lambda device, weights: fakes.load_model(weights, device=device))
    ones = np.ones(GRID.shape, dtype=np.float32)
    places = {
        "imaging.preprocessing.lungs:find_lungs": fakes.find_lungs,
        "imaging.models.weights:load_model": fakes.load_model,
        "imaging.models.scoring:score_volume": fakes.score_volume,
        "imaging.localization:find_findings": fakes.find_findings,
        "imaging.explanation.gradcam:grad_cam_map": lambda *_, **__: ones,
        "imaging.explanation.gradcam:describe_grad_cam": lambda *_, **__: "fake Grad-CAM",
        "imaging.explanation.similarity:similarity_map": lambda *_, **__: 0.5 * ones,
        "imaging.explanation.similarity:describe_similarity": lambda prompt: f"similarity to {prompt}",
    }
    stand_ins: dict[str, ModuleType] = {}
    for place, fake in places.items():
        module, name = place.split(":")
        setattr(stand_ins.setdefault(module, ModuleType(module)), name, fake)
    for module, stand_in in stand_ins.items():
        monkeypatch.setitem(sys.modules, module, stand_in)
    return fakes
