"""The command line: one result for people or for programs, an exit code for everything, and no torch for help."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from imaging.errors import CODES, InputError, ModelError, Notice, OutputError, UsageError
from imaging.findings import OperatingPoint
from pipelines.cli import show
from pipelines.cli.main import make_app, run
from pipelines.cli.options import chosen_formats
from pipelines.cli.table import COMMANDS
from pipelines.exit_codes import MEANINGS, Exit, exit_code_of

HEAVY = ("torch", "numpy", "pydicom", "SimpleITK", "matplotlib", "scipy", "pandas", "monai")


def last_json(text: str) -> dict:
    return json.loads(text)


@pytest.fixture(autouse=True)
def _logs_of_bugs_stay_here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


# --- exit codes ------------------------------------------------------------------------------------------------------


def test_every_kind_of_code_has_an_exit_code():
    classes = {
        "input": InputError,
        "model": ModelError,
        "output": OutputError,
        "usage": UsageError,
        "notice": InputError,
    }
    for code, row in CODES.items():
        assert exit_code_of(classes[row.kind](code, "")) in MEANINGS
    assert exit_code_of(KeyboardInterrupt()) == Exit.STOPPED
    assert exit_code_of(ValueError()) == Exit.BUG
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["predict", "--help"], 0),
        (["nosuch"], 2),
        (["predict"], 2),
        (["predict", "x", "-o", "y", "--threshold", "high"], 2),
        (["predict", "/nothing/there", "-o", "OUT"], 4),
        (["inspect", "/nothing/there"], 4),
        (["predict", "x", "-o", "OUT", "--threshold", "1.5"], 2),
        (["predict", "x", "-o", "OUT", "--max-findings", "0"], 2),
        (["batch", "x", "-o", "OUT", "--threshold", "-1"], 2),
    ],
)
def test_exit_codes_of_plain_mistakes(tokens: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tokens = [str(tmp_path / "out") if token == "OUT" else token for token in tokens]
    assert run(tokens) == code
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- predict ---------------------------------------------------------------------------------------------------------


def test_predict_tells_people_what_they_need(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv,json"]) == 0
    said = capsys.readouterr()
    for words in ("0.750", "left upper", "at 1 false mark a scan", "findings.csv", "not for diagnosis", "1.2.3"):
        assert words in said.out
    assert said.err == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"findings.csv", "report.json"}
    with (tmp_path / "out" / "findings.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["probability"]) == 0.75


def test_predict_gives_programs_one_json(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format=csv", "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert result["files"] == {"findings.csv": str(tmp_path / "out" / "findings.csv")}
    assert result["report"]["findings"][0]["score"] == 0.75


def test_predict_gives_events_with_the_result_last(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv", "--events"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["event"] for event in events[:-1]} == {"stage"}
    assert events[-1]["event"] == "result"
    assert events[-2]["percent"] == 100.0


def test_quiet_says_nothing(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv", "-q"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_options_reach_the_analysis(spine, tmp_path: Path):
    options = ["--threshold", "0.3", "--max-findings", "7", "--weights", "w", "--device", "cuda", "--prompt", "a mass"]
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv", *options]) == 0
    assert spine.calls["load"] == (Path("w"), "cuda")
    assert spine.calls["prompts"] == ("a mass",)
    assert spine.calls["localize"]["threshold"] == 0.3
    assert spine.calls["localize"]["max_findings"] == 7


def test_no_finding_never_reads_as_healthy(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spine.findings = ()
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv"]) == 0
    assert "does not mean that these lungs are healthy" in capsys.readouterr().out


def test_a_refusal_is_code_message_and_next_step(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spine.lung_ml["1.2.3"] = None
    assert run(["predict", "ct", "-o", str(tmp_path / "out")]) == 4
    said = capsys.readouterr().err
    assert "lungs.none: no aerated lung" in said
    assert f"next:  {CODES['lungs.none'].remedy}" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--json", "--events"])
def test_a_refusal_is_json_too(spine, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str):
    spine.not_hu.add("1.2.3")
    assert run(["predict", "ct", "-o", str(tmp_path / "out"), option, "--quiet"]) == 4
    text = capsys.readouterr().out
    answer = json.loads(text.splitlines()[-1]) if option == "--events" else json.loads(text)
    assert answer["error"]["code"] == "input.not_hu"
    assert answer["exit_code"] == 4


def test_an_old_result_is_replaced_only_on_request(spine, tmp_path: Path):
    tokens = ["predict", "ct", "-o", str(tmp_path / "out"), "--format", "csv"]
    assert run(tokens) == 0
    assert run(tokens) == 2
    spine.broken.add("1.2.3")
    before = (tmp_path / "out" / "findings.csv").stat()
    assert run([*tokens, "--overwrite"]) == 4
    assert (tmp_path / "out" / "findings.csv").stat() == before
    spine.broken.clear()
    assert run([*tokens, "--overwrite"]) == 0


def test_a_bug_is_one_line_and_a_log(
    spine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def wrong(path: Path) -> list:
        raise RuntimeError("Doe^Jane")

    monkeypatch.setattr("pipelines.chosen_series.list_series", wrong)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    tokens = ["predict", "ct", "-o", str(tmp_path / "out")]
    assert run(tokens) == 1
    said = capsys.readouterr().err
    (log,) = (tmp_path / "state" / "nodulus").iterdir()
    assert str(log) in said
    assert "RuntimeError in test_cli.py" in said
    assert "Traceback" not in said
    assert "Doe" not in said
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert run([*tokens, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_no_bug(spine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def short(path: Path) -> list:
        raise MemoryError

    monkeypatch.setattr("pipelines.chosen_series.list_series", short)
    assert run(["predict", "ct", "-o", "never", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["code"] == "batch.memory"
    assert "bug" not in said.err


@pytest.mark.parametrize(
    "tokens",
    [
        ["predict", "", "-o", "never"],
        ["predict", "ct", "-o", ""],
        ["predict", "ct", "--output="],
        ["inspect", ""],
        ["batch", "", "-o", "never"],
    ],
)
def test_an_unset_variable_is_not_the_current_folder(spine, tokens: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(tokens) == 2
    assert "is empty; perhaps a variable" in capsys.readouterr().err
    assert spine.read == []


def test_a_bug_without_a_place_for_a_log(spine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.cli.speak.os.open", lambda *_: (_ for _ in ()).throw(OSError()))
    monkeypatch.setattr("pipelines.chosen_series.list_series", lambda path: 1 / 0)
    assert run(["inspect", "ct"]) in (0, 1, 4)
    assert run(["predict", "ct", "-o", "never"]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(
    spine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def stop(path: Path) -> list:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.chosen_series.list_series", stop)
    assert run(["predict", "ct", "-o", str(tmp_path / "out")]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_reader_that_is_gone_is_no_bug(spine, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", broken)
    stdout = sys.stdout
    assert run(["inspect", "ct"]) == 0
    sys.stdout.close()
    monkeypatch.setattr(sys, "stdout", stdout)


@pytest.mark.parametrize(
    "tokens", [["predict", "ct"], ["predict", "ct", "-o", "never", "--max-findings", "1e3"], ["nothing"]]
)
@pytest.mark.parametrize("voice", ["--json", "--events"])
def test_a_program_is_told_of_a_wrong_command_line_in_json(
    tokens: list[str], voice: str, capsys: pytest.CaptureFixture[str]
):
    assert run([*tokens, voice]) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["error"]["code"], said["exit_code"]) == ("usage.option", 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("tokens", [["info"], ["info", "--json"]])
def test_a_full_disk_behind_standard_output_is_no_bug(tokens: list[str]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli.main", *tokens], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert "output.disk_full" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_standard_output_is_no_bug():
    command = f"{sys.executable} -m pipelines.cli.main info >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_in_no_encoding_is_no_bug(encoding: str, tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"odd\xff\xfe\xe2\x80\xa6")
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "inspect", str(folder)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, b"input.empty" in done.stderr, b"bug" in done.stderr) == (4, True, False)


# --- formats ---------------------------------------------------------------------------------------------------------

USUAL = ("csv", "json", "maps", "overlay", "html")


@pytest.mark.parametrize(
    ("named", "written"),
    [
        (None, USUAL),
        (("sr", "seg"), (*USUAL, "sr", "seg")),
        (("csv",), ("csv",)),
        (("csv", "sr"), ("csv", "sr")),
    ],
)
def test_formats_add_to_the_usual_or_choose_among_them(named, written):
    assert chosen_formats(named) == written


def test_formats_can_be_given_with_commas_or_again(spine, tmp_path: Path):
    assert run(["predict", "ct", "-o", str(tmp_path / "a"), "--format", "csv, json"]) == 0
    assert run(["predict", "ct", "-o", str(tmp_path / "b"), "--format", "csv", "--format", "json"]) == 0
    assert {p.name for p in (tmp_path / "a").iterdir()} == {p.name for p in (tmp_path / "b").iterdir()}
    assert run(["predict", "ct", "-o", str(tmp_path / "c"), "--format", "docx"]) == 2


# --- inspect, info, completion ---------------------------------------------------------------------------------------


def test_inspect_lists_chooses_and_measures(spine, info, capsys: pytest.CaptureFixture[str]):
    spine.infos = [info("thick", mm=5.0), info("thin", mm=1.0), info("dose", usable=False, code="series.unknown")]
    assert run(["inspect", "ct"]) == 0
    said = capsys.readouterr().out
    for words in (
        "thick",
        "thin",
        "no: series.unknown",
        "Would be analysed: thin",
        "choice.thicker",
        "12 slices of 20 x 24",
    ):
        assert words in said
    assert run(["inspect", "ct", "--json", "--series", "thick"]) == 0
    result = last_json(capsys.readouterr().out)
    assert result["chosen"] == "thick"
    assert result["volume"]["grid"]["shape"] == [12, 20, 24]


def test_inspect_ends_with_4_where_nothing_can_be_analysed(spine, info, capsys: pytest.CaptureFixture[str]):
    spine.infos = [info("a"), info("b", patient_key="p2")]
    assert run(["inspect", "ct"]) == 4
    said = capsys.readouterr().out
    assert "Refused: series.several_patients" in said
    assert run(["inspect", "ct", "--json"]) == 4
    assert last_json(capsys.readouterr().out)["error"]["code"] == "series.several_patients"


def test_inspect_ends_with_4_where_predict_would_refuse_the_values(spine, info, capsys: pytest.CaptureFixture[str]):
    spine.infos, spine.not_hu = [info("raw")], {"raw"}
    assert run(["inspect", "ct"]) == 4
    said = capsys.readouterr().out
    assert "12 slices of 20 x 24" in said
    assert "Refused: input.not_hu" in said


def test_inspect_tells_of_files_without_the_patients_name(spine, monkeypatch, capsys: pytest.CaptureFixture[str]):
    from dataclasses import replace

    from imaging.geometry.volume import Origin

    told = (Notice("series.files_ignored", "1 file: Quarkfish/notes.txt"),)
    origin = Origin("1.2.3", "dicom", header={"PatientName": "QUARKFISH^Zeb"})
    named = replace(spine.read_volume(Path("ct"), series=spine.infos[0]), origin=origin, warnings=told)
    monkeypatch.setattr("imaging.io.read_volume", lambda *_, **__: named)
    assert run(["inspect", "ct"]) == 0
    said = capsys.readouterr().out
    assert "note series.files_ignored: 1 file: …/notes.txt" in said
    assert "quarkfish" not in said.casefold()


@pytest.mark.parametrize(("not_begun", "code"), [(0, 3), (2, 1)])
def test_a_batch_that_a_full_disk_ended_did_not_go_through(
    not_begun: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from pipelines.batch.run import Summary

    summary = Summary((), 0, 1, not_begun=not_begun)
    monkeypatch.setattr(Summary, "all_done", False)
    monkeypatch.setattr("pipelines.batch.run.run_batch", lambda *_, **__: summary)
    assert run(["batch", "in", "-o", "out", "--quiet"]) == code
    assert ("output.disk_full: 2 case(s) not begun" in capsys.readouterr().err) == bool(not_begun)


def test_info_says_what_is_installed(spine, capsys: pytest.CaptureFixture[str]):
    assert run(["info", "--json"]) == 0
    facts = last_json(capsys.readouterr().out)
    assert facts["weights"]["name"] == "fake"
    assert facts["writes"]["sr"]["default"] is False
    assert facts["exit_codes"]["4"] == MEANINGS[Exit.REFUSED]
    assert "cpu" in facts["devices"]
    assert run(["info"]) == 0
    assert "at 1 false mark a scan" in capsys.readouterr().out


def test_info_lists_every_code(spine, capsys: pytest.CaptureFixture[str]):
    assert run(["info", "--codes"]) == 0
    said = capsys.readouterr().out
    assert all(code in said for code in CODES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]):
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command.name in script for command in COMMANDS)
    assert "--max-findings" in script


@pytest.mark.parametrize(
    ("found", "code"), [(None, "viewer.missing"), (object(), "viewer.no_display")], ids=["not installed", "no display"]
)
def test_view_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found, code: str
):
    monkeypatch.setattr("pipelines.cli.commands.view.find_spec", lambda name: found)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipelines.cli.commands.view.sys.platform", "linux")
    assert run(["view", "ct"]) == 2
    assert f"{code}: " in capsys.readouterr().err


# --- explain, faithfulness, evaluate ---------------------------------------------------------------------------------


def test_explain_hands_over_everything(
    spine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    import pipelines.explain
    from pipelines.predict import predict

    given = {}

    def recorder(path: Path, folder: Path, **options: object) -> tuple:
        given.update(options, path=path, folder=folder)
        return predict(path), {"grad_cam.nii.gz": folder / "grad_cam.nii.gz"}

    monkeypatch.setattr(pipelines.explain, "explain_to_folder", recorder)
    out = tmp_path / "out"
    tokens = ["explain", "ct", "-o", str(out), "--prompt", "a mass", "--layer", "2", "--whole-lungs"]
    assert run([*tokens, "--format", "maps", "--json"]) == 0
    assert given["path"] == Path("ct")
    assert given["folder"] == out
    wanted = {"prompt": "a mass", "layer": 2, "whole_lungs": True, "formats": ("maps",), "method": None}
    assert {name: given[name] for name in wanted} == wanted
    assert "grad_cam.nii.gz" in last_json(capsys.readouterr().out)["maps"]
    assert run([*tokens, "--method", "guess"]) == 2
    assert run([*tokens, "--device", "abacus"]) == 2


@pytest.mark.parametrize(("passed", "words"), [(True, "Both bars are met."), (False, "do not trust these maps")])
def test_faithfulness_says_whether_the_maps_can_be_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, passed: bool, words: str
):
    import pipelines.faithfulness

    class Result:
        def to_json(self) -> dict:
            return {
                "passed": passed,
                "cases": "fake",
                "weights": {"name": "fake"},
                "randomization": {"correlation": 0.1, "windows": 40, "bar": 0.3},
                "deletion": {"fall_map": 2.0, "fall_random": 0.5, "p_value": 0.001, "bar": 0.01},
            }

    def answer(cases: Path | None, *, on_progress, **_: object) -> Result:
        on_progress(1, 1)
        return Result()

    monkeypatch.setattr(pipelines.faithfulness, "faithfulness", answer)
    assert run(["faithfulness", "-o", str(tmp_path / "result.json")]) == 0
    assert words in capsys.readouterr().out
    assert last_json((tmp_path / "result.json").read_text())["passed"] is passed


def test_evaluate_scores_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "marks.csv").write_text("seriesuid,coordX,coordY,coordZ,probability\na,0,0,0,0.9\nb,10,0,0,0.8\n")
    (tmp_path / "truth.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\na,1,0,0,8\nb,60,0,0,8\n")
    tokens = [
        "evaluate",
        str(tmp_path / "marks.csv"),
        "--truth",
        str(tmp_path / "truth.csv"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert run([*tokens, "--resamples", "100"]) == 0
    assert "CPM 0.500" in capsys.readouterr().out
    assert (tmp_path / "out" / "evaluation.html").is_file()
    assert run([*tokens, "--resamples", "100", "--json", "--overwrite"]) == 0
    assert last_json(capsys.readouterr().out)["evaluation"]["cpm"] == 0.5
    assert run([*tokens, "--resamples", "1"]) == 2


def test_train_hands_over_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    given = {}

    def recorder(manifest: Path, folder: Path, *, on_progress, **options: object) -> dict:
        on_progress(1, 1)
        given.update(options, manifest=manifest, folder=folder)
        return {"loss": 0.1}

    stand_in = ModuleType("pipelines.train")
    stand_in.train_to_folder = recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipelines.train", stand_in)
    tokens = ["train", "--manifest", "cases.csv", "-o", str(tmp_path), "--steps", "7", "--resume", "--json"]
    assert run(tokens) == 0
    assert (given["manifest"], given["steps"], given["resume"]) == (Path("cases.csv"), 7, True)
    assert last_json(capsys.readouterr().out)["loss"] == 0.1


def test_prepare_refuses_a_folder_without_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["prepare", "crops", str(tmp_path), "-o", str(tmp_path / "out")]) == 4
    assert "cases.layout: there is no crops.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- words -----------------------------------------------------------------------------------------------------------


def test_tables_align_numbers_to_the_right():
    text = show.table(("name", "n"), [("a", 1.5), ("bc", -12), ("d", None)])
    assert text.splitlines() == ["name    n", "a     1.5", "bc    -12", "d       -"]


def test_a_threshold_of_unknown_cost_says_so(spine):
    from dataclasses import replace

    from pipelines.predict import predict

    report = replace(predict("ct").report, operating_point=OperatingPoint(0.2, None, "a threshold set by the user"))
    assert "at an unknown number of false marks a scan" in show.operating_point_text(report)
    assert show.notices_text([Notice("lungs.partial", "cut")]) == "note lungs.partial: cut"


# --- speed -----------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy_and_is_fast():
    """Within half a second, measured as work done since the process began, so that a busy machine does not matter."""
    script = (
        "import sys, time; from pipelines.cli.main import run; code = run(['--help']);"
        "print(code, time.process_time(), *sys.modules, file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        code, took, *modules = done.stderr.split()
        assert code == "0"
        assert not {name.split(".")[0] for name in modules} & set(HEAVY)
        assert not [name for name in modules if name.startswith("pipelines.cli.commands.")]
        times.append(float(took))
    assert min(times) < 0.5


def test_the_help_of_every_command_is_light():
    app = make_app()
    script = "import sys, pipelines.cli.main as m; m.run([sys.argv[1], '--help']); print(*sys.modules, file=sys.stderr)"
    for command in COMMANDS:
        assert command.name in app
        done = subprocess.run([sys.executable, "-c", script, command.name], capture_output=True, text=True, check=True)
        assert not {name.split(".")[0] for name in done.stderr.split()} & {"torch", "SimpleITK", "matplotlib", "monai"}
        assert command.summary.split()[0] in done.stdout


# --- as a process ----------------------------------------------------------------------------------------------------


def test_sigterm_is_a_stop():
    script = (
        "import pipelines.cli.main as m, time, pipelines.cli.commands.inspect as i\n"
        "import imaging.io\n"
        "def slow(path): print('ready', flush=True); time.sleep(60)\n"
        "imaging.io.list_series = slow\n"
        "import sys; sys.argv = ['nodulus', 'inspect', 'x']; m.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert "stopped" in process.stderr.read()
