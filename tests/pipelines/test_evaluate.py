"""``nodulus evaluate``: its files can be read again and say what the protocol says."""

from __future__ import annotations

import json

import pytest

from imaging.errors import UsageError
from pipelines.evaluate import evaluate, evaluate_to_folder

MARKS = """seriesuid,coordX,coordY,coordZ,probability
1.1,0.5,0,0,0.91
1.1,80,0,0,0.35
1.2,10,10,11,0.62
1.2,70,0,0,0.71
1.3,5,5,5,0.12
"""
TRUTH = """seriesuid,coordX,coordY,coordZ,diameter_mm,texture,pleural_contact
1.1,0,0,0,6,5,1
1.2,10,10,10,9.5,1,0
1.2,-40,0,0,4.2,3,0
"""
EXCLUDED = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3,5,5,4,-1\n"


@pytest.fixture
def files(tmp_path):
    contents = {"marks": MARKS, "truth": TRUTH, "excluded": EXCLUDED, "series": "1.1\n1.2\n1.3\n1.4\n"}
    for name, text in contents.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: tmp_path / f"{name}.csv" for name in contents}


def run(files, folder, **options):
    marks, truth = files["marks"], files["truth"]
    return evaluate_to_folder(
        marks, folder, truth=truth, excluded=files["excluded"], series=files["series"], resamples=200, **options
    )


def test_writes_json_page_and_plot_that_agree(files, tmp_path):
    evaluation, paths = run(files, tmp_path / "out")
    values = json.loads(paths["evaluation.json"].read_text())
    # by hand: found at 0.91 and 0.62 of three nodules; false at 0.71 and 0.35 in four scans
    assert values["nodules_found"] == 2
    assert values["sensitivity_at"] == pytest.approx(
        {"0.125": 1 / 3, "0.25": 2 / 3, "0.5": 2 / 3, "1.0": 2 / 3, "2.0": 2 / 3, "4.0": 2 / 3, "8.0": 2 / 3}
    )
    assert values["cpm"] == pytest.approx((1 / 3 + 6 * 2 / 3) / 7)
    assert values["marks"] == {"given": 5, "dropped": 0, "on_nodules": 2, "doubles": 0, "ignored": 1, "false": 2}
    assert [nodule["score"] for nodule in values["nodules_listed"]] == [0.91, 0.62, None]
    assert set(values["by_group"]) == {"size", "texture", "pleural contact"}
    assert values["inputs"]["truth"]["name"] == "truth.csv"
    page = paths["evaluation.html"].read_text()
    assert f"CPM {evaluation.result.cpm:.3f}" in page
    assert all(notice.code in page for notice in evaluation.notices)
    assert paths["froc.svg"].read_text().startswith("<?xml")


def test_the_page_needs_no_network_and_escapes_what_it_is_given(files, tmp_path):
    files["marks"] = files["marks"].rename(tmp_path / "<script>alert(1)<&.csv")
    _, paths = run(files, tmp_path / "out")
    page = paths["evaluation.html"].read_text()
    assert "<script" not in page
    assert "src=" not in page
    assert "@import" not in page


def test_the_same_input_gives_the_same_bytes(files, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = (run(files, tmp_path / name)[1] for name in ("one", "two"))
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_scores_that_are_logits_get_a_curve_but_no_calibration(files):
    files["marks"].write_text(MARKS.replace("0.91", "9.1"))
    evaluation = evaluate(files["marks"], truth=files["truth"], series=files["series"], resamples=100)
    assert evaluation.calibration is None
    assert "evaluation.not_probabilities" in {notice.code for notice in evaluation.notices}


def test_no_marks_at_all_is_an_evaluation_too(files, tmp_path):
    files["marks"].write_text(MARKS.splitlines()[0] + "\n")
    evaluation, paths = run(files, tmp_path / "out")
    assert evaluation.result.cpm == 0.0
    assert json.loads(paths["evaluation.json"].read_text())["calibration_of_marks"] is None


def test_too_few_resamples_are_refused(files):
    with pytest.raises(UsageError, match=r"usage\.option"):
        evaluate(files["marks"], truth=files["truth"], resamples=10)
