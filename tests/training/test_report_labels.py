"""Report text to labels: the corpus beside this file, and properties that no single sentence shows."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.training.report_labels import ATTRIBUTES, label_report

CORPUS = Path(__file__).with_name("report_corpus.csv")
#: `label` of the strongest sentence is the report's.
STRENGTH = {"none": 0, "negative": 1, "uncertain": 2, "positive": 3}


def corpus() -> list[dict[str, str]]:
    with CORPUS.open(encoding="utf-8", newline="") as stream:
        return [row | {"text": row["text"].replace(" | ", "\n")} for row in csv.DictReader(stream)]


ROWS = corpus()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["text"][:60])
def test_the_corpus(row):
    found = label_report(row["text"])
    assert found.label == row["label"], found.mentions
    assert dict(found.attributes) == {name: row[name] == "1" for name in ATTRIBUTES if row[name]}
    assert found.size_mm == (float(row["size_mm"]) if row["size_mm"] else None)


def test_the_corpus_is_large_and_holds_every_label_in_both_languages():
    assert len(ROWS) >= 150
    assert {(row["language"], row["label"]) for row in ROWS} == {(a, b) for a in ("en", "zh") for b in STRENGTH}
    assert len({row["text"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("text", ["", "   \n\n", "?!.", "1.", "结", "nodul", "0" * 10_000])
def test_text_without_a_nodule_has_no_label(text):
    assert label_report(text).label == "none"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([row for row in ROWS if "\n" not in row["text"] and "：" not in row["text"]]), max_size=5)
)
def test_a_report_is_as_strong_as_its_strongest_sentence(rows):
    text = "\n".join(row["text"] for row in rows if ":" not in row["text"])
    labels = [row["label"] for row in rows if ":" not in row["text"]]
    assert label_report(text).label == max(labels, key=STRENGTH.__getitem__, default="none")


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["no", "nodule", "结节", "未见", ",", "5 mm", "\n", "?"])).map(" ".join)
)
def test_no_text_breaks_it(text):
    found = label_report(text)
    assert found.label in STRENGTH
    assert set(found.attributes) <= set(ATTRIBUTES)


@pytest.mark.parametrize(
    ("text", "size_mm"),
    [
        ("nodule of 5 mm", 5.0),
        ("nodule of 0.5 cm", 5.0),
        ("nodule, 12x9 mm", 12.0),
        ("nodule, 1.1 x 1.4 x 0.9 cm", 14.0),
        ("nodule, 9 mm x 12 mm", 12.0),
        ("6-mm nodule", 6.0),
        ("结节，约0.8cm×1.1cm", 11.0),
        ("nodule in a field of view of 350 mm", None),
    ],
)
def test_sizes_are_read_in_millimetres(text, size_mm):
    assert label_report(text).size_mm == size_mm


def test_each_decision_names_its_rule():
    found = label_report("No nodule on the right. Possible nodule on the left. Thyroid nodule.")
    assert [(mention.label, mention.rule) for mention in found.mentions] == [
        ("negative", "negation_before"),
        ("uncertain", "uncertain_before"),
    ]


def test_upper_case_and_full_width_marks_make_no_difference():
    assert label_report("NO PULMONARY NODULE.").label == "negative"
    assert label_report("右肺上叶见结节（8mm）。").size_mm == 8.0


def test_a_section_that_describes_the_patient_is_not_read_and_the_next_one_is():
    text = "HISTORY: lung nodule seen elsewhere.\nFINDINGS: Clear lungs.\nNo effusion."
    assert label_report(text).label == "negative"


def test_a_long_report_takes_no_time():
    import time

    text = "No consolidation, effusion, pneumothorax or nodule in either lung, " * 400
    start = time.perf_counter()
    label_report(text)
    assert time.perf_counter() - start < 5


def test_it_needs_no_torch():
    code = "import sys, imaging.training.report_labels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
