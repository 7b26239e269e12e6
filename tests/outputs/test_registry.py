"""The table of formats and `write_case`: every output whole, the same bytes twice, no identifier where none belongs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from imaging.errors import CODES, OutputError, UsageError
from imaging.outputs import DEFAULT_FORMATS, WRITERS, CaseResult, check_formats, write_case
from imaging.outputs.report_json import read

ALL = tuple(WRITERS)


def test_every_format_writes_the_files_it_promises(case, tmp_path):
    written = write_case(case, tmp_path / "new", formats=ALL)
    promised = {name for row in WRITERS.values() for name in row.files}
    assert set(written) == promised == {path.name for path in (tmp_path / "new").iterdir()}
    assert all(path.stat().st_size > 0 for path in written.values())
    assert written.notices == ()
    assert set(DEFAULT_FORMATS) <= set(ALL)


@pytest.mark.parametrize("kind", ["axial", "sheared"])
@pytest.mark.parametrize("findings", [0, 2])
def test_the_same_case_gives_the_same_bytes(build, tmp_path, kind, findings):
    first = write_case(build.case(kind, findings), tmp_path / "a", formats=ALL)
    second = write_case(build.case(kind, findings), tmp_path / "b", formats=ALL)
    assert set(first) == set(second)
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name


def test_the_same_bytes_in_another_process_and_time_zone(case, tmp_path):
    written = write_case(case, tmp_path / "a", formats=ALL)
    program = (
        "import sys, importlib.util as u\n"
        f"spec = u.spec_from_file_location('c', {str(__file__).replace('test_registry', 'conftest')!r})\n"
        "c = u.module_from_spec(spec); spec.loader.exec_module(c)\n"
        "from imaging.outputs import write_case\n"
        f"write_case(c.make_case(), {str(tmp_path / 'b')!r}, formats={ALL!r})\n"
    )
    environment = {"SOURCE_DATE_EPOCH": "1700000000", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "5", "PATH": "/usr/bin"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment)
    for name, path in written.items():
        assert path.read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_only_the_times_differ_between_moments(case, tmp_path, monkeypatch):
    first = pydicom.dcmread(write_case(case, tmp_path / "a", formats=("sr",))["sr.dcm"])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    second = pydicom.dcmread(write_case(case, tmp_path / "b", formats=("sr",))["sr.dcm"])
    changed = {element.keyword for element in first if second.get(element.keyword) != element.value}
    assert changed == {
        "InstanceCreationDate",
        "InstanceCreationTime",
        "SeriesDate",
        "ContentDate",
        "SeriesTime",
        "ContentTime",
        "ContributingEquipmentSequence",
    }


def test_no_identifier_leaves_the_ct_unasked(case, tmp_path, build, caplog):
    caplog.set_level(0)
    write_case(case, tmp_path, formats=DEFAULT_FORMATS)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        for secret in build.SECRETS:
            assert secret.encode() not in content, path.name
    for secret in build.SECRETS:
        assert secret not in caplog.text
        assert secret not in repr(case)


def test_a_negative_scan_gets_an_sr_but_no_seg(negative, tmp_path):
    written = write_case(negative, tmp_path, formats=("sr", "seg", "json", "html"))
    assert set(written) == {"sr.dcm", "report.json", "report.html"}
    (notice,) = written.notices
    assert notice.code == "outputs.seg_empty"
    assert notice in read(written["report.json"]).notices
    assert "outputs.seg_empty" in written["report.html"].read_text()


def test_findings_without_any_outline_get_no_seg(case, tmp_path):
    written = write_case(replace(case, nodules=np.zeros_like(case.nodules)), tmp_path, formats=("sr", "seg"))
    assert set(written) == {"sr.dcm"}
    assert "outlined" in written.notices[0].message


def test_a_negative_scan_writes_every_default(negative, tmp_path):
    written = write_case(negative, tmp_path)
    assert {"findings.csv", "report.json", "nodules.nii.gz", "overlay.png", "report.html"} <= set(written)
    assert written.notices == ()


@pytest.mark.parametrize("name", ["sr", "seg"])
def test_dicom_results_of_a_nifti_are_refused_before_anything_is_written(build, tmp_path, name):
    case = build.case(dicom=False)
    with pytest.raises(UsageError) as caught:
        write_case(case, tmp_path / "out", formats=("csv", name))
    assert caught.value.code == "outputs.no_dicom_source"
    assert "nifti" in caught.value.message
    assert not (tmp_path / "out").exists()
    write_case(case, tmp_path / "out")


def test_an_array_in_memory_is_no_dicom_source():
    check_formats(DEFAULT_FORMATS, None)
    with pytest.raises(UsageError, match="an array in memory"):
        check_formats(("seg",), None)


def test_an_unknown_format_is_refused(case, tmp_path):
    with pytest.raises(UsageError) as caught:
        write_case(case, tmp_path, formats=("csv", "docx"))
    assert caught.value.code == "outputs.unknown_format"
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_header_is_refused_before_anything_is_written(build, tmp_path):
    with pydicom.config.disable_value_validation():
        case = build.case(header=build.header(PatientID="x" * 100))
    with pytest.raises(OutputError) as caught:
        write_case(case, tmp_path / "out", formats=("csv", "sr"))
    assert caught.value.code == "outputs.header_unusable"
    assert not (tmp_path / "out").exists()


def test_a_repaired_header_is_told_in_the_report(build, tmp_path):
    with pydicom.config.disable_value_validation():
        case = build.case(header=build.header(StudyDate="yesterday"))
    assert write_case(case, tmp_path / "a", formats=("json",)).notices == ()
    written = write_case(case, tmp_path / "b", formats=("json", "sr"))
    assert [notice.code for notice in written.notices] == ["outputs.header_repaired"]
    assert written.notices[0] in read(written["report.json"]).notices


def test_the_report_tells_what_the_maps_are(case, tmp_path):
    report = replace(case.report, maps={"grad_cam.nii.gz": "said before"})
    written = write_case(replace(case, report=report), tmp_path, formats=("json", "maps"))
    maps = read(written["report.json"]).maps
    assert maps["grad_cam.nii.gz"] == "said before"
    assert "“lung nodule”" in maps["similarity.nii.gz"]
    assert "1/510" in maps["similarity.nii.gz"]


def test_progress_is_told_and_may_cancel(case, tmp_path):
    told = []
    write_case(case, tmp_path, formats=("csv", "json"), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_case(case, tmp_path / "b", formats=("csv",), on_progress=cancel)
    assert not (tmp_path / "b").exists()


def test_looking_at_the_table_is_cheap():
    program = "import sys, imaging.outputs; print([m for m in sys.modules if m.split('.')[0] in sys.argv[1:]])"
    heavy = ["highdicom", "pydicom", "matplotlib", "PIL", "jinja2", "nibabel", "scipy", "torch"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_case_checks_its_shapes_and_is_read_only(case):
    for name in ("nodules", "grad_cam", "similarity"):
        assert not getattr(case, name).flags.writeable
        with pytest.raises(ValueError, match=name):
            replace(case, **{name: np.zeros((2, 3, 4), np.float32)})
    assert isinstance(case, CaseResult)


def test_a_notice_is_not_told_twice(case):
    known = case.report.notices[0]
    assert case.with_notices([known]) is case
    assert case.with_notices([]).report.notices == (known,)


def test_the_template_and_the_schema_are_part_of_the_package():
    from importlib.resources import files

    for name in ("report.html.jinja", "report.schema.json"):
        assert files("imaging.outputs").joinpath(name).is_file()


def test_the_page_on_outputs_has_the_table_of_formats():
    text = (Path(__file__).resolve().parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")
    for row in WRITERS.values():
        files = ", ".join(f"`{name}`" for name in row.files)
        default = "yes" if row.name in DEFAULT_FORMATS else "no"
        assert f"| `{row.name}` | {files} | {row.purpose} | {default} |" in text
    for code in [code for code in CODES if code.startswith("outputs.")]:
        assert code in text or code in ("outputs.unknown_format", "outputs.no_findings")
