"""A hospital's own table: every row looked at, every doubt kept, columns by any name, patients on one side."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from imaging.io.nifti_write import write_nifti
from imaging.training.manifest import read_rows
from pipelines.preparation.collected import split_of


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def lineage(folder: Path) -> dict:
    return json.loads((folder / "lineage.json").read_text(encoding="utf-8"))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def scans(tmp_path: Path, chests) -> Path:
    """Six files of a chest that differ in one voxel, and a text that is no image."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "abcdef":
        array = chests.clear.array.copy()
        array[0, 0, 0] = float(ord(name))
        write_nifti(array, chests.clear.grid, folder / f"{name}.nii.gz")
    (folder / "notes.txt").write_text("not a scan", encoding="utf-8")
    return folder


# --- csv -------------------------------------------------------------------------------------------------------------


def test_every_row_is_used_or_has_a_reason(scans, prepare, tmp_path):
    source = write(
        tmp_path / "own.csv",
        "File;not read,Befund,Patient",
        "scans/a.nii.gz,yes,p1",
        "scans/b.nii.gz,NO,p2",
        "scans/c.nii.gz,,p3",
        "scans/d.nii.gz,maybe,p4",
        "scans/nothing.nii.gz,yes,p5",
        ",yes,p6",
        "scans/notes.txt,yes,p7",
        "scans/../scans/a.nii.gz,yes,p1",
        "scans/e.nii.gz,yes,p8",
        "scans/e.nii.gz,no,p8",
        "",
    )
    source.write_text(source.read_text(encoding="utf-8").replace("File;not read", "File"), encoding="utf-8-sig")
    code, said = prepare(
        "csv", source, "-o", tmp_path / "out", "--path-column", "File", "--label-column", "befund",
        "--patient-column", "Patient", "--val", 0,
    )  # fmt: skip
    assert code == 0, said
    rows = read_rows(tmp_path / "out" / "manifest.csv")
    assert [(row.path.name, row.label) for row in rows] == [("a.nii.gz", 1.0), ("b.nii.gz", 0.0)]
    assert [(Path(r["path"]).name, r["why"]) for r in table(tmp_path / "out" / "uncertain.csv")] == [
        ("c.nii.gz", "no label")
    ]
    reasons = {each["what"]: each["reason"] for each in lineage(tmp_path / "out")["dropped"]}
    assert reasons["line 5: scans/d.nii.gz"] == "the label is none of the words for it: 'maybe'"
    assert reasons["line 6: scans/nothing.nii.gz"] == "there is nothing at the path"
    assert reasons["line 7: "] == "no path"
    assert reasons["line 8: scans/notes.txt"].startswith("input.not_image: ")
    assert reasons["line 9: scans/../scans/a.nii.gz"] == "the same scan as a row before: scans/a.nii.gz"
    assert reasons["line 11: scans/e.nii.gz"].startswith("two rows give this scan different labels")
    assert reasons["scans/e.nii.gz"].startswith("two rows give this scan different labels")
    assert "dropped: 7" in said


def test_one_content_under_two_names_is_found(scans, prepare, tmp_path):
    (scans / "copy.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes())
    source = write(tmp_path / "own.csv", "path,label", "scans/a.nii.gz,1", "scans/b.nii.gz,0", "scans/copy.nii.gz,1")
    assert prepare("csv", source, "-o", tmp_path / "out")[0] == 0
    assert [each["reason"] for each in lineage(tmp_path / "out")["dropped"]] == [
        "the same scan as a row before: scans/a.nii.gz"
    ]


def test_own_words_for_labels_and_own_splits(scans, prepare, tmp_path):
    source = write(
        tmp_path / "own.csv",
        "path,label,who,where",
        "scans/a.nii.gz,suspekt,p1,train",
        "scans/b.nii.gz,frei,p2,val",
        "scans/c.nii.gz,frei,p3,test",
    )
    words = ("--positive", "suspekt", "--negative", "frei,ohne", "--patient-column", "who", "--split-column", "where")
    assert prepare("csv", source, "-o", tmp_path / "out", *words)[0] == 0
    assert [(r["label"], r["split"]) for r in table(tmp_path / "out" / "manifest.csv")] == [
        ("1", "train"),
        ("0", "val"),
    ]
    assert lineage(tmp_path / "out")["counts"]["test"] == 1
    (kept,) = table(tmp_path / "out-truth" / "test" / "scans.csv")
    assert kept["path"].endswith("c.nii.gz")
    source.write_text(source.read_text(encoding="utf-8").replace("p2", "p1"), encoding="utf-8")
    code, said = prepare("csv", source, "-o", tmp_path / "torn", *words)
    assert code == 4
    assert "1 patients stand on two sides" in said


def test_a_table_of_splits_decides(scans, prepare, tmp_path):
    source = write(tmp_path / "own.csv", "path,label,p", *(f"scans/{n}.nii.gz,{n in 'ab':d},p-{n}" for n in "abcd"))
    splits = write(tmp_path / "splits.csv", "patient,split", "p-a,val", "p-b,train", "p-c,test")
    words = ("csv", source, "--patient-column", "p", "--splits", splits)
    assert prepare(*words, "-o", tmp_path / "out")[0] == 0
    assert [r["split"] for r in table(tmp_path / "out" / "manifest.csv")] == ["val", "train"]
    record = lineage(tmp_path / "out")
    assert record["dropped_because"] == {"not in the table of splits": 1}
    assert len(record["inputs"]["splits_sha256"]) == 64
    for text in ("patient,split\np-a,holdout\n", "patient,split\np-a,val\np-a,train\n", "who,split\nx,val\n"):
        splits.write_text(text, encoding="utf-8")
        code, said = prepare(*words, "-o", tmp_path / "again")
        assert code == 4
        assert "collection.table" in said


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (("--positive", "1,yes", "--negative", "1,no"), "1"),
        (("--positive", "Frei,x", "--negative", "X,frei"), "frei, x"),
        (("--positive", "no"), "no"),  # which stands for none by default
    ],
)
def test_a_word_for_both_labels_is_refused(scans, prepare, tmp_path, words, shared):
    source = write(tmp_path / "own.csv", "path,label", "scans/a.nii.gz,1", "scans/b.nii.gz,no")
    code, said = prepare("csv", source, "-o", tmp_path / "out", *words)
    assert code == 2
    assert f"usage.option: the words for a nodule and those for none share: {shared}\n" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "options", "told"),
    [
        ("11", ("--val", 0), "2 cases with a nodule and 0 without"),
        ("00", ("--val", 0), "0 cases with a nodule and 2 without"),
        ("10", ("--val", 1), "0 cases with a nodule and 0 without"),
        ("10", ("--val", 0), None),
    ],
)
def test_cases_that_train_would_refuse_are_told(scans, prepare, tmp_path, labels, options, told, capsys):
    from pipelines.cli.main import run

    rows = [f"scans/{name}.nii.gz,{label}" for name, label in zip("ab", labels, strict=True)]
    code, said = prepare("csv", write(tmp_path / "own.csv", "path,label", *rows), "-o", tmp_path / "out", *options)
    assert code == 0
    warnings = lineage(tmp_path / "out")["warnings"]
    assert [each["code"] for each in warnings] == ["collection.one_sided"] * (told is not None)
    assert ("nodulus: collection.one_sided: " in said) == (told is not None)
    if told:
        assert told in said
        assert told in warnings[0]["message"]
        assert run(["train", "--manifest", str(tmp_path / "out" / "manifest.csv"), "-o", str(tmp_path / "run")]) == 4
        assert "manifest.one_sided" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "reports"])
def test_the_next_step_names_the_command_that_was_given(scans, prepare, tmp_path, kind):
    code, said = prepare(kind, write(tmp_path / "own.csv", "file,befund", "scans/a.nii.gz,1"), "-o", tmp_path / "out")
    assert code == 4
    assert f"name its columns with the options of 'nodulus prepare {kind}'" in said
    assert "published" not in said
    assert ("prepare csv" in said) == (kind == "csv")


def test_the_next_step_for_a_table_of_splits(scans, prepare, tmp_path):
    source = write(tmp_path / "own.csv", "path,label", "scans/a.nii.gz,1")
    splits = write(tmp_path / "splits.csv", "patient,part", "p,val")
    code, said = prepare("csv", source, "-o", tmp_path / "out", "--splits", splits)
    assert code == 4
    assert "give a CSV with a column patient or seriesuid" in said


def test_an_output_that_is_a_file_is_not_said_to_be_removed(scans, prepare, tmp_path):
    source = write(tmp_path / "own.csv", "path,label", "scans/a.nii.gz,1")
    code, said = prepare("csv", source, "-o", source)
    assert code == 1
    assert "output.exists: a file has this name" in said
    assert "remove" not in said


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["file,label", "scans/a.nii.gz,1"], "expects the columns path, label"),
        (["path,label,label", "scans/a.nii.gz,1,0"], "each once"),
        (["path,label"], "no rows"),
        (["path,label", "scans/a.nii.gz,1,2"], "line 2 has more fields"),
        ([""], "found nothing"),
    ],
)
def test_tables_that_are_refused(scans, prepare, tmp_path, lines, expected):
    code, said = prepare("csv", write(tmp_path / "own.csv", *lines), "-o", tmp_path / "out")
    assert code == 4
    assert "collection.table" in said
    assert expected in said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out-truth").exists()


def test_a_table_of_nothing_usable_is_refused(scans, prepare, tmp_path):
    code, said = prepare("csv", write(tmp_path / "own.csv", "path,label", "gone,1"), "-o", tmp_path / "out")
    assert code == 4
    assert "collection.empty" in said
    assert "there is nothing at the path" in said


def test_a_place_for_the_output(scans, prepare, tmp_path):
    source = write(tmp_path / "own.csv", "path,label", "scans/a.nii.gz,1", "scans/b.nii.gz,0")
    assert prepare("csv", source, "-o", tmp_path / "out", "--truth", tmp_path / "out" / "truth")[0] == 2
    assert prepare("csv", source, "-o", tmp_path / "out", "--val", "2")[0] == 2
    write(tmp_path / "out-truth", "a file")
    code, said = prepare("csv", source, "-o", tmp_path / "out")
    assert code == 1
    assert "output.exists" in said
    assert not (tmp_path / "out").exists()


# --- splits ----------------------------------------------------------------------------------------------------------


def test_a_split_goes_by_patient_and_stays_as_patients_come():
    people = [f"patient {n}" for n in range(4000)]
    sides = {person: split_of(person, val_share=0.2, seed=0) for person in people}
    share = sum(side == "val" for side in sides.values()) / len(people)
    assert share == pytest.approx(0.2, abs=0.02)  # three standard deviations
    assert sides == {person: split_of(person, val_share=0.2, seed=0) for person in reversed(people)}
    assert sides != {person: split_of(person, val_share=0.2, seed=1) for person in people}
    more = {person for person in people if split_of(person, val_share=0.3, seed=0) == "val"}
    assert {person for person, side in sides.items() if side == "val"} <= more


def test_all_scans_of_a_patient_fall_on_one_side_whatever_the_paths(scans, prepare, tmp_path):
    source = write(
        tmp_path / "own.csv", "path,label,p", *(f"scans/{n}.nii.gz,{i % 2},p{i // 2}" for i, n in enumerate("abcdef"))
    )
    for seed in range(6):
        prepare("csv", source, "-o", tmp_path / str(seed), "--patient-column", "p", "--val", 0.5, "--seed", seed)
        rows = {Path(r["path"]).name[0]: r["split"] for r in table(tmp_path / str(seed) / "manifest.csv")}
        assert rows["a"] == rows["b"]
        assert rows["c"] == rows["d"]
        assert rows["e"] == rows["f"]


# --- reports ---------------------------------------------------------------------------------------------------------

REPORTS = (
    "path,text,p",
    'scans/a.nii.gz,"FINDINGS: 8 mm spiculated solid nodule in the right upper lobe.",p1',
    "scans/b.nii.gz,双肺未见明显结节。,p2",
    "scans/c.nii.gz,左肺上叶小结节不除外。,p3",
    'scans/d.nii.gz,"History of lung nodule. Heart size is normal.",p4',
    "scans/e.nii.gz,,p5",
    "scans/f.nii.gz,Stable calcified granuloma.,p6",
)


def test_reports_become_labels_with_codes_and_doubts_go_into_a_file_of_their_own(scans, prepare, tmp_path):
    source = write(tmp_path / "reports.csv", *REPORTS)
    code, said = prepare("reports", source, "-o", tmp_path / "out", "--patient-column", "p", "--val", 0)
    assert code == 0, said
    rows = {row.path.name[0]: row for row in read_rows(tmp_path / "out" / "manifest.csv")}
    assert {name: row.label for name, row in rows.items()} == {"a": 1.0, "b": 0.0, "f": 1.0}
    assert dict(rows["a"].attributes) == {"solid": True, "spiculated": True, "small": False, "large": False}
    assert dict(rows["f"].attributes) == {"calcified": True}
    doubts = {Path(row["path"]).name[0]: row for row in table(tmp_path / "out" / "uncertain.csv")}
    assert set(doubts) == {"c", "d", "e"}, "nothing is dropped in silence"
    assert doubts["c"]["why"] == "uncertain by uncertain_after: 左肺上叶小结节不除外"
    assert doubts["c"]["text"] == "左肺上叶小结节不除外。"
    assert doubts["d"]["why"] == "the report speaks of no nodule"
    assert doubts["e"]["why"] == "no text"
    labels = {row["path"][6]: row for row in table(tmp_path / "out" / "labels.csv")}
    assert set(labels) == set("abcdef")
    assert labels["a"]["codes"].split() == [
        "SCT:786838002", "RADLEX:RID50149", "SCT:52101004", "RADLEX:RID28472", "RADLEX:RID5741", "RADLEX:RID5713",
        "SCT:129742005",
    ]  # fmt: skip
    assert (labels["a"]["size_mm"], labels["a"]["attributes"]) == ("8", "solid=1 spiculated=1")
    assert "SCT:2667000" in labels["b"]["codes"]
    assert labels["d"]["codes"] == ""
    assert "uncertain: 3" in said


def test_a_report_of_dicom_goes_with_the_patient_of_the_header(chests, prepare, tmp_path):
    from imaging.simulation.dicom_series import SeriesOptions, write_series

    for name, patient in (("x", "P1"), ("y", "P1"), ("z", "P2")):
        write_series(chests.clear, tmp_path / name, options=SeriesOptions(key=name, study_key=name, patient_id=patient))
    source = write(tmp_path / "r.csv", "path,text", "x,6 mm nodule.", "y,No nodule.", "z,No nodule.")
    for seed in range(5):
        prepare("reports", source, "-o", tmp_path / str(seed), "--seed", seed, "--val", 0.5)
        rows = {Path(r["path"]).name: r["split"] for r in table(tmp_path / str(seed) / "manifest.csv")}
        assert rows["x"] == rows["y"]
    written = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "0").iterdir())
    assert "P1" not in written, "patients decide the split and are written nowhere"
    assert lineage(tmp_path / "0")["notes"] == []


def test_the_same_input_gives_the_same_bytes(scans, prepare, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    source = write(tmp_path / "reports.csv", *REPORTS)
    for name in ("one", "two"):
        prepare("reports", source, "-o", tmp_path / name, "--truth", tmp_path / f"{name}-t", "--seed", 3)
    for name in ("manifest.csv", "uncertain.csv", "labels.csv", "lineage.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
