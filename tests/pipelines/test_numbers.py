"""Every option for a number, of every command: what cannot be is refused by name, with nothing read or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from cyclopts import App

from imaging.errors import UsageError
from pipelines.allowed import COUNT, MORE_THAN_0, SEED, SHARE, Allowed
from pipelines.cli.main import make_app, run
from pipelines.cli.table import COMMANDS, PREPARATIONS
from pipelines.training_settings import TrainOptions, make_recipe, read_settings

PATHS = [(command.name,) for command in COMMANDS if command.name != "prepare"]
PATHS += [("prepare", command.name) for command in PREPARATIONS]
#: What no option for a number takes, whatever its range.
NEVER = ("-1", "nan", "inf", "1e400", "many")
#: The options for a number that there are; a new one is to be added here with what else it refuses.
ALSO_REFUSED = {
    "--threshold": ("1.0001",),
    "--max-findings": ("0", "256", "2.5"),
    "--jobs": ("0", "1.5"),
    "--seed": ("4294967296", "1.5"),
    "--resamples": ("0", "99", "100001", "1e3"),
    "--layer": ("0.5",),
    "--windows": ("0",),
    "--steps": ("0", "1.5"),
    "--minutes": ("0", "0.0"),
    "--devices": ("0",),
    "--patience": ("0",),
    "--val": ("1.01",),
    "--min-readers": ("0", "5"),
    "--a-nodule": ("0",),
    "--free": ("0",),
}
#: What each command cannot do without.
NEEDED = {
    "train": ["--manifest", "none.csv"],
    "tune": ["--manifest", "none.csv"],
    "evaluate": ["none.csv", "--truth", "none.csv"],
    "faithfulness": ["none"],
    "demo": [],
    "nlst": ["none", "--abnormalities", "none.csv"],
}


def _numbers(app: App, path: tuple[str, ...]) -> list[Any]:
    for name in path:
        app = app[name]
    wanted = {int, float}
    return [
        a for a in app.assemble_argument_collection() if wanted & {a.hint, *get_args(a.hint)} and a.hint is not bool
    ]


CASES = [(path, argument.name) for path in PATHS for argument in _numbers(make_app(), path)]


def test_the_table_of_this_test_has_every_option_for_a_number():
    assert {name for _, name in CASES} == set(ALSO_REFUSED)


@pytest.mark.parametrize(("path", "name"), CASES, ids=[" ".join((*path, name)) for path, name in CASES])
def test_an_impossible_number_is_refused_with_its_name(
    path: tuple[str, ...],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    words = [*path, *NEEDED.get(path[-1], ["none"]), "-o", "out"]
    for value in (*NEVER, *ALSO_REFUSED[name]):
        assert run([*words, name, value]) == 2, value
        said = capsys.readouterr().err
        assert said.startswith(f"nodulus: usage.option: {name} must be a"), said
        assert value in said
    assert run([*words, name, "-1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage.option"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["10", "-1", "²", "nine", "1.5"])
def test_a_subset_that_luna16_does_not_have(value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["prepare", "luna16", str(tmp_path), "-o", str(tmp_path / "out"), "--val-subsets", f"8,{value}"]) == 2
    assert "each of --val-subsets must be a whole number from 0 to 9" in capsys.readouterr().err


# --- what is allowed -------------------------------------------------------------------------------------------------


def test_the_ends_of_a_range():
    assert 0 in SEED
    assert 2**32 - 1 in SEED
    assert 2**32 not in SEED
    assert all(value in SHARE for value in (0, 0.0, 0.5, 1))
    assert 0 not in MORE_THAN_0
    assert 5e-324 in MORE_THAN_0
    assert 10**400 in COUNT  # no number of these is too long for a comparison
    assert all(value not in COUNT for value in (True, 1.0, "1", None, float("nan")))


def test_a_range_says_what_it_is():
    with pytest.raises(UsageError, match=r"steps must be a whole number from 1, not 'x\\n'"):
        COUNT.check("steps", "x\n")
    assert str(Allowed(0.0, whole=False)) == "a number from 0"
    assert str(SEED) == "a whole number from 0 to 4294967295"


# --- files of settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"recipe": {"steps": 0}},
        {"recipe": {"steps": "many"}},
        {"recipe": {"seed": -1}},
        {"recipe": {"seed": 1.5}},
        {"recipe": {"batch": 0}},
        {"recipe": {"rate": -0.1}},
        {"recipe": {"ema": 1.5}},
        {"recipe": {"warmup": "long"}},
        {"rounds": 0},
        {"patience": True},
        {"recipe": {"steps": 0}, "weights_sha256": "0"},
    ],
)
def test_a_file_of_settings_has_the_same_rules(values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipe.json").write_text(json.dumps(values), encoding="utf-8")
    Path("own.csv").write_text("path,label\nnone.nii,1\n", encoding="utf-8")
    code = run(["train", "--manifest", "own.csv", "-o", "run", "--recipe", "recipe.json"])
    said = capsys.readouterr().err
    if "weights_sha256" in values:  # a timed run has no number of steps, and can be done again
        assert (code, "manifest.path" in said) == (4, True)
    else:
        assert (code, "usage.option" in said) == (2, True), said


def test_callers_of_the_pipelines_are_told_too(tmp_path: Path):
    with pytest.raises(UsageError, match="minutes must be a number above 0"):
        TrainOptions(minutes=float("inf"))
    with pytest.raises(UsageError, match="seed must be a whole number"):
        make_recipe(TrainOptions(), steps=1, seed=-1, device="cpu")
    (tmp_path / "run.json").write_text('{"recipe": {"steps": 7, "seed": 3}}', encoding="utf-8")
    assert read_settings(tmp_path / "run.json", TrainOptions())[1] == {"steps": 7, "seed": 3}
