"""Pairs and growth against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.findings import Finding
from imaging.geometry import Grid, Volume
from imaging.geometry.volume import Origin
from imaging.registration import Alignment, comparability, match_findings
from imaging.registration.growth import Growth, days_between


def a_finding(number, centre, *, volume=None, diameter=None, side=None, notes=()):
    return Finding(
        number, f"2.25.{number}", centre, 0.9, 1.0, diameter_mm=diameter, volume_mm3=volume, side=side, notes=notes
    )


def shift(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return Alignment(matrix, 1.0)


def grown(before, after, days):
    return Growth(a_finding(1, (0, 0, 0), volume=before), a_finding(2, (0, 0, 0), volume=after), 0.0, days)


# --- pairs -----------------------------------------------------------------------------------------------------------
def test_findings_are_paired_where_the_alignment_puts_them():
    later = [a_finding(1, (10.0, 0.0, 0.0)), a_finding(2, (50.0, 0.0, 0.0)), a_finding(3, (-40.0, 0.0, 0.0))]
    earlier = [a_finding(11, (53.0, 0.0, 104.0)), a_finding(12, (10.0, 0.0, 100.0)), a_finding(13, (0.0, 90.0, 100.0))]
    rows = match_findings(earlier, later, shift(0, 0, 100), days=30)
    assert [(r.later and r.later.number, r.earlier and r.earlier.number) for r in rows] == [
        (1, 12),
        (2, 11),
        (3, None),
        (None, 13),
    ]
    assert [r.apart_mm for r in rows[:2]] == pytest.approx([0.0, 5.0])
    assert [r.change for r in rows] == ["not measured", "not measured", "new", "gone"]


def test_two_near_ones_share_out_their_partners_instead_of_taking_one_twice():
    later = [a_finding(1, (0.0, 0.0, 0.0)), a_finding(2, (8.0, 0.0, 0.0))]
    earlier = [a_finding(11, (5.0, 0.0, 0.0)), a_finding(12, (-7.0, 0.0, 0.0))]
    rows = match_findings(earlier, later, shift(0, 0, 0))
    assert [(r.later.number, r.earlier.number) for r in rows] == [(1, 12), (2, 11)]


def test_a_far_candidate_never_takes_a_partner_away():
    later = [a_finding(1, (0.0, 0.0, 0.0)), a_finding(2, (200.0, 0.0, 0.0))]
    earlier = [a_finding(11, (1.0, 0.0, 0.0))]
    rows = match_findings(earlier, later, shift(0, 0, 0))
    assert [(r.change, r.later.number) for r in rows] == [("not measured", 1), ("new", 2)]


def test_left_and_right_are_never_paired_and_nothing_pairs_with_nothing():
    left, right = a_finding(1, (2.0, 0, 0), side="left"), a_finding(2, (-2.0, 0, 0), side="right")
    assert [row.change for row in match_findings([right], [left], shift(0, 0, 0))] == ["new", "gone"]
    assert match_findings([], [], shift(0, 0, 0)) == ()
    assert [row.change for row in match_findings([], [left], shift(0, 0, 0))] == ["new"]


# --- growth ----------------------------------------------------------------------------------------------------------
def test_a_volume_that_doubles_in_a_hundred_days_has_a_doubling_time_of_a_hundred_days():
    row = grown(100.0, 200.0, 100)
    assert row.volume_change == pytest.approx(1.0)
    assert row.doubling_days == pytest.approx(100.0)
    assert grown(100.0, 800.0, 90).doubling_days == pytest.approx(30.0)
    assert grown(200.0, 100.0, 50).doubling_days == pytest.approx(-50.0)
    assert [grown(100.0, 124.0, 9).change, grown(100.0, 126.0, 9).change, grown(100.0, 70.0, 9).change] == [
        "unchanged",
        "grown",
        "shrunk",
    ]


@pytest.mark.parametrize(
    "row",
    [
        grown(None, 200.0, 100),
        grown(100.0, None, 100),
        grown(0.0, 200.0, 100),
        grown(100.0, 200.0, None),
        grown(100.0, 110.0, 100),
        Growth(None, a_finding(1, (0, 0, 0), volume=5.0), None, 100),
    ],
)
def test_no_doubling_time_without_two_volumes_two_dates_and_a_real_change(row):
    assert row.doubling_days is None


def test_a_diameter_alone_gives_a_difference_but_no_doubling_time():
    row = Growth(a_finding(1, (0, 0, 0), diameter=6.0), a_finding(2, (0, 0, 0), diameter=8.5), 0.0, 200)
    assert row.diameter_change_mm == pytest.approx(2.5)
    assert (row.volume_change, row.doubling_days, row.change) == (None, None, "not measured")


def test_doubts_about_either_measurement_come_along():
    row = Growth(a_finding(1, (0, 0, 0), notes=("measurement.leaked",)), a_finding(2, (0, 0, 0)))
    assert row.doubts == ("measurement.leaked",)


def test_days_are_counted_over_a_leap_day_and_never_guessed():
    assert days_between("20240228", "20240301") == 2
    assert days_between("20240301", "20240228") == -2
    for before, after in ((None, "20240301"), ("20240301", "20240301"), ("2024", "20240301"), ("20241301", "20240301")):
        assert days_between(before, after) is None


# --- may they be compared? -------------------------------------------------------------------------------------------
def a_volume(uid, *, spacing=2.5, patient="P1", **origin):
    from pydicom import Dataset

    header = Dataset()
    if patient is not None:
        header.PatientID = patient
    grid = Grid.from_spacing((2, 2, 2), spacing_mm=(spacing, 1.0, 1.0))
    values = {"study_date": "20260101", "convolution_kernel": "B30f", "slice_thickness_mm": spacing} | origin
    return Volume(np.zeros((2, 2, 2), np.float32), grid, origin=Origin(uid, "dicom", header=header, **values))


def codes(first, second):
    return [notice.code for notice in comparability(first, second)]


def test_like_scans_of_one_patient_are_compared_without_a_word():
    assert codes(a_volume("1.1"), a_volume("1.2", study_date="20260301")) == []


def test_what_volumes_depend_on_is_said():
    now = a_volume("1.1")
    assert codes(now, a_volume("1.2", spacing=5.0, study_date="20260301")) == ["compare.thickness"]
    assert codes(now, a_volume("1.2", convolution_kernel="B70f", study_date="20260301")) == ["compare.kernel"]
    assert codes(now, a_volume("1.2")) == ["compare.no_dates"]
    assert codes(now, a_volume("1.2", patient=None, study_date="20260301")) == ["compare.patient_unknown"]


def test_overlapping_slices_count_as_thick_as_they_are():
    now = a_volume("1.1", slice_thickness_mm=2.5)
    assert codes(now, a_volume("1.2", slice_thickness_mm=5.0, study_date="20260301")) == ["compare.thickness"]


def test_one_series_twice_and_two_patients_are_refused_without_naming_anybody():
    with pytest.raises(InputError) as twice:
        comparability(a_volume("1.1"), a_volume("1.1"))
    assert twice.value.code == "compare.same_series"
    with pytest.raises(InputError) as strangers:
        comparability(a_volume("1.1", patient="SECRET-1"), a_volume("1.2", patient="SECRET-2"))
    assert strangers.value.code == "compare.other_patient"
    assert "SECRET" not in str(strangers.value)
