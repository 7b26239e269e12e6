"""Reading the protocol's CSV files: what is taken, and what is refused with the line that is at fault."""

from __future__ import annotations

import pytest

from imaging.errors import InputError
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


def test_uids_are_kept_to_the_letter(write):
    assert read_marks(write("seriesuid,coordX,coordY,coordZ,probability\n 007,1,2,3,1\n")).seriesuids == (" 007",)


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


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match=r"evaluation\.unreadable"):
            read_annotations(path)


def test_the_list_of_scans_has_no_header_but_may_have_one(write):
    assert read_seriesuids(write("1.2\n1.3\n")) == ("1.2", "1.3")
    assert read_seriesuids(write("seriesuid,split\n1.2,test\n")) == ("1.2",)


@pytest.mark.parametrize("text", ["", "\n\n", "seriesuid\n", "1.2\n1.3\n1.2\n"])
def test_an_empty_list_or_a_scan_twice_is_refused(write, text):
    with pytest.raises(InputError) as refusal:
        read_seriesuids(write(text))
    assert refusal.value.code == "evaluation.series_list"
