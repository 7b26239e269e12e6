"""The table of training cases: what its lines mean, and every way it is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from imaging.errors import InputError
from imaging.models.prompts import attribute_names
from imaging.training.manifest import read_label, read_rows


@pytest.fixture
def table(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "cases.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def code(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_rows(path)
    return caught.value.code


def test_labels_texts_splits_and_series(table, tmp_path):
    rows = read_rows(
        table(
            "\ufeffpath,label,text,split,seriesuid,x_mm\n"
            "a,1,,,,17\n"
            'b,,"An 18 mm part-solid, spiculated nodule\nin the left lung.",val,1.2.3,\n'
            f"{tmp_path / 'c'},,No nodule.,train,,\n"
        )
    )
    assert [row.path for row in rows] == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    assert [row.label for row in rows] == [1.0, 1.0, 0.0]
    assert [row.split for row in rows] == ["train", "val", "train"]
    assert [row.series for row in rows] == [None, "1.2.3", None]
    assert rows[1].attributes == {"part-solid": True, "spiculated": True, "small": False, "large": True}
    known = dict(zip(("nodule", *attribute_names()), rows[1].concept_labels.tolist(), strict=True))
    assert (known["nodule"], known["part-solid"], known["small"]) == (1.0, 1.0, 0.0)
    assert math.isnan(known["calcified"])


def test_the_table_that_a_reading_session_exports_is_taken(table):
    from pipelines.viewer.weak_labels import MANIFEST_COLUMNS

    rows = read_rows(table(",".join(MANIFEST_COLUMNS) + "\na,1,6 mm solid pulmonary nodule.,1.2.3,R. Reader\nb,,,,\n"))
    assert [(row.label, row.series, row.said) for row in rows] == [(1.0, "1.2.3", True), (None, None, False)]


def test_the_column_decides_and_a_doubtful_report_says_nothing():
    assert read_label("0", "A 5 mm solid nodule.") == (0.0, {})
    assert read_label("1", "No nodule.") == (1.0, {})
    assert read_label("", "Possible nodule in the lingula.")[0] is None
    assert read_label("", "") == (None, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file,label\na,1\n",
        "path,path\na,a\n",
        "path,label,nodule\na,1,1\n",
        "path,label\na,1,2\n",
        "path,split\na,test\n",
        "path,label\na,1\na,1\n",
        'path,label\n"a,1\n',
    ],
)
def test_what_is_no_such_table_is_refused(table, text):
    assert code(table(text)) == "manifest.layout"


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x81path")
    assert code(tmp_path / "x.csv") == "manifest.layout"
    assert code(tmp_path / "y.csv") == "input.missing"
    assert code(tmp_path) == "input.unreadable"


@pytest.mark.parametrize("name", ["", "nowhere", "a/nowhere"])
def test_a_path_where_nothing_is_is_refused(table, name):
    assert code(table(f"path,label\n{name},1\n")) == "manifest.path"


@pytest.mark.parametrize("label", ["2", "yes", "0.5", "nan", "-1"])
def test_a_label_that_is_none_is_refused_with_its_line(table, label):
    with pytest.raises(InputError) as caught:
        read_rows(table(f"path,label\na,1\nb,{label}\n"))
    assert caught.value.code == "manifest.label"
    assert caught.value.where is not None
    assert caught.value.where.endswith("line 3")
