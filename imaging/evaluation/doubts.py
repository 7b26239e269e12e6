"""What a reader of a CPM should know before believing it: each doubt a notice with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imaging.errors import Notice
from imaging.evaluation.froc import RATES, Bools, Ints, Pool
from imaging.evaluation.tables import Annotations, Marks

#: Fewest marks that are judged to be rounded, and to how many decimals.
ROUNDED_MARKS, ROUNDED_DECIMALS = 20, 3
#: So many rows of a table are named at most.
NAMED_ROWS = 10
#: Other frames that coordinates are written in by mistake: name -> (axes, signs).
OTHER_FRAMES = {
    "with x and y negated (RAS instead of LPS)": ((0, 1, 2), (-1.0, -1.0, 1.0)),
    "with x negated": ((0, 1, 2), (-1.0, 1.0, 1.0)),
    "with y negated": ((0, 1, 2), (1.0, -1.0, 1.0)),
    "with z negated": ((0, 1, 2), (1.0, 1.0, -1.0)),
    "in the order z, y, x": ((2, 1, 0), (1.0, 1.0, 1.0)),
}


def doubts_about(
    *,
    marks: Marks,
    truth: Annotations,
    pool: Pool,
    scans: Sequence[str],
    mark_scan: Ints,
    truth_scan: Ints,
    kept: Bools,
    two_nodules: int,
    max_marks: int | None,
    scans_given: bool,
    excluded_given: bool,
) -> tuple[Notice, ...]:
    """Every doubt about an evaluation, most basic first."""
    found = [
        *_doubts_about_scans(marks, scans, mark_scan, truth_scan, scans_given=scans_given),
        *_doubts_about_cap(marks, mark_scan, kept, max_marks),
        *_doubts_about_scores(marks, pool),
        *_doubts_about_diameters(truth, truth_scan),
        *_doubts_about_frame(marks, truth, pool, mark_scan, truth_scan),
    ]
    if not excluded_given:
        message = "no list of excluded findings was given; on LUNA16 this lowers CPM by about 0.1"
        found.append(Notice("evaluation.no_excluded", message))
    if two_nodules:
        found.append(Notice("evaluation.two_nodules", f"{two_nodules} marks lie on two nodules at once; both count"))
    last = pool.curve().false_marks_per_scan[-1]
    if last < RATES[-1]:
        message = f"the curve ends at {last:.3g} false marks per scan; its last sensitivity stands in beyond"
        found.append(Notice("evaluation.short_curve", message))
    return tuple(found)


def _doubts_about_scans(
    marks: Marks, scans: Sequence[str], mark_scan: Ints, truth_scan: Ints, *, scans_given: bool
) -> list[Notice]:
    found = []
    if not scans_given:
        message = f"no list of scans was given; the {len(scans)} scans named in the files are taken for all of them"
        found.append(Notice("evaluation.scans_assumed", message))
    unlisted = sorted({uid for uid, scan in zip(marks.seriesuids, mark_scan, strict=True) if scan < 0})
    if unlisted:
        stripped = {uid.strip() for uid in scans}
        blanks = sum(uid.strip() in stripped for uid in unlisted)
        hint = f" ({blanks} of them would be listed but for blanks around the UID)" if blanks else ""
        message = (
            f"{int((mark_scan < 0).sum())} marks of {len(unlisted)} scans that are not listed, "
            f"such as {unlisted[0]!r}, do not count{hint}"
        )
        found.append(Notice("evaluation.unlisted_marks", message))
    if (truth_scan < 0).any():
        message = f"{int((truth_scan < 0).sum())} of {truth_scan.size} nodules lie in scans that are not listed"
        found.append(Notice("evaluation.unlisted_nodules", message))
    silent = len(scans) - np.unique(mark_scan[mark_scan >= 0]).size
    if silent:
        message = (
            f"{silent} of {len(scans)} listed scans have no mark; if they were not analysed, "
            "their missing false marks make the result too good"
        )
        found.append(Notice("evaluation.scans_without_marks", message))
    return found


def _doubts_about_cap(marks: Marks, mark_scan: Ints, kept: Bools, max_marks: int | None) -> list[Notice]:
    cut = (mark_scan >= 0) & ~kept
    if max_marks is None or not cut.any():
        return []
    listed = mark_scan >= 0
    kept_counts = np.bincount(mark_scan[listed & kept], minlength=int(mark_scan.max()) + 1)
    capped = np.unique(mark_scan[cut])
    lost = int((max_marks - kept_counts[capped]).sum())
    message = f"{capped.size} scans have more than {max_marks} marks; {int(cut.sum())} marks were cut"
    found = [Notice("evaluation.capped", message)]
    if lost:
        message = f"ties at the cut drop {lost} marks more than the cap of {max_marks} asks for"
        found.append(Notice("evaluation.tied_at_cap", message))
    return found


def _doubts_about_scores(marks: Marks, pool: Pool) -> list[Notice]:
    found = []
    tied = np.intersect1d(pool.scores[pool.is_nodule], pool.scores[~pool.is_nodule])
    if tied.size:
        low, high = pool.tie_bounds()
        message = (
            f"nodules and false marks share {tied.size} scores; depending on the order within ties "
            f"CPM lies between {low:.3f} and {high:.3f}"
        )
        found.append(Notice("evaluation.ties", message))
    scores = marks.scores
    outside = bool(scores.size and (scores.min() < 0.0 or scores.max() > 1.0))
    if scores.size >= ROUNDED_MARKS and not outside and np.array_equal(scores, scores.round(ROUNDED_DECIMALS)):
        message = f"all {scores.size} probabilities are rounded to {ROUNDED_DECIMALS} decimals or fewer"
        found.append(Notice("evaluation.rounded", message))
    return found


def _doubts_about_diameters(truth: Annotations, truth_scan: Ints) -> list[Notice]:
    """Nodules that no mark can hit, and those that are taken to have the protocol's diameter."""
    diameters, listed = truth.diameters_mm, truth_scan >= 0
    kinds = (
        (listed & (diameters == 0.0), "of 0, so that no mark can hit them"),
        (listed & (diameters < 0.0), "below 0, for which 10 mm stand in"),
    )
    told = [
        f"{int(rows.sum())} nodules have a diameter {what} ({_rows_named(truth, rows)})"
        for rows, what in kinds
        if rows.any()
    ]
    return [Notice("evaluation.no_diameter", "; ".join(told))] if told else []


def _rows_named(truth: Annotations, chosen: Bools) -> str:
    rows = np.flatnonzero(chosen).tolist()
    word, numbers = ("line", [truth.lines[row] for row in rows]) if truth.lines else ("row", [row + 1 for row in rows])
    first = ", ".join(str(number) for number in numbers[:NAMED_ROWS])
    more = f" and {len(numbers) - NAMED_ROWS} more" if len(numbers) > NAMED_ROWS else ""
    return f"{word} {first}{more}"


def _doubts_about_frame(
    marks: Marks, truth: Annotations, pool: Pool, mark_scan: Ints, truth_scan: Ints
) -> list[Notice]:
    """Whether the marks would hit far more nodules if their coordinates were in another frame."""
    found = int(pool.is_nodule.sum())
    nodules = int(pool.nodules_per_scan.sum())
    if 2 * found >= nodules or not (mark_scan >= 0).any():
        return []
    for name, (axes, signs) in OTHER_FRAMES.items():
        hits = _count_near(marks.points_mm[:, axes] * np.asarray(signs), truth, mark_scan, truth_scan)
        if hits >= max(2 * found, 3) and 4 * hits >= nodules:
            message = f"{found} of {nodules} nodules are hit, but {hits} would be {name}"
            return [Notice("evaluation.frame", message)]
    return []


def _count_near(points_mm: np.ndarray, truth: Annotations, mark_scan: Ints, truth_scan: Ints) -> int:
    """How many nodules have a point of their scan inside their radius."""
    from scipy.spatial import cKDTree

    listed = np.flatnonzero(mark_scan >= 0)
    apart = 1e6 * mark_scan[listed, None] * np.array([[1.0, 0.0, 0.0]])  # moves scans out of one another's reach
    tree = cKDTree(points_mm[listed] + apart)
    rows = np.flatnonzero(truth_scan >= 0)
    centres = truth.points_mm[rows] + 1e6 * truth_scan[rows, None] * np.array([[1.0, 0.0, 0.0]])
    diameters = truth.diameters_mm[rows]
    distances, _ = tree.query(centres)
    return int((distances < np.where(diameters < 0, 10.0, diameters) / 2.0).sum())
