"""A disk that is full while a model is trained: told as such, nothing half-written, and the run can go on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import OutputError
from pipelines.silence import silence_libraries
from pipelines.train import train_to_folder
from pipelines.training_data import gather
from pipelines.training_record import CHECKPOINT
from pipelines.training_settings import TrainOptions

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def train(vision, text, prepared: Path, tmp_path: Path) -> Callable[..., dict]:
    options = TrainOptions(vision, text, batch=8, rate=3e-3, rounds=3, shortest_round=1)
    return lambda name, **more: train_to_folder(prepared, tmp_path / name / "run", steps=6, options=options, **more)


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """So many whole files fit, then the next ends half-way."""

    def limit(files: int) -> None:
        left, write = [files], Path.write_bytes

        def write_bytes(path: Path, content: bytes) -> int:
            left[0] -= 1
            if left[0] >= 0:
                return write(path, content)
            write(path, bytes(content)[:100])
            raise FULL

        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    return limit


def refused(train: Callable[..., dict], name: str, **more: object) -> OutputError:
    with pytest.raises(OutputError) as caught:
        train(name, **more)
    assert caught.value.code == "output.disk_full"
    return caught.value


def test_full_before_the_first_checkpoint_leaves_nothing(train, full_after, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    full_after(0)
    assert "run again" in refused(train, "early").remedy
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("fitting", [1, 2, 4, 5, 6])  # the log; checkpoints of rounds; weights; manifest; record
def test_full_later_goes_on_to_the_same_bytes(train, full_after, tmp_path: Path, monkeypatch, fitting: int):
    with monkeypatch.context():
        full_after(fitting)
        assert "--resume" in refused(train, "late").remedy
    monkeypatch.undo()
    left = {path.name for path in (tmp_path / "late" / "run").iterdir()}
    assert CHECKPOINT in left
    assert not [name for name in left if name.startswith(".") or name.endswith(".part")]
    train("late", resume=True)
    train("whole")
    late, whole = (tmp_path / name / "run" / "trained.safetensors" for name in ("late", "whole"))
    assert late.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("writer", ["csv.DictWriter.writerow", "accelerate.tracking.TensorBoardTracker.log"])
def test_full_at_a_line_of_the_log(train, monkeypatch: pytest.MonkeyPatch, writer: str):
    def write(*_: object, **__: object) -> None:
        raise FULL

    pytest.importorskip("tensorboard")
    monkeypatch.setattr(writer, write)
    assert "--resume" in refused(train, "log").remedy


def test_full_while_windows_of_a_scan_are_kept(vision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def save(file: Path, array: np.ndarray) -> None:
        file.write_bytes(b"half")
        raise OSError("30000 requested and 4064 written")  # as numpy says it

    (tmp_path / "a.nii").write_bytes(b"any")
    (tmp_path / "cases.csv").write_text("path,label\na.nii,1\n", encoding="utf-8")
    monkeypatch.setattr("pipelines.training_data._read_and_cut", lambda *_: np.zeros((2, 3, 24, 24), np.uint8))
    monkeypatch.setattr(np, "save", save)
    with pytest.raises(OutputError) as caught:
        gather(tmp_path / "cases.csv", tmp_path / "run" / "cache", vision)
    assert caught.value.code == "output.disk_full"
    assert not (tmp_path / "run").exists()


def test_a_thread_of_a_library_that_cannot_write_prints_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """TensorBoard writes in a thread, which tells of it when it is next asked to write."""
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: seen.append(told.exc_value))
    silence_libraries()
    wrong = ValueError("anything else")
    for error in (FULL, wrong):
        thread = threading.Thread(target=lambda error=error: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()
    assert seen == [wrong]
    assert capsys.readouterr().err == ""
