"""Triton stays away where a graphics driver has loaded LLVM, and only there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pipelines.viewer import triton_guard


@pytest.fixture
def untouched(monkeypatch):
    """As in a process that has not imported Triton; what the test does to the modules is undone."""
    monkeypatch.setitem(sys.modules, "triton", None)
    del sys.modules["triton"]


def test_triton_cannot_be_imported_beside_the_drivers_llvm(tmp_path, monkeypatch, untouched):
    (tmp_path / "maps").write_text("7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/libLLVM-15.so.1\n")
    monkeypatch.setattr(triton_guard, "MAPS", tmp_path / "maps")
    assert triton_guard.keep_triton_away()
    with pytest.raises(ImportError):
        importlib.import_module("triton")


@pytest.mark.parametrize("maps", ["7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/libc.so.6\n", None])
def test_without_such_a_driver_nothing_is_done(tmp_path, monkeypatch, untouched, maps):
    if maps is not None:
        (tmp_path / "maps").write_text(maps)
    monkeypatch.setattr(triton_guard, "MAPS", tmp_path / "maps")
    assert not triton_guard.keep_triton_away()
    assert "triton" not in sys.modules


def test_a_triton_that_is_loaded_already_stays(tmp_path, monkeypatch):
    loaded = object()
    monkeypatch.setitem(sys.modules, "triton", loaded)
    (tmp_path / "maps").write_text("libLLVM")
    monkeypatch.setattr(triton_guard, "MAPS", tmp_path / "maps")
    assert not triton_guard.keep_triton_away()
    assert sys.modules["triton"] is loaded


@pytest.mark.gui
def test_every_job_of_the_window_starts_without_triton(tmp_path, monkeypatch, untouched, qapp, qtbot):
    """The network may be loaded by any job, not only by the search: the other study of a comparison needs it too."""
    from pipelines.viewer.work import Work

    (tmp_path / "maps").write_text("7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/libLLVM-15.so.1\n")
    monkeypatch.setattr(triton_guard, "MAPS", tmp_path / "maps")
    ended, refused = [], []
    work = Work(lambda *_: None, ended.append, refused.append)
    work.start(lambda on_progress: importlib.import_module("triton"))
    qtbot.waitUntil(lambda: not work.running, timeout=5000)
    assert ended == [None]
    assert "ModuleNotFoundError" in refused[0]
    assert "triton" in refused[0]


def test_nothing_of_the_viewer_starts_a_job_elsewhere():
    """One place starts jobs; a second one would have to keep Triton away too."""
    sources = {path.stem: path.read_text("utf-8") for path in Path(triton_guard.__file__).parent.glob("*.py")}
    starters = ("create_worker", "thread_worker", "QThread", "ThreadPool", "Thread(")
    assert {name for name, text in sources.items() if any(word in text for word in starters)} == {"work"}
