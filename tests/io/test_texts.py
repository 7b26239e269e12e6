"""A table or a file of settings that is not there is told as such, by every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging.errors import CODES, InputError
from imaging.io.texts import open_text
from pipelines.cli.main import run


def test_a_byte_order_mark_is_no_text_and_line_ends_stay(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    with open_text(tmp_path / "a") as stream:
        assert stream.read() == "one\r\ntwo\n"


def test_what_is_wrong_with_the_text_is_for_the_caller(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError), open_text(tmp_path / "a") as stream:
        stream.read()


def test_a_disk_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    assert CODES["input.unreadable"]  # the table of codes is a file too, and has been read
    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(InputError, match="Input/output error") as caught, open_text(tmp_path / "a"):
        pass
    assert caught.value.code == "input.unreadable"


COMMANDS = [
    ["evaluate", "NAMED", "--truth", "there.csv", "-o", "out"],
    ["evaluate", "there.csv", "--truth", "NAMED", "-o", "out"],
    ["train", "--manifest", "NAMED", "-o", "out"],
    ["train", "--manifest", "there.csv", "--recipe", "NAMED", "-o", "out"],
    ["pack", "NAMED", "-o", "out.safetensors"],
    ["prepare", "csv", "NAMED", "-o", "out"],
    ["prepare", "reports", "NAMED", "-o", "out"],
    ["prepare", "csv", "there.csv", "--splits", "NAMED", "-o", "out"],
    ["prepare", "nlst", ".", "--abnormalities", "NAMED", "-o", "out"],
    ["release", "run", "--name", "n", "--licence", "l", "--facts", "NAMED", "-o", "out"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_file_that_is_not_there_is_not_taken_for_one_in_another_format(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text(
        "seriesuid,coordX,coordY,coordZ,probability,diameter_mm,path,label\n", encoding="utf-8"
    )
    assert run([word.replace("NAMED", "absent.csv") for word in words]) == 4
    said = capsys.readouterr().err
    assert said.startswith("nodulus: input.missing: there is no file of this name")
    assert "where: absent.csv" in said
    assert "check the path" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.csv"]
