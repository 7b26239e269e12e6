"""The patient's name in descriptions and names of files: out of every listing and report."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies import make_volume

import imaging
from imaging.io.identifiers import identifying_words, without
from imaging.simulation.dicom_series import SeriesOptions, make_series, save


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chest DOE^JANE", "Chest …^…"),
        ("doejane_ct/IM1", "……_ct/IM1"),
        ("Does it", "Does it"),
        ("born 19530717, 1.19530717.2", "born …, 1.19530717.2"),
        ("PAT-0017/IM0017", "…/IM0017"),
        ("acc 17", "acc 17"),
    ],
)
def test_words_of_the_header_are_left_out(text: str, expected: str) -> None:
    header = {"PatientName": "Doe^Jane^X", "PatientID": "PAT-0017", "PatientBirthDate": "19530717"}
    assert without(text, identifying_words(header)) == expected


def test_a_header_without_a_name_leaves_nothing_out() -> None:
    assert identifying_words(None) == identifying_words({}) == identifying_words({"PatientName": "^^^"}) == frozenset()


def test_a_description_with_the_name_is_listed_without_it(tmp_path: Path) -> None:
    datasets = make_series(
        make_volume(), SeriesOptions(patient_id="QK-2077", description="Lung Quarkfish ^Zeb QK-2077")
    )
    for dataset in datasets:
        dataset.PatientName = "Quarkfish^Zeb"
    save(datasets, tmp_path / "a")
    save(make_series(make_volume(seed=2), SeriesOptions(key="b", patient_id="QK-2077")), tmp_path / "b")
    listed = {info.description for info in imaging.list_series(tmp_path)}
    assert listed == {"Lung … ^… …", "Simulated chest"}
    with pytest.raises(imaging.ImagingError) as caught:
        imaging.read_volume(tmp_path)
    assert "quark" not in str(caught.value).casefold()
    volume = imaging.read_volume(tmp_path / "a")
    assert volume.origin is not None
    assert volume.origin.series_description == "Lung … ^… …"
