"""Progress: right shares, and the right face for a terminal, a log, a pipe and a program."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import socket
from pathlib import Path

import pytest

from pipelines import progress


def test_the_shares_of_the_stages_make_a_whole():
    assert sum(stage.share for stage in progress.STAGES.values()) == pytest.approx(1.0)


def test_percent_grows_from_nothing_to_everything_and_never_back():
    seen = [progress.percent(name, done, 4) for name in progress.STAGES for done in range(5)]
    assert seen[0] == 0
    assert seen[-1] == pytest.approx(100.0)
    assert seen == sorted(seen)


def test_a_stage_without_parts_does_not_divide_by_zero():
    assert progress.percent("read", 0, 0) == pytest.approx(100 * progress.STAGES["read"].share)
    assert progress.percent("something else", 0, 0) == 0


def test_part_of_narrows_to_one_stage():
    calls = []
    narrowed = progress.part_of(lambda *call: calls.append(call), "lungs")
    assert narrowed is not None
    narrowed(2, 5)
    assert calls == [("lungs", 2, 5)]
    assert progress.part_of(None, "lungs") is None


def test_lines_say_each_stage_once_and_then_only_now_and_then():
    clock = iter([0.0, 1.0, 20.0, 21.0])
    stream = io.StringIO()
    lines = progress.Lines(stream, every_s=15, clock=lambda: next(clock))
    for done in (0, 1, 2):
        lines.stage("score", done, 10)
    lines.stage("write", 0, 1)
    texts = stream.getvalue().splitlines()
    shown = [progress.percent("score", done, 10) for done in (0, 2)] + [progress.percent("write", 0, 1)]
    labels = ("scoring", "scoring", "writing results")
    expected = [f"{percent:.0f} % {label}" for percent, label in zip(shown, labels, strict=True)]
    assert [text.split(" ", 1)[1].strip() for text in texts] == expected


def test_json_lines_are_json_and_one_a_percent():
    stream = io.StringIO()
    lines = progress.JsonLines(stream)
    for done in range(1001):
        lines.stage("score", done, 1000)
    lines.event("case", case="a", status="done", text="for people")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events[0] == {"event": "stage", "stage": "score", "done": 0, "total": 1000, "percent": 29.0}
    assert events[-2]["done"] == 1000
    assert events[-1] == {"event": "case", "case": "a", "status": "done"}
    assert len(events) < 60


def test_bars_on_a_terminal_are_gone_at_the_end():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        reporter = progress.choose_reporter(stream=terminal)
        assert isinstance(reporter, progress.Bars)
        reporter.stage("score", 1, 2, case="one")
        reporter.event("case", case="one", text="one is done")
        reporter.close()
        shown = ""
        while "one is done" not in shown and select.select([leader], [], [], 5)[0]:
            shown += os.read(leader, 65536).decode(errors="replace")
    os.close(leader)
    assert "one is done" in shown


def test_a_log_file_gets_lines_a_pipe_gets_nothing(tmp_path: Path):
    with (tmp_path / "log").open("w") as log:
        assert isinstance(progress.choose_reporter(stream=log), progress.Lines)
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w") as pipe:
        assert isinstance(progress.choose_reporter(stream=pipe), progress.Silent)
    journal, ours = socket.socketpair()
    with journal, ours, os.fdopen(os.dup(ours.fileno()), "w") as stream:
        assert isinstance(progress.choose_reporter(stream=stream), progress.Lines)
    with Path(os.devnull).open("w") as nowhere:
        assert isinstance(progress.choose_reporter(stream=nowhere), progress.Silent)


def test_quiet_says_nothing_but_events_asked_for_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with (tmp_path / "log").open("w") as log:
        quiet = progress.choose_reporter(quiet=True, stream=log)
        quiet.stage("read", 0, 1)
        quiet.event("case", text="one")
        quiet.close()
        events = progress.choose_reporter(quiet=True, events=True, stream=log)
        events.stage("read", 0, 1)
        events.close()
    assert (tmp_path / "log").read_text() == ""
    assert json.loads(capsys.readouterr().out)["stage"] == "read"
