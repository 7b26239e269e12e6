"""The table of output formats: name, files, what it is for, and where its writer lives.

Writers are held as import strings: looking at the table (for ``--help``) imports neither pictures nor highdicom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from imaging.errors import Notice, UsageError
from imaging.geometry.volume import Origin
from imaging.outputs.case import CaseResult


class Writer(Protocol):
    """Writes one format into a folder and returns file name -> path."""

    def __call__(self, result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]: ...


@dataclass(frozen=True)
class OutputFormat:
    """One row of the table of formats."""

    name: str
    files: tuple[str, ...]
    purpose: str
    writer: str
    needs_dicom: bool = False
    needs_outlines: bool = False

    def load(self) -> Writer:
        """The writer itself; imports its module."""
        module, function = self.writer.split(":")
        writer: Writer = getattr(import_module(module), function)
        return writer


_ROWS = (
    OutputFormat(
        "csv", ("findings.csv",), "table of findings; LUNA16's columns first", "imaging.outputs.findings_csv:write"
    ),
    OutputFormat("json", ("report.json",), "the whole report, versioned", "imaging.outputs.report_json:write"),
    OutputFormat(
        "maps",
        ("grad_cam.nii.gz", "similarity.nii.gz", "nodules.nii.gz"),
        "heat maps and outlined nodules as NIfTI that lie over the CT",
        "imaging.outputs.maps:write",
    ),
    OutputFormat("overlay", ("overlay.png",), "each finding in three planes", "imaging.outputs.overlay:write"),
    OutputFormat(
        "explanation",
        ("explanation.png",),
        "what the heat maps mark, close up (`nodulus explain` writes it by default)",
        "imaging.outputs.explanation:write",
    ),
    OutputFormat("html", ("report.html",), "one page for reading and printing", "imaging.outputs.html:write"),
    OutputFormat("sr", ("sr.dcm",), "DICOM structured report, TID 1500", "imaging.outputs.sr:write", needs_dicom=True),
    OutputFormat(
        "seg",
        ("seg.dcm",),
        "DICOM segmentation, one segment a finding",
        "imaging.outputs.seg:write",
        needs_dicom=True,
        needs_outlines=True,
    ),
)

#: name -> row; the order is the order of writing.
WRITERS: Final[Mapping[str, OutputFormat]] = MappingProxyType({row.name: row for row in _ROWS})

#: What `write_case` writes unless told otherwise.
DEFAULT_FORMATS: Final = ("csv", "json", "maps", "overlay", "html")


class Written(dict[str, Path]):
    """File name -> path of every file written; `notices` say what of it was left out or left empty, and why."""

    def __init__(self, files: Mapping[str, Path], notices: Iterable[Notice] = ()) -> None:
        super().__init__(files)
        self.notices = tuple(notices)


def check_formats(formats: Iterable[str], origin: Origin | None) -> None:
    """Refuse what can never be written for such an input; call it before the long work begins.

    Raises:
        UsageError: ``outputs.unknown_format`` for a name that is not in `WRITERS`; ``outputs.no_dicom_source`` for SR
            or SEG of a CT that was not read from DICOM instances.
        OutputError: ``outputs.header_unusable`` if SR or SEG cannot name the patient, study or series.
    """
    _header_notices(formats, origin)


def _header_notices(formats: Iterable[str], origin: Origin | None) -> tuple[Notice, ...]:
    """The refusals of `check_formats`; what of the header is left empty in SR and SEG."""
    dicom = False
    for name in formats:
        if name not in WRITERS:
            raise UsageError("outputs.unknown_format", f"{name!r} is not one of {', '.join(WRITERS)}")
        if WRITERS[name].needs_dicom and (origin is None or origin.header is None or not origin.instances):
            source = "an array in memory" if origin is None else f"a {origin.format} file"
            raise UsageError(
                "outputs.no_dicom_source",
                f"{name} refers to the DICOM instances of the CT and copies its patient and study; this CT is {source}",
            )
        dicom = dicom or WRITERS[name].needs_dicom
    if not dicom or origin is None:
        return ()
    from imaging.outputs.dicom_source import clean_header

    return clean_header(origin)[1]


def write_case(
    result: CaseResult,
    folder: str | Path,
    *,
    formats: Iterable[str] = DEFAULT_FORMATS,
    show_identifiers: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the requested formats into `folder` (made if need be); each file appears whole or not at all.

    A SEG without an outlined finding cannot exist (a segmentation needs a segment): it is left out with the notice
    ``outputs.seg_empty``, which the report, the page and `Written.notices` carry. The SR is written either way.
    Attributes of the header that are no valid DICOM are named in ``outputs.header_repaired`` if SR or SEG is written.

    Args:
        show_identifiers: put the patient's name and ID on the page; no other text output ever has them.
        on_progress: called as (formats done, formats in all); may raise to cancel.

    Raises:
        UsageError: see `check_formats`.
        OutputError: ``outputs.header_unusable`` if SR or SEG cannot be made from the CT's header.
    """
    wanted = tuple(dict.fromkeys(formats))
    repaired = _header_notices(wanted, result.volume.origin)
    omitted = _omitted(result, wanted)
    notices = (*repaired, *dict.fromkeys(omitted.values()))
    result = _with_map_notes(result.with_notices(notices), wanted)
    folder = Path(folder)
    files: dict[str, Path] = {}
    for done, name in enumerate(name for name in WRITERS if name in wanted):
        if on_progress is not None:
            on_progress(done, len(wanted))
        if name not in omitted:
            files |= WRITERS[name].load()(result, folder, show_identifiers=show_identifiers)
    if on_progress is not None:
        on_progress(len(wanted), len(wanted))
    return Written(files, notices)


def _omitted(result: CaseResult, wanted: Iterable[str]) -> dict[str, Notice]:
    """Format -> why it is left out of this case."""
    names = [name for name in wanted if WRITERS[name].needs_outlines]
    if not names or result.outlined():
        return {}
    cause = "no finding could be outlined" if result.report.findings else "there is no mark above the threshold"
    reason = f"{cause}, and a DICOM segmentation needs a segment; seg.dcm was not written"
    return {name: Notice("outputs.seg_empty", reason) for name in names}


def _with_map_notes(result: CaseResult, wanted: Iterable[str]) -> CaseResult:
    """The case whose report says of each map file what it holds; what the report says already is kept."""
    if "maps" not in wanted:
        return result
    from imaging.outputs.maps import describe

    notes = describe(result) | dict(result.report.maps)
    return replace(result, report=replace(result.report, maps=notes))
