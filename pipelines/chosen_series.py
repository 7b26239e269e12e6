"""The series of a patient that is analysed: chosen by the rule, read, its lungs found; the others with their reasons.

`pipelines.series_choice` ranks by headers; here the images have the last word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imaging.errors import InputError, Notice
from imaging.findings import RejectedSeries
from imaging.geometry import Volume
from imaging.io import SeriesInfo, list_series, read_volume
from pipelines.progress import OnStage, part_of
from pipelines.result_folder import without_results
from pipelines.series_choice import Choice, choose_series, rejected

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

#: The lung finder's doubt that means "this series shows a part of the lungs only".
PARTIAL = "lungs.partial"
#: No scanner's table moves further.
LONGEST_MM = 3000.0


@dataclass(frozen=True, eq=False)
class Chosen:
    """The series that is analysed, read, with its lungs and the reasons of the others."""

    volume: Volume
    lungs: Lungs
    sentence: str
    losers: tuple[RejectedSeries, ...]


def read_chosen(
    path: str | Path, *, series: str | None = None, study: str | None = None, on_stage: OnStage | None = None
) -> Chosen:
    """Choose the series by the stated rule, read it and find its lungs.

    The first series in the order of the rule that shows lungs whole is taken; where none does, the one with most lung.

    Raises:
        InputError: nothing usable, several patients, values that are not HU, or no lungs in any of them.
    """
    choice = choose_series(without_results(path, list_series(path)), series=series, study=study, where=path)
    best: tuple[SeriesInfo, Volume | None, Lungs] | None = None
    losers: list[RejectedSeries] = []
    refusal: InputError | None = None
    for info in choice.ranked:
        try:
            volume, lungs = _read(path, info, on_stage)
        except InputError as error:
            refusal = refusal or error
            losers.append(
                rejected(info, "choice.no_lungs" if error.code == "lungs.none" else error.code, error.message)
            )
            continue
        if best is None or lungs.volume_ml > 1.05 * best[2].volume_ml:
            losers += [] if best is None else [_cut(best[0], best[2], lungs)]
            best = (info, volume, lungs)
        else:
            losers.append(_cut(info, lungs, best[2]))
            best = (best[0], None, best[2])
        if all(notice.code != PARTIAL for notice in lungs.notices):
            break
    if best is None:
        raise refusal if refusal is not None else InputError("series.none_usable", "no series", where=path)
    info, kept, lungs = best
    volume = kept if kept is not None else read_volume(path, series=info)
    if refusal is not None and refusal.code != "lungs.none":
        better = f"a series that the rule prefers could not be analysed: {refusal.code}, {refusal.message}"
        volume = volume.with_warnings(Notice("choice.second_best", better))
    return Chosen(volume, lungs, choice.sentence, _all_losers(choice, info, losers))


def _read(path: str | Path, info: SeriesInfo, on_stage: OnStage | None) -> tuple[Volume, Lungs]:
    from imaging.preprocessing.lungs import find_lungs

    if on_stage:
        on_stage("read", 0, 1)
    volume = read_volume(path, series=info, on_progress=part_of(on_stage, "read"))
    check_measurable(path, volume)
    if on_stage:
        on_stage("read", 1, 1)
    return volume, find_lungs(volume, on_progress=part_of(on_stage, "lungs"))


def check_measurable(path: str | Path, volume: Volume) -> None:
    """Refuse what is not in HU, and what cannot be a patient in millimetres, before it is resampled to them.

    Raises:
        InputError: ``input.not_hu``, ``input.not_mm``.
    """
    if not volume.is_hu:
        told = "; ".join(notice.message for notice in volume.warnings)
        raise InputError("input.not_hu", told or "no rescale to Hounsfield units is stored", where=path)
    doubts = [notice.message for notice in volume.warnings if notice.code.endswith(".spacing_doubtful")]
    extents = [count * step for count, step in zip(volume.grid.shape, volume.grid.spacing_mm, strict=True)]
    if doubts or max(extents) > LONGEST_MM:
        sizes = " x ".join(f"{extent:,.5g}" for extent in extents)
        raise InputError("input.not_mm", "; ".join([*doubts, f"the volume would be {sizes} mm"]), where=path)


def _cut(info: SeriesInfo, less: Lungs, more: Lungs) -> RejectedSeries:
    reason = f"shows {less.volume_ml:.0f} ml of lung, the chosen series {more.volume_ml:.0f} ml"
    return rejected(info, "choice.cut_lungs", reason)


def _all_losers(choice: Choice, won: SeriesInfo, tried: Iterable[RejectedSeries]) -> tuple[RejectedSeries, ...]:
    """Every series but the chosen one, once, with the reason that counted."""
    by_name = {row.seriesuid: row for row in choice.rejected} | {row.seriesuid: row for row in tried}
    by_name.pop(won.name, None)
    return tuple(by_name.values())
