"""Names that cannot be decoded: what programs read is JSON for the strictest parser, and no command falls over them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import InputError
from pipelines.batch.cases import discover
from pipelines.input_content import content_sha256, fingerprint
from pipelines.progress import JsonLines, Lines
from pipelines.strict_json import encodable, strict_json

BAD = os.fsdecode(b"ct\xff")

#: Any text, what undecodable bytes become and backslashes among it.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.integers(0xDC80, 0xDCFF).map(chr), st.sampled_from("\\u\U0001f642")
    )
)


def strict(text: str) -> object:
    """What a parser reads that takes UTF-8 only; Python's own hands on half a pair, so its result is encoded."""
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


@given(TEXTS)
def test_any_text_is_strict_json_and_only_halves_of_pairs_are_changed(text: str) -> None:
    assert strict(strict_json({"x": [text]})) == {"x": [encodable(text)]}
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert encodable(text) == text
        assert strict_json(text) == json.dumps(text)


def test_where_of_a_refusal_is_printable() -> None:
    error = InputError("input.missing", "x", where=Path(BAD + "\n.zip"))
    assert error.where == "ct\\udcff\\n.zip"
    assert strict(json.dumps(error.to_json()))


def test_events_and_lines_can_be_written(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as stream:
        JsonLines(stream).event("case", case=BAD)
        Lines(stream).event("case", text=BAD)
        stream.seek(0)
        first, second = stream.read().splitlines()
    assert strict(first) == {"event": "case", "case": "ct\\udcff"}
    assert second.endswith("ct\\udcff")


def _make(folder: Path) -> None:
    folder.mkdir()
    for name in (b"ct\xff.zip", b"ct\xfe.zip"):
        try:
            (folder / os.fsdecode(name)).write_bytes(b"PK\x03\x04junk")
        except OSError:
            pytest.skip("this file system has no such names")


def test_content_and_fingerprint_of_such_files_are_told_apart(tmp_path: Path) -> None:
    _make(tmp_path / "in")
    first, second = sorted((tmp_path / "in").iterdir())
    assert content_sha256(first) != content_sha256(second)
    assert fingerprint(first) != fingerprint(second)
    assert len({case.name for case in discover(tmp_path / "in")}) == 2


@pytest.mark.parametrize("voice", ["--json", "--events", None])
def test_a_batch_over_such_names_says_so_in_json_and_tables(tmp_path: Path, voice: str | None) -> None:
    _make(tmp_path / "in")
    command = [sys.executable, "-m", "pipelines.cli.main", "batch", "in", "-o", os.fsdecode(b"out\xff")]
    done = subprocess.run([*command, *([voice] if voice else [])], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr
    said = done.stdout.decode("utf-8")
    assert "out\\udcff" in said or "out\\\\udcff" in said
    if voice:
        result = strict(said if voice == "--json" else said.splitlines()[-1])
        assert result["output"] == "out\\udcff"
    with (tmp_path / os.fsdecode(b"out\xff") / "failures.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["input"] for row in rows] == ["in/ct\\udcfe.zip", "in/ct\\udcff.zip"]
