"""Tables land between their markers, the rest of the file stays, and every look at `test` leaves a line."""

from __future__ import annotations

import csv

import pytest

from benchmarks.results_table import Made, log_look, markdown_table, replace_section, section

MADE = Made("python -m benchmarks.windows --split test", 0, "small", "ab" * 32, "windows_test.csv", "cd" * 32)


def test_a_new_section_goes_to_the_end_and_an_old_one_is_replaced_in_place(tmp_path):
    path = tmp_path / "results.md"
    replace_section("a", "first", path=path)
    replace_section("b", "second", path=path)
    path.write_text(path.read_text().replace("<!-- begin b -->", "words by a person\n\n<!-- begin b -->"))
    replace_section("a", "third", path=path)
    text = path.read_text()
    assert text.startswith("# Results")
    assert "first" not in text
    assert text.index("third") < text.index("words by a person") < text.index("second")


def test_the_same_table_gives_the_same_bytes(tmp_path):
    path = tmp_path / "results.md"
    text = section("Windows", markdown_table(("a", "b"), [("1", "2 | 3")]), MADE)
    replace_section("windows", text, path=path)
    first = path.read_bytes()
    replace_section("windows", text, path=path)
    assert path.read_bytes() == first
    assert b"2 \\| 3" in first
    assert b"seed 0" in first


@pytest.mark.parametrize(
    "broken", ["<!-- begin a -->\n", "<!-- end a -->\n<!-- begin a -->\n", "<!-- begin a --><!-- end a -->" * 2]
)
def test_broken_markers_are_refused_and_nothing_is_written(tmp_path, broken):
    path = tmp_path / "results.md"
    path.write_text(broken)
    with pytest.raises(ValueError, match="broken markers"):
        replace_section("a", "text", path=path)
    assert path.read_text() == broken


def test_a_section_cannot_smuggle_in_a_marker(tmp_path):
    with pytest.raises(ValueError, match="marker"):
        replace_section("a", "<!-- begin b -->", path=tmp_path / "results.md")


def test_rows_must_fit_the_header():
    with pytest.raises(ValueError, match="does not fit"):
        markdown_table(("a", "b"), [("1",)])


def test_each_look_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = tmp_path / "looks.csv"
    log_look("windows", "test", MADE, "AUROC 0.9, pointing 0.8", path=path)
    log_look("crops", "test", MADE, "sensitivity 0.9", path=path)
    with path.open(newline="") as stream:
        looks = list(csv.DictReader(stream))
    assert [look["benchmark"] for look in looks] == ["windows", "crops"]
    assert looks[0]["when_utc"] == "2023-11-14 22:13:20"
    assert looks[0]["headline"] == "AUROC 0.9, pointing 0.8"
    assert looks[0]["weights_sha256"] == MADE.weights_sha256
