"""``nodulus inspect``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import ImagingError
from pipelines.cli.options import Voice
from pipelines.cli.speak import tell

if TYPE_CHECKING:
    from imaging.geometry import Volume


def inspect(path: Path, /, *, series: str | None = None, voice: Voice = Voice()) -> int:  # noqa: B008
    """Say what a path holds: every series, the one that would be analysed, its geometry and every doubt about it.

    Ends with 4 where nothing in it can be analysed.

    Parameters
    ----------
    path
        A file, folder or zip.
    series
        Look at this series (uid or uid#group) instead of the one that would be chosen.
    """
    from imaging.io import list_series, read_volume
    from pipelines.chosen_series import check_measurable
    from pipelines.exit_codes import Exit, exit_code_of
    from pipelines.result_folder import without_results
    from pipelines.series_choice import choose_series

    infos = without_results(path, list_series(path))
    result: dict[str, Any] = {"path": str(path), "series": [info.to_json() for info in infos], "chosen": None}
    code = Exit.OK
    try:
        choice = choose_series(infos, series=series, where=path)
        result["chosen"] = choice.ranked[0].name
        result["choice"] = choice.sentence
        result["rejected"] = [row.to_json() for row in choice.rejected]
        volume = read_volume(path, series=choice.ranked[0])
        result["volume"] = _facts(volume)
        check_measurable(path, volume)
    except ImagingError as error:
        result["error"] = error.to_json()
        code = exit_code_of(error)
    result["exit_code"] = int(code)
    tell(voice, result, lambda: _text(result))
    return int(code)


def _facts(volume: Volume) -> dict[str, Any]:
    """Geometry, range and doubts of a series; the patient's name is in none of them, whatever the files are called."""
    from imaging.io.identifiers import identifying_words, without

    names = identifying_words(volume.origin.header if volume.origin else None)
    told = [replace(notice, message=without(notice.message, names)) for notice in volume.warnings]
    return {
        "grid": volume.grid.to_json(),
        "is_hu": volume.is_hu,
        "lowest": float(volume.array.min()),
        "highest": float(volume.array.max()),
        "warnings": [notice.to_json() for notice in told],
    }


def _text(result: dict[str, Any]) -> str:
    from pipelines.cli.show import table

    header = ("series", "what", "images", "matrix", "slice mm", "kernel", "usable")
    parts = [table(header, (_row(info) for info in result["series"])) if result["series"] else "No series."]
    if result["chosen"]:
        parts.append(f"Would be analysed: {result['chosen']} ({result['choice']}).")
        parts += [f"Not {row['seriesuid'] or 'a file'}: {row['code']}, {row['reason']}" for row in result["rejected"]]
    if "volume" in result:
        parts.append(_volume_text(result["volume"]))
    if "error" in result:
        error = result["error"]
        place = f"\n  where: {error['where']}" if error["where"] else ""
        parts.append(f"Refused: {error['code']}: {error['message']}{place}\n  next:  {error['remedy']}")
    return "\n\n".join(parts)


def _row(info: dict[str, Any]) -> tuple[Any, ...]:
    what = " ".join(part for part in (info["modality"] or info["format"], info["description"]) if part)
    matrix = f"{info['rows']} x {info['columns']}" if info["rows"] else None
    usable = "yes" if info["usable"] else f"no: {info['code']}"
    name = f"{info['seriesuid']}#{info['group']}" if info["group"] else info["seriesuid"]
    spacing = info["slice_spacing_mm"]
    shown = None if spacing is None else f"{spacing:.3g}"
    return name, what, info["instances"], matrix, shown, info["convolution_kernel"], usable


def _volume_text(volume: dict[str, Any]) -> str:
    grid = volume["grid"]
    slices, rows, columns = grid["shape"]
    spacing = " x ".join(f"{value:.4g}" for value in grid["spacing_mm"])
    lines = [
        f"{slices} slices of {rows} x {columns}, spacing {spacing} mm (slice, row, column)",
        f"{'orthogonal' if grid['orthogonal'] else 'sheared (tilted gantry), kept as it is'}",
        f"values {volume['lowest']:g} to {volume['highest']:g} {'HU' if volume['is_hu'] else '(not known to be HU)'}",
    ]
    lines += [f"note {notice['code']}: {notice['message']}" for notice in volume["warnings"]]
    return "\n".join(lines)
