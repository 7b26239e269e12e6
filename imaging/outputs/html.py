"""`report.html`: one page for a clinician, in one file that needs no network and prints to A4.

Everything that comes from the CT or its header is escaped; the page allows no script and loads nothing (its content
security policy says so, should an escape ever be missed). Name, ID and date of birth are on it only on demand.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

from imaging.errors import CODES
from imaging.findings import Finding
from imaging.io.atomic import write_bytes
from imaging.outputs import words
from imaging.outputs.case import CaseResult
from imaging.outputs.drawing import clean
from imaging.outputs.overlay import MOST_FINDINGS, draw_finding, draw_planes, field_of_view, middle

FILE_NAME: Final = "report.html"
_TEMPLATE: Final = "report.html.jinja"
#: Pictures are for orientation, the CT is for reading; at this quality no difference is seen at lung window.
_JPEG_QUALITY: Final = 88
#: Attributes below this score are left to `report.json`.
_LIKELY: Final = 0.5
_MOST_CHARACTERS: Final = 1200


@dataclass(frozen=True)
class Row:
    """A finding as the page shows it: rounded, in words."""

    number: int
    score: str
    diameter: str
    axes: str
    volume: str
    attenuation: str
    site: str
    place: str
    image: str
    slice_position: str
    image_and_slice: str
    attributes: str
    notes: tuple[str, ...]
    picture: str | None


def page(result: CaseResult, *, show_identifiers: bool = False) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = lambda value: clean(str(value), most=_MOST_CHARACTERS)
    environment.filters["sentence"] = lambda value: _sentence(clean(str(value), most=_MOST_CHARACTERS))
    template = files("imaging.outputs").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(template).render(**_context(result, show_identifiers))


def _sentence(text: str) -> str:
    """With a capital at its head; the rest as it is."""
    return text[:1].upper() + text[1:]


def _context(result: CaseResult, show_identifiers: bool) -> dict[str, Any]:
    report, origin = result.report, result.volume.origin
    field = field_of_view(result)
    shown = report.findings[:MOST_FINDINGS]
    pictures = {finding.number: _embedded(draw_finding(result, finding, field)) for finding in shown}
    return {
        "report": report,
        "rows": [_row(finding, pictures.get(finding.number)) for finding in report.findings],
        "representative": None if report.findings else _embedded(draw_planes(result, middle(result)[0], field)),
        "identifiers": identifiers(result) if show_identifiers else None,
        "study_date": words.date(report.study_date),
        "series_description": origin.series_description if origin else None,
        "geometry": _geometry(result),
        "operating_line": words.operating_line(report.operating_point),
        "checks": [(notice.message, notice.code, CODES[notice.code].remedy) for notice in report.notices],
        "heat": _heat_words(result),
        "middle": middle(result)[1],
        "created": words.moment(report.provenance.created),
        "settings": ", ".join(f"{name} {value}" for name, value in report.provenance.settings.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in report.provenance.versions.items()),
        "not_for_diagnosis": words.NOT_FOR_DIAGNOSIS,
        "no_mark": words.NO_MARK,
        "number": words.number,
    }


def _row(finding: Finding, picture: str | None) -> Row:
    axes = "–"
    if finding.long_axis_mm is not None:
        axes = f"{words.number(finding.long_axis_mm)} × {words.number(finding.short_axis_mm)}"
    likely = [pair for pair in finding.attributes.items() if pair[1] >= _LIKELY]
    likely.sort(key=lambda pair: -pair[1])
    return Row(
        number=finding.number,
        score=words.score(finding.score),
        diameter=words.number(finding.diameter_mm),
        axes=axes,
        volume=words.number(finding.volume_mm3, digits=0),
        attenuation=words.number(finding.mean_hu, digits=0),
        site=words.site(finding),
        place=", ".join(words.number(value) for value in finding.centre_mm),
        image=words.image(finding),
        slice_position=words.slice_position(finding),
        image_and_slice=words.image_and_slice(finding),
        attributes=", ".join(f"{name} {score:.2f}" for name, score in likely),
        notes=tuple(f"{CODES[code].meaning} ({code})" if code in CODES else code for code in finding.notes),
        picture=picture,
    )


def _embedded(image: Image.Image) -> str:
    """The picture as a data URL; the same picture gives the same text."""
    content = BytesIO()
    image.save(content, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _geometry(result: CaseResult) -> str:
    """Size and spacing of what was analysed, in words."""
    slices, rows, columns = result.volume.grid.shape
    apart, down, across = (f"{spacing:.3g}" for spacing in result.volume.grid.spacing_mm)
    tilt = "" if result.volume.grid.is_orthogonal else ", tilted gantry"
    return f"{slices} slices, {apart} mm apart{tilt}; {rows} × {columns} pixels of {down} × {across} mm"


def _heat_words(result: CaseResult) -> str | None:
    """What the colours in the close-ups are."""
    if result.grad_cam is not None:
        return "Grad-CAM of the image tower"
    if result.similarity is not None:
        return f"similarity to {words.prompt(result.similarity_prompt)}"
    return None


def identifiers(result: CaseResult) -> Mapping[str, str]:
    """Label -> value of the patient's identifiers; empty where the source has none."""
    header = result.volume.origin.header if result.volume.origin else None
    if header is None:
        return {}
    labels = {"Patient": "PatientName", "Patient ID": "PatientID", "Born": "PatientBirthDate", "Sex": "PatientSex"}
    values = {label: str(header.get(keyword, "") or "").strip() for label, keyword in labels.items()}
    values["Patient"] = values["Patient"].replace("^", " ").strip()
    values["Born"] = words.date(values["Born"]) if values["Born"] else ""
    return {label: value for label, value in values.items() if value}


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `report.html`; with the patient's name, ID, date of birth and sex if `show_identifiers`."""
    path = folder / FILE_NAME
    write_bytes(path, page(result, show_identifiers=show_identifiers).encode("utf-8", "replace"))
    return {FILE_NAME: path}
