"""The demo compares honestly: hits, misses, false marks by LUNA16's rule; an earlier demo gives way, nothing else."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imaging.errors import UsageError
from imaging.findings import Finding
from pipelines import demo
from pipelines.cli.main import run


@dataclass(frozen=True)
class Planted:
    """As `imaging.simulation.lesions.PlantedNodule`, as far as the demo looks."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str = "solid"


def mark(number: int, centre: tuple[float, float, float], score: float) -> Finding:
    return Finding(number=number, tracking_uid=f"2.25.{number}", centre_mm=centre, score=score, logit=0.0)


def test_hits_misses_and_false_marks():
    truth = [Planted((0, 0, 0), 10), Planted((50, 0, 0), 6), Planted((0, 90, 0), 8)]
    findings = [
        mark(1, (4.9, 0, 0), 0.7),
        mark(2, (0, 0, 1), 0.9),
        mark(3, (53.1, 0, 0), 0.6),
        mark(4, (0, 90, 0), 0.5),
    ]
    found, false_marks = demo.match(findings, truth)
    assert [f.number if f else None for f in found] == [2, None, 4]
    assert [f.number for f in false_marks] == [3]


def test_nothing_found_is_all_missed():
    found, false_marks = demo.match([], [Planted((0, 0, 0), 10)])
    assert found == (None,)
    assert false_marks == ()


@pytest.fixture
def small(spine, monkeypatch: pytest.MonkeyPatch):
    """A demo whose CT is the fakes' and whose truth is one hit and one miss."""
    (finding,) = spine.findings
    truth = [Planted(finding.centre_mm, 7.0), Planted((100.0, 100.0, 100.0), 5.0, "ground-glass")]
    spine.findings = (finding, replace(finding, number=2, centre_mm=(0.0, 0.0, 0.0), score=0.6))

    def make(folder: Path, **_: object) -> list[Planted]:
        folder.mkdir()
        return truth

    monkeypatch.setattr(demo, "make_ct", make)
    return spine


def test_the_table_shows_hits_misses_false_marks_and_paths(small, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["demo", "--output", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    for words in (
        "finding 1",
        "missed",
        "nothing: false mark",
        "1 of 2 planted nodules found, 1 missed; 1 false mark.",
    ):
        assert words in said
    for name in ("overlay.png", "report.html"):
        assert str(tmp_path / "demo" / "result" / name) in said
        assert (tmp_path / "demo" / "result" / name).is_file()
    with (tmp_path / "demo" / "truth.csv").open(newline="") as stream:
        assert [row["finding"] for row in csv.DictReader(stream)] == ["1", ""]


def test_an_earlier_demo_gives_way_but_nothing_else(small, tmp_path: Path):
    for _ in range(2):
        assert run(["demo", "--output", str(tmp_path / "demo"), "--quiet"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError) as refused:
        demo.run_demo(tmp_path / "mine")
    assert refused.value.code == "usage.output_exists"


def test_the_demo_as_json(small, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import json

    assert run(["demo", "--output", str(tmp_path / "demo"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["finding"] for row in facts["planted"]] == [1, None]
    assert facts["false_marks"] == [2]


@pytest.mark.slow
def test_the_phantom_follows_from_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from functools import partial

    import imaging
    from imaging.simulation import thorax

    small = partial(thorax.make_thorax, shape=(30, 96, 96), spacing_mm=(6.0, 2.0, 2.0))
    monkeypatch.setattr(thorax, "make_thorax", small)
    truths = [demo.make_ct(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert truths[0] == truths[1] != truths[2]
    volumes = [imaging.read_volume(tmp_path / name) for name in ("a", "b")]
    assert (volumes[0].array == volumes[1].array).all()
