"""``nodulus evaluate``: its files can be read again and say what the protocol says."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from imaging.errors import InputError, OutputError, UsageError
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


# --- what is said of the tables --------------------------------------------------------------------------------------


def test_blanks_around_uids_are_dropped_and_told(files, tmp_path):
    before, _ = run(files, tmp_path / "before")
    for name, old, new in (("marks", "1.2,", "1.2 ,"), ("truth", "1.1,", " 1.1,"), ("series", "1.3", "1.3  ")):
        files[name].write_text(files[name].read_text().replace(old, new))
    after, paths = run(files, tmp_path / "after")
    assert after.result.cpm == before.result.cpm
    told = [notice.message for notice in after.notices if notice.code == "evaluation.uid_blanks"]
    assert [message.partition(":")[0] for message in told] == ["truth.csv", "marks.csv", "series.csv"]
    assert "evaluation.uid_blanks" in paths["evaluation.html"].read_text()
    assert "evaluation.uid_blanks" not in {notice.code for notice in before.notices}


def test_diameters_of_0_and_below_are_told_with_their_lines(files):
    files["truth"].write_text(TRUTH.replace("9.5", "0").replace("4.2", "-3"))
    evaluation = evaluate(files["marks"], truth=files["truth"], series=files["series"], resamples=100)
    (told,) = (notice.message for notice in evaluation.notices if notice.code == "evaluation.no_diameter")
    assert "(line 3)" in told
    assert "(line 4)" in told


@pytest.mark.parametrize("listed", [True, False])
def test_marks_of_other_scans_alone_are_refused(files, tmp_path, listed):
    files["marks"].write_text("seriesuid,coordX,coordY,coordZ,probability\n9.9,0,0,0,0.5\n9.8,1,1,1,0.4\n")
    with pytest.raises(InputError, match=r"2 marks of 2 scans, such as '9\.9'") as refusal:
        evaluate_to_folder(
            files["marks"], tmp_path / "out", truth=files["truth"], series=files["series"] if listed else None
        )
    assert refusal.value.code == "evaluation.no_listed_marks"
    assert ("the list of scans" if listed else "the truth") in refusal.value.message
    assert not (tmp_path / "out").exists()


def test_a_truth_of_no_nodule_at_all_is_refused_as_such(files, tmp_path):
    files["truth"].write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    with pytest.raises(InputError) as refusal:
        evaluate_to_folder(files["marks"], tmp_path / "out", truth=files["truth"])
    assert refusal.value.code == "evaluation.no_nodules"


def test_marks_of_scans_without_a_nodule_are_judged_where_the_scans_are_listed(files):
    files["marks"].write_text("seriesuid,coordX,coordY,coordZ,probability\n1.4,0,0,0,0.5\n")
    assert evaluate(files["marks"], truth=files["truth"], series=files["series"], resamples=100).result.cpm == 0.0


# --- where it goes ---------------------------------------------------------------------------------------------------


def test_an_earlier_evaluation_is_replaced_only_on_request(files, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "findings.csv").write_text("mine")
    run(files, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UsageError) as refusal:
        run(files, out, seed=1)
    assert refusal.value.code == "usage.output_exists"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    run(files, out, seed=1, overwrite=True)
    assert json.loads((out / "evaluation.json").read_text())["settings"]["seed"] == 1
    assert (out / "findings.csv").read_text() == "mine"


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("failing", ["evaluation.json", "evaluation.html", "froc.svg"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(files, tmp_path, monkeypatch, failing, earlier):
    out = tmp_path / "new" / "out"
    if earlier:
        run(files, out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write = Path.write_text

    def full(path, *args, **options):
        if path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError) as refusal:
        run(files, out, overwrite=True)
    assert refusal.value.code == "output.disk_full"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "new").exists() == earlier


def test_an_output_that_is_the_input_is_refused_without_a_word_of_removing_it(files):
    with pytest.raises(UsageError, match="a file has this name") as refusal:
        run(files, files["marks"], overwrite=True)
    assert refusal.value.code == "usage.output_exists"
    assert "remove" not in refusal.value.remedy
    assert "--overwrite" not in refusal.value.remedy
    assert files["marks"].read_text() == MARKS


def test_the_command_line_evaluates_once(files, tmp_path, capsys):
    from pipelines.cli.main import run as nodulus

    words = ["evaluate", str(files["marks"]), "--truth", str(files["truth"]), "-o", str(tmp_path / "out")]
    assert [nodulus(words), nodulus(words), nodulus([*words, "--overwrite", "--json"])] == [0, 2, 0]
    assert "usage.output_exists" in capsys.readouterr().err
    assert nodulus(["evaluate", "absent.csv", *words[2:-1], str(tmp_path / "other")]) == 4
    said = capsys.readouterr().err
    assert "input.missing" in said
    assert "UTF-8" not in said
