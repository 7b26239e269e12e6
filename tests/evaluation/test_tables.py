"""Reading the protocol's CSV files: what is taken, and what is refused with the line that is at fault."""

from __future__ import annotations

import pytest

from imaging.errors import CODES, InputError
from imaging.evaluation.tables import read_annotations, read_marks, read_seriesuids


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_columns_are_found_by_name_in_any_order_with_others_between(write):
    marks = read_marks(write("probability,note,coordZ,coordY,coordX,seriesuid\n0.25,hello,3,2,1,1.2.3\n"))
    assert marks.seriesuids == ("1.2.3",)
    assert marks.points_mm.tolist() == [[1, 2, 3]]
    assert marks.scores.tolist() == [0.25]


def test_numbers_keep_their_last_bit(write):
    text = "0.84196579137557230"
    marks = read_marks(write(f"seriesuid,coordX,coordY,coordZ,probability\na,-53.26694022,1e2,0,{text}\n"))
    assert marks.scores[0] == float(text)
    assert marks.points_mm[0].tolist() == [-53.26694022, 100.0, 0.0]


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_are_fine(write):
    content = b"\xef\xbb\xbfseriesuid,coordX,coordY,coordZ,diameter_mm,texture\r\na,1,2,3,-1,4.5\r\n\r\n"
    notes = read_annotations(write(content))
    assert notes.diameters_mm.tolist() == [-1.0]
    assert notes.columns == {"texture": ("4.5",)}


def test_a_header_alone_is_a_detector_that_found_nothing(write):
    assert read_marks(write("seriesuid,coordX,coordY,coordZ,probability\n")).seriesuids == ()


def test_uids_are_kept_to_the_letter_but_for_blanks_around_them(write):
    told = []
    head = "seriesuid,coordX,coordY,coordZ,probability\n"
    assert read_marks(write(head + "007,1,2,3,1\n1e3,1,2,3,1\n"), notices=told).seriesuids == ("007", "1e3")
    assert told == []
    assert read_marks(write(head + " 007,1,2,3,1\n1 2,1,2,3,1\n7\t,1,2,3,1\n"), notices=told).seriesuids == (
        "007",
        "1 2",
        "7",
    )
    (notice,) = told
    assert (notice.code, "around 2 of 3" in notice.message) == ("evaluation.uid_blanks", True)
    truth = write("seriesuid,coordX,coordY,coordZ,diameter_mm\n\na\u00a0,1,2,3,1\n")
    assert read_annotations(truth, notices=told).seriesuids == ("a",)
    assert read_annotations(truth).lines == (3,)
    assert read_seriesuids(write(" seriesuid \n a\nb\n"), notices=told) == ("a", "b")
    assert [notice.code for notice in told] == ["evaluation.uid_blanks"] * 3


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "evaluation.columns", "lacks seriesuid"),
        ("seriesuid,coordX,coordY,coordZ\n", "evaluation.columns", "lacks probability"),
        ("seriesuid,coordX,coordX,coordY,coordZ,probability\n", "evaluation.columns", "coordX twice"),
        ("seriesuid;coordX;coordY;coordZ;probability\n", "evaluation.columns", "semicolons"),
        ("seriesuid\tcoordX\tcoordY\tcoordZ\tprobability\n", "evaluation.columns", "tabs"),
        ("seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,high\n", "evaluation.value", "line 2: probability"),
        ("seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,nan\n", "evaluation.value", "'nan'"),
        ("seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,\n", "evaluation.value", "''"),
        ("seriesuid,coordX,coordY,coordZ,probability\n\na,1,2,3\n", "evaluation.value", "line 3 has 4 fields"),
        ("seriesuid,coordX,coordY,coordZ,probability\na,1,5,2,3,0.5\n", "evaluation.value", "6 fields"),
        ("seriesuid,coordX,coordY,coordZ,probability\n ,1,5,2,0.5\n", "evaluation.value", "line 2: seriesuid is empty"),
        ('seriesuid,coordX,coordY,coordZ,probability\n"a,1,2,3,4\n', "evaluation.unreadable", "not a readable CSV"),
        (b"seriesuid,\xff\xfe\n", "evaluation.unreadable", "not a readable CSV"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(write, text, code, words):
    with pytest.raises(InputError) as refusal:
        read_marks(write(text))
    assert refusal.value.code == code
    assert words in refusal.value.message
    assert refusal.value.where.endswith("table.csv")


@pytest.mark.parametrize("read", [read_marks, read_annotations, read_seriesuids])
def test_a_missing_file_and_a_folder_are_refused_as_what_they_are(tmp_path, read):
    (tmp_path / "a.csv").touch()
    for path, code, words in (
        (tmp_path / "absent.csv", "input.missing", "check the path"),
        (tmp_path / "a.csv" / "b.csv", "input.missing", "check the path"),
        (tmp_path, "input.unreadable", "give the file itself"),
    ):
        with pytest.raises(InputError) as refusal:
            read(path)
        assert (refusal.value.code, refusal.value.where) == (code, str(path))
        assert words in refusal.value.remedy
        assert "UTF-8" not in refusal.value.remedy


def test_a_file_that_may_not_be_read_is_not_called_missing(write, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = write("seriesuid\n")
    assert CODES["input.unreadable"]  # the table of codes is a file too, and has been read
    monkeypatch.setattr("pathlib.Path.open", closed)
    with pytest.raises(InputError, match="Permission denied") as refusal:
        read_marks(path)
    assert refusal.value.code == "input.unreadable"


def test_the_list_of_scans_has_no_header_but_may_have_one(write):
    assert read_seriesuids(write("1.2\n1.3\n")) == ("1.2", "1.3")
    assert read_seriesuids(write("seriesuid,split\n1.2,test\n")) == ("1.2",)


@pytest.mark.parametrize("text", ["", "\n\n", "seriesuid\n", "1.2\n1.3\n1.2\n", "1.2\n1.3\n 1.2\n"])
def test_an_empty_list_or_a_scan_twice_is_refused(write, text):
    with pytest.raises(InputError) as refusal:
        read_seriesuids(write(text))
    assert refusal.value.code == "evaluation.series_list"
