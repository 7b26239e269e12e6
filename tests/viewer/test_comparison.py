"""Two sessions under one crosshair, without a window: places, partners, growth, and what may not be compared."""

from __future__ import annotations

import numpy as np
import pytest
from viewer.conftest import MARKS, SERIES
from viewer.two_studies import ALIGNMENT, MATRIX, moved, now_and_then

from imaging.errors import InputError, Notice
from imaging.registration.alignment import Alignment
from pipelines.viewer.comparison import Comparison
from pipelines.viewer.planes import PLANES


@pytest.fixture
def comparison(tmp_path):
    now, then = now_and_then(tmp_path)
    comparison = Comparison(now, then, ALIGNMENT)
    yield comparison
    comparison.close()


def test_the_crosshair_lies_on_the_same_tissue_in_both(comparison):
    """The oracle is the phantom: the mark that one crosshair is on is under the other one too."""
    for centre, _ in MARKS:
        comparison.session.go_to(centre)
        assert comparison.other.point_mm == pytest.approx(moved(centre))
        assert "HU 40" in comparison.other.readout(comparison.other.point_mm, PLANES["axial"])
    for centre, _ in MARKS:
        comparison.other.go_to(moved(centre))
        assert comparison.session.point_mm == pytest.approx(centre)


def test_window_slab_and_inversion_are_the_same_in_both(comparison):
    comparison.session.set_window(40, 400)
    comparison.other.next_slab()
    comparison.other.invert()
    for side in (comparison.session, comparison.other):
        assert (side.window, side.slab_mm, side.inverted) == ((40.0, 400.0), 5.0, True)


def test_matched_findings_have_their_growth(comparison):
    first, second, third, gone = comparison.rows
    assert comparison.days == 91
    assert (first.change, second.change, third.change, gone.change) == ("grown", "unchanged", "new", "gone")
    assert first.doubling_days == pytest.approx(91.0)
    assert first.apart_mm == pytest.approx(0.0, abs=1e-9)
    assert second.doubling_days is None
    assert comparison.title == "study of 2025-10-03, 91 days earlier"


def test_the_later_study_counts_as_later_whichever_is_read(tmp_path):
    now, then = now_and_then(tmp_path)
    turned = Comparison(then, now, ALIGNMENT.inverse)
    assert turned.title == "study of 2026-01-02, 91 days later"
    assert [row.change for row in turned.rows] == ["grown", "unchanged", "new", "gone"]
    assert turned.rows[0].doubling_days == pytest.approx(91.0)
    here, beside = turned.sides(turned.rows[0])
    assert (here.tracking_uid, beside.tracking_uid) == ("2.25.0", f"{SERIES}.1")


def test_without_dates_there_is_no_doubling_time(tmp_path):
    comparison = Comparison(*now_and_then(tmp_path, then_date=None), ALIGNMENT)
    assert comparison.rows[0].change == "grown"
    assert comparison.rows[0].doubling_days is None
    assert "a date is missing" in comparison.title


def test_selecting_a_finding_selects_its_partner_each_on_its_own_centre(comparison):
    comparison.session.select(f"{SERIES}.2")
    assert comparison.other.selected == "2.25.1"
    assert comparison.other.point_mm == pytest.approx(moved(MARKS[1][0]))
    comparison.other.select("2.25.0")
    assert comparison.session.selected == f"{SERIES}.1"


def test_a_new_finding_shows_the_place_where_it_was_not_and_a_gone_one_where_it_is_no_more(comparison):
    comparison.session.select(f"{SERIES}.3")
    assert comparison.other.selected is None
    assert comparison.other.point_mm == pytest.approx(moved(MARKS[2][0]))
    gone = comparison.rows[-1]
    comparison.show(gone)
    assert comparison.session.selected is None
    assert comparison.session.point_mm == pytest.approx(ALIGNMENT.back(gone.earlier.centre_mm), abs=1e-6)


def test_rejected_findings_are_left_out_and_edited_ones_lose_the_volume_of_the_ai(comparison):
    comparison.session.select(f"{SERIES}.2")
    comparison.session.decide("reject")
    assert "unchanged" not in [row.change for row in comparison.rows]
    comparison.session.select(f"{SERIES}.1")
    comparison.session.decide("edit", diameter_mm=12.0)
    row = comparison.rows[0]
    assert (row.change, row.volume_change, row.doubling_days) == ("not measured", None, None)
    assert row.diameter_change_mm == pytest.approx(2.0)


def test_after_closing_each_goes_its_own_way(comparison):
    before = comparison.other.point_mm
    comparison.close()
    comparison.session.go_to(MARKS[0][0])
    assert comparison.other.point_mm == before


def test_doubts_come_along(tmp_path):
    doubt = Notice("compare.kernel", "sharp here, soft there")
    poor = Alignment(MATRIX, 0.5, (Notice("compare.poor_match", "far off"),))
    comparison = Comparison(*now_and_then(tmp_path), poor, notices=(doubt,))
    assert [notice.code for notice in comparison.notices] == ["compare.kernel", "compare.poor_match"]


def test_two_patients_are_never_laid_side_by_side(tmp_path, monkeypatch, volume):
    from imaging.simulation.dicom_series import SeriesOptions, write_series
    from pipelines.viewer.comparison import prepare
    from pipelines.viewer.opening import open_session

    for name in ("one", "two"):
        options = SeriesOptions(key=name, patient_id=name)
        write_series(volume, tmp_path / name, options=options, rng=np.random.default_rng(1))
    session = open_session(tmp_path / "one")
    monkeypatch.setattr("imaging.registration.fit.align", lambda *_, **__: pytest.fail("aligned all the same"))
    with pytest.raises(InputError, match=r"compare\.other_patient"):
        prepare(session, tmp_path / "two")
    with pytest.raises(InputError, match=r"compare\.same_series"):
        prepare(session, tmp_path / "one")
