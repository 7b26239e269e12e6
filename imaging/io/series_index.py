"""Everything a source holds: every header read once, sorted into series, each judged usable or not, with a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np

from imaging.errors import ImagingError, InputError, Notice
from imaging.io import dicom_frames, dicom_groups, dicom_pixels
from imaging.io.dicom_geometry import Stack, place
from imaging.io.dicom_header import FIRST_BYTES, Header, read_header
from imaging.io.dicom_numbers import image_numbers
from imaging.io.dicom_slices import Slice, damaged
from imaging.io.dicom_tags import LOSSY_SYNTAXES
from imaging.io.dicom_uneven import Filling
from imaging.io.files import FileHeader
from imaging.io.foreign import foreign_archive
from imaging.io.identifiers import identifying_words, without
from imaging.io.series_info import SeriesInfo
from imaging.io.sources import Entry, Source

#: As many names are written out in one notice.
_NAMES_SHOWN = 50


@dataclass(frozen=True, eq=False)
class Candidate:
    """A line of the listing with what is needed to read it.

    Args:
        slices: the images of a stack, also where it is refused for its steps.
        filling: how even planes come from the stack's slices, where that was asked for.
        numbers: what readers call the images of the series.
        stands_for: the candidates of the listing that this one was made from, if it is none of them itself.
    """

    info: SeriesInfo
    stack: Stack | None = None
    slices: tuple[Slice, ...] = ()
    filling: Filling | None = None
    numbers: Mapping[Slice, int] = field(default_factory=dict)
    file: FileHeader | None = None
    problem: InputError | None = None
    derived: bool = False
    stands_for: tuple[Candidate, ...] = ()


@dataclass(eq=False)
class Listing:
    """Everything that a source holds."""

    candidates: list[Candidate]
    strays: list[InputError]
    notices: tuple[Notice, ...]


@dataclass(eq=False)
class _Series:
    """What was found with one series UID (and one patient)."""

    slices: list[Slice] = field(default_factory=list)
    others: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)


def index(source: Source) -> Listing:
    """Read every header of a source once."""
    found: dict[str, _Series] = {}
    strays: list[InputError] = []
    ignored: dict[str, str] = {}
    stumps: list[str] = []
    files: list[Candidate] = []
    for entry in source.entries:
        try:
            head = entry.head(FIRST_BYTES)
        except ImagingError as error:
            strays.append(InputError(error.code, error.message, where=error.where or entry.name))
            continue
        header = None if (file := _file_candidate(entry, head)) else read_header(entry, head)
        if file is not None:
            files.append(file)
        elif header is None:
            kind = foreign_archive(head)
            ignored[entry.name] = f"{entry.name} ({kind})" if kind else entry.name
            if len(head) < 132 and (b"\0" in head or not head):
                stumps.append(entry.name)
        else:
            _sort_in(found, strays, entry, header)
    images = {(folder_of(one.name), _suffix(one.name)) for series in found.values() for one in series.slices}
    for name in stumps:
        if (folder_of(name), _suffix(name)) in images and not PurePosixPath(name).name.startswith("."):
            strays.append(damaged("the file ends before the DICOM prefix", name))
            del ignored[name]
    candidates = [line for uid, series in sorted(found.items()) for line in _series_candidates(uid, series)]
    candidates = _set_derived_aside(candidates) + files + [_stray_candidate(error) for error in strays]
    if not candidates:
        raise _no_image(source, ignored)
    notices = source.notices
    used = {name for one in files for name in one.info.files}
    shown = [text for name, text in ignored.items() if name not in used]
    if shown:
        notices += (Notice("series.files_ignored", f"{len(shown)} file(s) are no images: {_names(shown)}"),)
    return Listing(candidates, strays, notices)


def _no_image(source: Source, ignored: Mapping[str, str]) -> InputError:
    """The refusal of a source without an image; `ignored` is name -> what is shown of it, the kind if it is packed."""
    packed = any(name != text for name, text in ignored.items())
    text = f"none of {len(source.entries)} file(s) is an image: {_names(list(ignored.values()))}"
    return InputError("archive.unsupported" if packed else "input.not_image", text, where=source.path)


def _sort_in(found: dict[str, _Series], strays: list[InputError], entry: Entry, header: Header) -> None:
    uid = header.tags.get("SeriesInstanceUID", "")
    if header.problem is not None and not uid:
        strays.append(header.problem)
        return
    series = found.setdefault(uid, _Series())
    series.tags = series.tags or header.tags
    if header.problem is not None:
        series.problems.append(header.problem)
    elif header.slices:
        series.slices.extend(header.slices)
    else:
        series.others.append((entry.name, header.tags))


def _file_candidate(entry: Entry, head: bytes) -> Candidate | None:
    """The line of a NIfTI, MetaImage or NRRD file; None if it is none."""
    if head[128:132] == b"DICM":
        return None
    from imaging.io.formats import HEADER_READERS, sniff

    kind = sniff(entry)
    if kind is None or kind == "dicom":
        return None
    try:
        header = HEADER_READERS[kind](entry)
        shape, spacing = header.grid.shape, header.grid.spacing_mm
        info = SeriesInfo(
            seriesuid=header.seriesuid(),
            format=kind,
            usable=True,
            rows=shape[1],
            columns=shape[2],
            slice_spacing_mm=spacing[0],
            pixel_spacing_mm=(spacing[1], spacing[2]),
            extent_mm=spacing[0] * shape[0],
            files=tuple(one.name for one in header.entries),
            notices=header.notices,
        )
        return Candidate(info, file=header)
    except InputError as error:
        info = SeriesInfo("", kind, False, error.code, error.message, files=(entry.name,))
        return Candidate(info, problem=error)


def _stray_candidate(error: InputError) -> Candidate:
    info = SeriesInfo("", "dicom", False, error.code, _reason(error), files=(error.where or "",))
    return Candidate(info, problem=error)


def _series_candidates(uid: str, series: _Series) -> list[Candidate]:
    """The lines of one series UID: one for each patient and each volume in it."""
    patients: dict[str, list[Slice]] = {}
    for one in series.slices:
        patients.setdefault(patient_key(one.tags) if one.get("PatientID") else "", []).append(one)
    if len(patients) > 1 and (unnamed := patients.pop("", None)):
        next(iter(patients.values())).extend(unnamed)
    if not patients:
        return [_without_images(uid, series)]
    numbers = image_numbers(series.slices)
    found = [_candidate(uid, group, series) for slices in patients.values() for group in dicom_groups.groups(slices)]
    return [replace(one, numbers=numbers) for one in found]


def _without_images(uid: str, series: _Series) -> Candidate:
    from pydicom.uid import UID

    names = tuple(name for name, _ in series.others)
    kinds = sorted({UID(tags.get("SOPClassUID", "")).name or "unknown" for _, tags in series.others})
    problem = (
        series.problems[0]
        if series.problems
        else InputError("series.no_volume", f"no images: {', '.join(kinds)}", where=names[0])
    )
    info = _described(uid, series.tags, instances=len(names) + len(series.problems))
    names += tuple(error.where or "" for error in series.problems)
    return Candidate(
        replace(info, usable=False, code=problem.code, reason=str(problem.message), files=names), problem=problem
    )


def _described(uid: str, tags: Mapping[str, str], *, instances: int) -> SeriesInfo:
    thickness = tags.get("SliceThickness", "")
    try:
        thickness_mm = float(thickness) if thickness else None
    except ValueError:
        thickness_mm = None
    return SeriesInfo(
        seriesuid=uid,
        format="dicom",
        usable=True,
        modality=tags.get("Modality"),
        description=_description(tags),
        study_instance_uid=tags.get("StudyInstanceUID"),
        study_date=tags.get("StudyDate"),
        patient_key=patient_key(tags),
        instances=instances,
        slice_thickness_mm=thickness_mm,
        convolution_kernel=tags.get("ConvolutionKernel"),
    )


def _description(tags: Mapping[str, str]) -> str | None:
    """SeriesDescription without the patient's name and numbers, which some sites write there."""
    text = tags.get("SeriesDescription")
    return None if text is None else without(text, identifying_words(tags))


def patient_key(tags: Mapping[str, str]) -> str:
    """A hash that is equal for images of one patient: of PatientID and its issuer, or without one of the study."""
    patient = tags.get("PatientID", "")
    text = f"{patient}|{tags.get('IssuerOfPatientID', '')}" if patient else f"study|{tags.get('StudyInstanceUID', '')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _candidate(uid: str, group: dicom_groups.Group, series: _Series) -> Candidate:
    first = group.slices[0]
    info = _described(uid, first.tags, instances=len(group.slices) + len(group.dropped) * (group.problem is None))
    names = tuple(dict.fromkeys(one.file.name for one in group.slices))
    info = replace(info, files=names, group=group.label)
    derived = dicom_groups.is_derived(first)
    try:
        if not uid:
            raise InputError("dicom.missing", "SeriesInstanceUID is missing", where=first.name)
        if group.problem is not None:
            raise group.problem
        if series.problems:
            raise series.problems[0]
        notices = list(group.notices) + _header_notices(group, series)
        info = replace(info, notices=tuple(notices))
        stack = place(group.slices)
        notices += stack.notices
    except InputError as error:
        info = replace(info, usable=False, code=error.code, reason=_reason(error))
        return Candidate(info, slices=group.slices, problem=error, derived=derived)
    if derived:
        notices.append(Notice("series.is_derived", f"ImageType is {first.get('ImageType')}"))
    info = with_geometry(info, stack, tuple(notices))
    return Candidate(info, stack=stack, slices=group.slices, derived=derived)


def _reason(error: InputError) -> str:
    return f"{error.message} [{error.where}]" if error.where else error.message


def _header_notices(group: dicom_groups.Group, series: _Series) -> list[Notice]:
    """Check each image's layout and scale; what is dropped and doubtful.

    Raises:
        InputError: those of `dicom_frames.check_file` and `check_scales`.
    """
    notices = []
    if group.label:
        notices.append(Notice("series.group", f"the volume is that of {group.label}"))
    seen: set[int] = set()
    for one in group.slices:
        if id(one.file) not in seen:
            seen.add(id(one.file))
            if (excess := dicom_frames.check_file(one)) is not None:
                notices.append(excess)
    if (doubt := dicom_pixels.check_scales(group.slices)) is not None:
        notices.append(doubt)
    dropped = [f"{name}: {reason}" for name, reason in group.dropped]
    dropped += [f"{name}: no image" for name, _ in series.others]
    if dropped:
        notices.append(Notice("series.images_dropped", f"{len(dropped)} left out: {_names(dropped, '; ')}"))
    bare = [one.name for one in group.slices if not one.file.has_preamble]
    if bare:
        notices.append(Notice("dicom.no_preamble", f"{len(bare)} file(s), such as {bare[0]}"))
    if any(one.get("PhotometricInterpretation").upper() == "MONOCHROME1" for one in group.slices):
        notices.append(Notice("pixels.monochrome1", "PhotometricInterpretation is MONOCHROME1"))
    if any(one.get("LossyImageCompression") == "01" for one in group.slices):
        notices.append(Notice("pixels.lossy", "LossyImageCompression is 01"))
    elif lossy := {one.file.transfer_syntax for one in group.slices} & LOSSY_SYNTAXES:
        text = f"TransferSyntaxUID is {', '.join(sorted(lossy))}, although LossyImageCompression does not say so"
        notices.append(Notice("pixels.lossy", text))
    return notices


def with_geometry(info: SeriesInfo, stack: Stack, notices: tuple[Notice, ...]) -> SeriesInfo:
    """The line with the sizes of a stack, and a notice of the copies in it."""
    affine, shape = stack.grid.affine, stack.grid.shape
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    along = abs(float(affine[:3, 0] @ normal / np.linalg.norm(normal)))
    if stack.copies:
        count = sum(len(others) for others in stack.copies.values())
        places = ", ".join(one.name for others in stack.copies.values() for one in others[:3])
        notices += (Notice("dicom.duplicates", f"{count} image(s) lie where another does, such as {places}"),)
    return replace(
        info,
        rows=shape[1],
        columns=shape[2],
        slice_spacing_mm=along,
        pixel_spacing_mm=(stack.grid.spacing_mm[1], stack.grid.spacing_mm[2]),
        extent_mm=along * shape[0],
        notices=notices,
    )


def _set_derived_aside(candidates: list[Candidate]) -> list[Candidate]:
    """Mark derived series as not usable by default where the patient has a usable original."""
    originals = {one.info.patient_key for one in candidates if one.info.usable and not one.derived}

    def settle(one: Candidate) -> Candidate:
        if not (one.info.usable and one.derived and one.info.patient_key in originals):
            return one
        error = InputError("series.derived", "an original series of the patient is there too", where=one.info.name)
        return replace(one, info=replace(one.info, usable=False, code=error.code, reason=error.message), problem=error)

    return [settle(one) for one in candidates]


def _names(names: Sequence[str], separator: str = ", ") -> str:
    rest = len(names) - _NAMES_SHOWN
    return separator.join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def folder_of(name: str) -> str:
    """The folder that an entry lies in; empty at the top."""
    return name.rpartition("/")[0]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.casefold()
