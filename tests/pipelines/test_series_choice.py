"""The rule of choice: who wins, why each other one lost, and who is never chosen among."""

from __future__ import annotations

import pytest

from imaging.errors import CODES, InputError, UsageError
from pipelines.series_choice import choose_series, is_sharp, slab_mm


@pytest.mark.parametrize(
    ("code", "worse"),
    [
        ("choice.older_study", {"study_date": "20190101", "mm": 1.0}),
        ("choice.shorter", {"extent_mm": 90.0, "mm": 1.0}),
        ("choice.thicker", {"slice_thickness_mm": 5.0}),
        ("choice.thicker", {"slice_spacing_mm": 5.0, "slice_thickness_mm": None}),
        ("choice.sharper", {"convolution_kernel": "LUNG"}),
        ("choice.fewer", {"instances": 100}),
    ],
)
def test_one_difference_decides_whichever_comes_first(info, code, worse):
    good, bad = info("1.2.9"), info("1.2.1", **worse)
    for infos in ([good, bad], [bad, good]):
        choice = choose_series(infos)
        assert choice.ranked[0] is good
        assert [(row.seriesuid, row.code) for row in choice.rejected] == [("1.2.1", code)]
        assert choice.rejected[0].reason
        assert CODES[code].kind == "notice"


def test_earlier_criteria_weigh_more(info):
    """Coverage before thickness before kernel before number."""
    long_thick = info("a", mm=5.0, convolution_kernel="LUNG", instances=60)
    long_thin_sharp = info("b", mm=1.0, convolution_kernel="LUNG", instances=100)
    short = info("c", extent_mm=100.0, mm=0.6, instances=300)
    choice = choose_series([short, long_thick, long_thin_sharp])
    assert [i.seriesuid for i in choice.ranked] == ["b", "a", "c"]


def test_longer_than_the_lungs_is_no_advantage(info):
    chest, whole_body = info("a", extent_mm=310.0, mm=1.0), info("b", extent_mm=900.0, instances=400)
    assert choose_series([whole_body, chest]).ranked[0] is chest


def test_equal_series_are_chosen_by_uid_and_say_so(info):
    choice = choose_series([info("b"), info("a")])
    assert choice.ranked[0].seriesuid == "a"
    assert [(row.seriesuid, row.code) for row in choice.rejected] == [("b", "choice.tie")]


def test_unusable_series_keep_their_own_reason(info):
    scout = info("s", usable=False, code="series.none_usable", reason="a localizer", modality="CT")
    choice = choose_series([scout, info("a")])
    assert [(r.seriesuid, r.code, r.reason) for r in choice.rejected] == [("s", "series.none_usable", "a localizer")]
    assert "only usable" in choice.sentence


def test_several_patients_are_never_chosen_among(info):
    with pytest.raises(InputError) as refused:
        choose_series([info("a"), info("b", patient_key="p2")])
    assert refused.value.code == "series.several_patients"


def test_files_that_say_nothing_of_their_patient_are_never_chosen_among(info):
    files = [info(u, patient_key="", study_instance_uid=None, format="nifti", study_date=None) for u in ("a", "b")]
    assert choose_series(files[:1]).ranked[0] is files[0]
    with pytest.raises(InputError, match="2 of them do not say whose"):
        choose_series(files)
    same_study = [info("a", patient_key=""), info("b", patient_key="")]
    assert choose_series(same_study).ranked[0].seriesuid == "a"


def test_a_named_series_is_taken_even_among_patients(info):
    infos = [info("a"), info("b", patient_key="p2", slice_thickness_mm=5.0)]
    choice = choose_series(infos, series="b")
    assert [i.seriesuid for i in choice.ranked] == ["b"]
    assert [row.code for row in choice.rejected] == ["choice.not_asked"]


def test_a_group_is_named_with_its_series(info):
    infos = [info("a", group="phase 1"), info("a", group="phase 2")]
    assert choose_series(infos, series="a#phase 2").ranked[0] is infos[1]
    with pytest.raises(UsageError, match="several volumes: a#phase 1, a#phase 2"):
        choose_series(infos, series="a")


def test_groups_of_one_series_are_chosen_among_by_the_rule(info):
    choice = choose_series([info("a", group="2"), info("a", group="1")])
    assert choice.ranked[0].group == "1"
    assert choice.rejected[0].seriesuid == "a#2"


def test_the_only_ct_that_is_not_usable_is_refused_with_its_own_code(info):
    dose = info("d", usable=False, modality="SR", code="series.none_usable", reason="a report")
    broken = info("a", usable=False, code="archive.damaged", reason="slice 3 is truncated")
    with pytest.raises(InputError, match="slice 3") as refused:
        choose_series([dose, broken])
    assert refused.value.code == "archive.damaged"


def test_nothing_usable_lists_the_reasons(info):
    infos = [info(str(n), usable=False, modality="SR", code="archive.damaged", reason=f"why {n}") for n in range(8)]
    with pytest.raises(InputError, match=r"why 0.*why 4; and 3 more") as refused:
        choose_series(infos)
    assert refused.value.code == "series.none_usable"
    with pytest.raises(InputError, match="no series"):
        choose_series([])


@pytest.mark.parametrize("wish", [{"series": "9"}, {"study": "9"}])
def test_what_is_not_there_cannot_be_asked_for(info, wish):
    with pytest.raises(UsageError) as refused:
        choose_series([info("a")], **wish)
    assert refused.value.code == "series.unknown"


def test_a_study_can_be_asked_for(info):
    infos = [info("a"), info("b", study_instance_uid="1.9", study_date="20100101", slice_thickness_mm=5.0)]
    assert choose_series(infos, study="1.9").ranked[0].seriesuid == "b"


def test_a_thick_slab_is_not_thin_for_being_close_to_its_neighbour(info):
    assert slab_mm(info(slice_thickness_mm=5.0, slice_spacing_mm=1.0)) == 5.0
    assert slab_mm(info(slice_thickness_mm=None, slice_spacing_mm=None)) == float("inf")


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [("B60f", True), ("B31f", False), ("LUNG", True), ("STANDARD", False), ("['Br64d', '3']", True), (None, False)],
)
def test_kernels_by_name(kernel, sharp):
    assert is_sharp(kernel) is sharp
