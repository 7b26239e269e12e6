"""The worklist reads the tables of a batch and the decisions beside each result."""

from __future__ import annotations

import csv
import shutil

import pytest

from imaging.errors import InputError
from imaging.outputs.report_json import to_text
from pipelines.viewer.review import FILE_NAME, Event, ReviewLog
from pipelines.viewer.worklist import in_order, read_worklist


@pytest.fixture
def batch(tmp_path, session):
    """Three studies: one undecided, one decided in part, one refused."""
    from dataclasses import replace

    report = session.report
    low = replace(report, findings=tuple(replace(f, score=0.3) for f in report.findings))
    for name, one in (("anna", report), ("bert", low)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(to_text(one))
    log = ReviewLog(tmp_path / "anna" / FILE_NAME, report.seriesuid)
    log.append(Event("accept", report.seriesuid, "A", report.findings[0].tracking_uid))
    log.append(Event("reject", report.seriesuid, "A", report.findings[1].tracking_uid))
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("case", "status", "code", "findings", "seconds", "peak_mb", "seriesuid", "input"))
        table.writerow(("anna", "done", "", 3, 1.0, 10, report.seriesuid, "/ct/anna.zip"))
        table.writerow(("bert", "done", "", 3, 1.0, 10, report.seriesuid, "/ct/bert.zip"))
        table.writerow(("carl", "refused", "lungs.none", "", 1.0, 10, "", "/ct/carl.zip"))
    return tmp_path


def test_studies_are_listed_with_what_is_undecided(batch):
    studies = read_worklist(batch)
    assert [(s.name, s.findings, s.undecided, s.refusal) for s in studies] == [
        ("anna", 3, 1, ""),
        ("bert", 3, 3, ""),
        ("carl", 0, 0, "lungs.none"),
    ]
    assert studies[0].score == pytest.approx(0.7)
    assert str(studies[0].source) == "/ct/anna.zip"


@pytest.mark.parametrize(("order", "names"), [("score", "anna bert carl"), ("undecided", "bert anna carl")])
def test_orders(batch, order, names):
    assert " ".join(study.name for study in in_order(read_worklist(batch)[::-1], order)) == names


def test_a_damaged_result_is_a_row_with_its_reason(batch):
    (batch / "bert" / "report.json").write_text("{")
    refusals = {study.name: study.refusal for study in read_worklist(batch)}
    assert "result.unreadable" in refusals["bert"]
    assert refusals["anna"] == ""


@pytest.mark.parametrize(("status", "told"), [("planned", "has not reached it"), ("running", "is at it")])
def test_a_study_that_the_batch_has_not_finished_says_so_and_how_to_go_on(tmp_path, status, told):
    from pipelines.batch.ledger import Ledger, State

    Ledger(tmp_path).write_tables([State("dora", status=status)], {"dora": "/ct/dora.zip"})
    (study,) = read_worklist(tmp_path)
    assert study.brief_refusal == "not analysed yet"
    assert study.refusal.startswith(f"not analysed yet: the batch {told}.")
    assert "run the same nodulus batch again" in study.refusal


def test_a_folder_that_is_no_batch_is_refused(batch):
    shutil.rmtree(batch / "anna")
    (batch / "cases.csv").unlink()
    with pytest.raises(InputError, match=r"result\.unreadable"):
        read_worklist(batch)


def test_the_batch_writes_the_columns_that_are_read_here(tmp_path):
    from pipelines.batch.ledger import Ledger, State

    Ledger(tmp_path).write_tables([State("anna", status="refused", code="lungs.none")], {"anna": "/ct/anna.zip"})
    (study,) = read_worklist(tmp_path)
    assert (study.name, str(study.source), study.refusal) == ("anna", "/ct/anna.zip", "lungs.none")
