"""A batch on fake cases: broken ones are rows, done ones are skipped, and no kill loses more than the running one."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging.errors import ModelError, OutputError, UsageError
from pipelines.batch.ledger import HIDDEN, Ledger, State, exclusive
from pipelines.batch.run import Summary, run_batch
from pipelines.input_content import content_sha256
from pipelines.progress import Silent

HERE = Path(__file__).parent


class Recorder(Silent):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[dict] = []

    def event(self, name: str, **facts) -> None:
        self.events.append({"event": name, **facts})


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """Run a batch over ``tmp_path/in`` into ``tmp_path/out``; keywords with a text make cases first."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr("pipelines.batch.cases.list_series", lambda path: [])

    def run(*, weights: str = "w", jobs: int = 1, reporter: Recorder | None = None, **cases: str) -> Summary:
        make_cases(tmp_path / "in", **cases)
        return run_batch(
            tmp_path / "in",
            tmp_path / "out",
            formats=("csv",),
            jobs=jobs,
            weights=weights,
            reporter=reporter,
            analyser="fake_analyser:FakeAnalyser",
        )

    return run


def make_cases(folder: Path, **cases: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in cases.items():
        (folder / f"{name}.nii").write_text(text)


def analysed(tmp_path: Path) -> list[str]:
    return [line.split()[0] for line in (tmp_path / "log.txt").read_text().splitlines()]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_broken_case_is_a_row_and_the_run_goes_on(batch, tmp_path: Path):
    summary = batch(a="ok", b="refuse", c="bug", d="die", e="memory", f="ok")
    assert [(s.case, s.status, s.code) for s in summary.states] == [
        ("a", "done", None),
        ("b", "refused", "lungs.none"),
        ("c", "failed", "batch.internal"),
        ("d", "failed", "batch.worker_died"),
        ("e", "failed", "batch.memory"),
        ("f", "done", None),
    ]
    assert not summary.all_done
    found = rows(tmp_path / "out" / "findings.csv")
    assert [row["case"] for row in found] == ["a", "f"]
    assert list(found[0])[:5] == ["seriesuid", "coordX", "coordY", "coordZ", "probability"]
    failures = {row["case"]: row for row in rows(tmp_path / "out" / "failures.csv")}
    assert sorted(failures) == ["b", "c", "d", "e"]
    assert all(row["next"] and row["message"] for row in failures.values())
    assert failures["d"]["message"].startswith("killed by SIGKILL")
    assert failures["d"]["stage"] == "score"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a",
        "f",
        HIDDEN,
        "findings.csv",
        "failures.csv",
        "cases.csv",
    }


def test_the_first_cause_is_kept_but_no_name(batch, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    batch(c="bug")
    said = capfd.readouterr()
    assert "Doe" not in said.out + said.err
    row = rows(tmp_path / "out" / "failures.csv")[0]
    assert row["message"].startswith("RuntimeError in fake_analyser.py, line ")
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or "Doe" not in path.read_text()


def test_a_second_run_does_only_what_is_not_done(batch, tmp_path: Path):
    batch(a="ok", b="refuse", c="ok")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "a").iterdir()}
    summary = batch(d="ok")
    assert analysed(tmp_path) == ["a", "b", "c", "b", "d"]
    assert summary.skipped == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "a").iterdir()} == before
    assert [row["case"] for row in rows(tmp_path / "out" / "findings.csv")] == ["a", "c", "d"]


def test_the_tables_keep_what_was_done_while_a_later_run_is_under_way(batch, tmp_path: Path):
    batch(b="ok", c="refuse")
    seen = []

    class Looking(Recorder):
        def event(self, name: str, **facts) -> None:
            seen.append([row["case"] for row in rows(tmp_path / "out" / "findings.csv")])

    batch(a="ok", reporter=Looking())
    assert seen[0] == ["a", "b"]


@pytest.mark.parametrize("change", ["input", "weights", "result", "state"])
def test_a_change_of_input_weights_or_result_is_done_again(batch, tmp_path: Path, change: str):
    batch(a="ok")
    if change == "input":
        batch(a="ok ok")
    elif change == "weights":
        batch(weights="other")
    elif change == "result":
        (tmp_path / "out" / "a" / "report.json").unlink()
        batch()
    else:
        (tmp_path / "out" / HIDDEN / "a.json").write_text("{ torn")
        batch()
    assert analysed(tmp_path) == ["a", "a"]


def test_a_touched_but_equal_input_is_not_done_again(batch, tmp_path: Path):
    batch(a="ok")
    os.utime(tmp_path / "in" / "a.nii", (1, 1))
    assert batch().skipped == 1
    assert analysed(tmp_path) == ["a"]


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(batch, tmp_path: Path):
    summary = batch(a="ok", b="full", c="ok")
    assert [(s.case, s.status, s.code) for s in summary.states] == [
        ("a", "done", None),
        ("b", "failed", "output.disk_full"),
        ("c", "planned", None),
    ]
    assert summary.not_begun == 1
    assert not summary.all_done
    assert not (tmp_path / "out" / "b").exists()
    again = batch(b="ok")
    assert again.all_done
    assert analysed(tmp_path) == ["a", "b", "b", "c"]


def test_a_ledger_that_cannot_be_written_ends_the_run(batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Ledger, state: State) -> None:
        raise OutputError("output.disk_full", "no space left", where=self.out)

    monkeypatch.setattr(Ledger, "write", full)
    with pytest.raises(OutputError):
        batch(a="ok")


def test_two_jobs_share_the_cores_and_do_each_case_once(batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.batch.run.os.cpu_count", lambda: 8)
    summary = batch(jobs=2, **{f"c{n}": "sleep 0.05" for n in range(6)})
    assert summary.all_done
    assert summary.jobs == 2
    lines = sorted((tmp_path / "log.txt").read_text().splitlines())
    assert lines == [f"c{n} 4" for n in range(6)]


def test_jobs_are_fewer_where_memory_is_short(batch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.batch.run.available_bytes", lambda: 1)
    assert batch(jobs=4, a="ok", b="ok").jobs == 1


def test_events_count_and_say_the_time_left(batch):
    recorder = Recorder()
    batch(a="ok", b="refuse", c="ok", reporter=recorder)
    cases = [event for event in recorder.events if event["event"] == "case"]
    assert [(e["case"], e["status"], e["done"], e["total"]) for e in cases] == [
        ("a", "done", 1, 3),
        ("b", "refused", 2, 3),
        ("c", "done", 3, 3),
    ]
    assert "left" in cases[0]["text"]
    assert cases[2]["left_s"] == 0
    assert "lungs.none" in cases[1]["text"]


def test_the_same_ct_in_two_cases_is_kept_twice_and_said(batch, tmp_path: Path):
    summary = batch(a="uid 1.2.3", b="ok", c="uid 1.2.3", d="refuse")
    assert summary.same_series == [("a", "c")]
    assert summary.to_json()["same_series"] == [["a", "c"]]
    assert [row["case"] for row in rows(tmp_path / "out" / "findings.csv")] == ["a", "b", "c"]
    said = {row["case"]: row["notice"] for row in rows(tmp_path / "out" / "cases.csv")}
    assert said["a"] == "batch.same_series: the same series as c; findings.csv has its findings 2 times"
    assert said["c"].split(": ")[0] == "batch.same_series"
    assert said["b"] == said["d"] == ""
    assert batch(e="uid 1.2.3").same_series == [("a", "c", "e")], "also with what was done before"
    assert batch(c="refuse", a="ok").same_series == [], "a case without a result repeats nothing"
    assert {row["notice"] for row in rows(tmp_path / "out" / "cases.csv")} == {""}


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_the_same_ct_in_two_cases_is_a_line_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: list[str]
):
    from pipelines.cli.main import run as command

    states = tuple(State(name, "done", seriesuid="1.2.3" if name != "b" else "4", findings=1) for name in "abc")
    monkeypatch.setattr("pipelines.batch.run.run_batch", lambda *_, **__: Summary(states, 0, 1))
    assert command(["batch", str(tmp_path), "-o", str(tmp_path / "out"), *quiet]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nodulus: batch.same_series: a, c are the same series; ")
    assert line.endswith("findings.csv has its findings 2 times")


def test_two_runs_on_one_output_exclude_each_other(batch, tmp_path: Path):
    with exclusive(tmp_path / "out"), pytest.raises(UsageError) as refused:
        batch(a="ok")
    assert refused.value.code == "batch.locked"
    assert str(os.getpid()) in refused.value.message
    assert batch().all_done


def test_an_empty_folder_and_an_output_inside_are_refused(batch, tmp_path: Path):
    with pytest.raises(UsageError) as refused:
        batch()
    assert refused.value.code == "batch.no_cases"
    with pytest.raises(UsageError) as inside:
        run_batch(tmp_path, tmp_path / "out", formats=())
    assert inside.value.code == "batch.inside"


def test_weights_that_do_not_load_end_the_run_before_any_case(batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OutputError, match="while it loaded the model") as died:
        batch(a="ok", weights="die")
    assert died.value.code == "batch.worker_died"
    make_cases(tmp_path / "in", a="ok")
    monkeypatch.setattr("pipelines.batch.cases.list_series", lambda path: [])
    with pytest.raises(ModelError):
        run_batch(tmp_path / "in", tmp_path / "out", formats=(), weights=tmp_path / "nothing", device="cpu")


# --- killed from outside ---------------------------------------------------------------------------------------------


def start(tmp_path: Path, jobs: int = 1) -> subprocess.Popen:
    command = [sys.executable, str(HERE / "fake_analyser.py"), str(tmp_path / "in"), str(tmp_path / "out"), str(jobs)]
    # A shell's background job ignores Ctrl-C, and so would what the tests start there.
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=hear_interrupts)


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def is_running(tmp_path: Path, case: str) -> bool:
    path = tmp_path / "log.txt"
    return path.exists() and case in analysed(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_killed_at_any_time_at_most_the_running_case_is_lost(tmp_path: Path, number: signal.Signals, code: int):
    make_cases(tmp_path / "in", a="ok", b="sleep 60", c="ok")
    with start(tmp_path) as process:
        wait_for(lambda: is_running(tmp_path, "b"))
        process.send_signal(number)
        assert process.wait(30) == code
    out = tmp_path / "out"
    assert json.loads((out / HIDDEN / "a.json").read_text())["status"] == "done"
    assert (out / "a" / "report.json").exists()
    assert not (out / "b").exists()
    if number != signal.SIGKILL:
        assert not list(out.glob(".nodulus-unfinished*"))
    make_cases(tmp_path / "in", b="ok")
    wait_for(lambda: not _workers_of(tmp_path))
    with start(tmp_path) as process:
        assert process.wait(60) == 0
    assert analysed(tmp_path) == ["a", "b", "b", "c"]
    assert not list(out.glob(".nodulus-unfinished*"))
    assert [row["case"] for row in rows(out / "findings.csv")] == ["a", "b", "c"]


def test_a_worker_that_dies_between_two_cases_costs_none(batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While the parent hashes a large input its workers wait; the system may take one of them for its memory then."""
    killed = []

    def kill_the_idle(path: Path) -> str:
        children = [process for process in multiprocessing.active_children() if process.pid not in killed]
        if path.stem == "b":
            for process in children:
                os.kill(process.pid, signal.SIGKILL)
                process.join(30)
                killed.append(process.pid)
        return content_sha256(path)

    monkeypatch.setattr("pipelines.batch.run.content_sha256", kill_the_idle)
    assert batch(a="ok", b="ok", c="ok").all_done
    assert len(killed) == 1
    assert analysed(tmp_path) == ["a", "b", "c"]
    assert [row["case"] for row in rows(tmp_path / "out" / "findings.csv")] == ["a", "b", "c"]


def _workers_of(tmp_path: Path) -> list[int]:
    """Processes whose working files lie under `tmp_path`: a killed batch must leave none behind."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "cmdline").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if "multiprocessing" in environment and "spawn_main" in environment and parent == 1:
            found.append(int(folder.name))
    return found


def test_a_second_run_beside_a_living_one_is_refused(tmp_path: Path):
    make_cases(tmp_path / "in", a="sleep 60")
    with start(tmp_path) as process:
        try:
            wait_for(lambda: is_running(tmp_path, "a"))
            with pytest.raises(UsageError) as refused, exclusive(tmp_path / "out"):
                raise AssertionError("both would run")
            assert str(process.pid) in refused.value.message
        finally:
            process.terminate()
            process.wait(30)
    with exclusive(tmp_path / "out"):
        pass
