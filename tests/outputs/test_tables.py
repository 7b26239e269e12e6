"""`findings.csv` and `report.json`, read again by other programs."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from imaging.outputs import findings_csv, report_json

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_csv_opens_with_luna16_columns_and_keeps_every_digit(case, tmp_path):
    path = findings_csv.write(case, tmp_path)["findings.csv"]
    assert path.read_text().startswith("seriesuid,coordX,coordY,coordZ,probability,diameter_mm,")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    for row, finding in zip(rows, case.report.findings, strict=True):
        assert row["seriesuid"] == case.volume.seriesuid
        assert tuple(float(row[f"coord{axis}"]) for axis in "XYZ") == finding.centre_mm
        assert float(row["probability"]) == finding.score
        assert int(row["number"]) == finding.number
    assert rows[0]["attributes"] == "solid=0.8;ground-glass=0.1;spiculated=0.35"
    assert rows[1]["diameter_mm"] == ""


def test_csv_reads_as_a_table_of_numbers(case, tmp_path):
    table = pd.read_csv(findings_csv.write(case, tmp_path)["findings.csv"], dtype={"probability": str})
    assert list(table.columns) == list(findings_csv.COLUMNS)
    assert [float(text) for text in table["probability"]] == [finding.score for finding in case.report.findings]
    assert table["diameter_mm"].isna().tolist() == [False, True]


def test_csv_of_a_negative_scan_is_a_header(negative, tmp_path):
    path = findings_csv.write(negative, tmp_path)["findings.csv"]
    assert path.read_text() == ",".join(findings_csv.COLUMNS) + "\n"


@pytest.mark.parametrize("hostile", ['a,b"c\nd', "=1+1", "ünï\ud800", "1.2.3\r\n"])
def test_csv_survives_a_hostile_series_uid(case, tmp_path, hostile):
    report = replace(case.report, seriesuid=hostile)
    path = findings_csv.write(replace(case, report=report), tmp_path)["findings.csv"]
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    assert rows[1]["seriesuid"] == hostile.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("findings", [0, 1, 3])
def test_json_keeps_the_schema_and_comes_back(build, tmp_path, findings):
    case = build.case(findings=findings)
    path = report_json.write(case, tmp_path)["report.json"]
    jsonschema.Draft202012Validator(report_json.schema()).validate(json.loads(path.read_text()))
    assert report_json.read(path).to_json() == case.report.to_json()
    assert report_json.read(path).findings == case.report.findings


def test_json_of_a_file_without_dicom_keeps_the_schema(build):
    report = build.case(dicom=False).report
    jsonschema.validate(json.loads(report_json.to_text(report)), report_json.schema())


def test_the_schema_is_itself_valid_and_strict(case):
    jsonschema.Draft202012Validator.check_schema(report_json.schema())
    values = case.report.to_json()
    for broken in ({"extra": 1}, {"schema_version": 2}, {"findings": [{"number": 1}]}, {"notices": [{"code": "?"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | broken, report_json.schema())


def test_json_refuses_what_it_cannot_say(case):
    with pytest.raises(ValueError, match="JSON"):
        report_json.to_text(replace(case.report, lungs_ml=float("nan")))


def test_the_page_on_the_schema_names_every_field():
    schema = report_json.schema()
    text = (DOCS / "report_schema.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    parts = [
        schema,
        schema["$defs"]["finding"],
        *(schema["properties"][p] for p in ("operating_point", "provenance", "grid")),
    ]
    for part in parts:
        assert set(part["properties"]) <= named


def test_no_identifier_in_the_tables(case, tmp_path, build):
    findings_csv.write(case, tmp_path, show_identifiers=True)
    report_json.write(case, tmp_path, show_identifiers=True)
    for path in tmp_path.iterdir():
        for secret in build.SECRETS:
            assert secret not in path.read_text()
