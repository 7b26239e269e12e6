"""One series UID, one or several volumes: scouts and captures dropped, phases and orientations told apart.

Nothing is chosen here. What an attribute separates becomes groups, each listed with its label; what no attribute
separates stays together, and `imaging.io.dicom_geometry` refuses it if it does not make one stack.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.io.dicom_geometry import SAME_PLACE_MM, TOLERANCE_MM, Planes, read_planes
from imaging.io.dicom_slices import Slice

#: Values of ImageType that mark a picture of the patient rather than a plane of it.
PROJECTIONS = frozenset(
    {"MIP", "MINIP", "MIN_IP", "MAX_IP", "MIN IP", "MAX IP", "PROJECTION IMAGE", "3D", "VRT", "SSD", "VOLREN"}
    | {
        "VOLUME RENDERING",
        "VOLUME_RENDERED",
        "VOLUMERENDERED",
        "SCREEN SAVE",
        "SCREENSAVE",
        "SCREEN_SAVE",
        "ENDOSCOPIC",
    }
    | {"MAXIMUM", "MINIMUM"}
)
#: Values of ImageType that mark computed maps.
MAPS = frozenset(
    {"PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "RMTT", "TTP", "TMAX", "PBV", "PERMEABILITY", "DENSITY MAP"}
    | {"BLOOD FLOW", "BLOOD VOLUME", "TRANSIT TIME", "IODINE", "EFFECTIVE_Z", "EFF_Z", "ELECTRON_DENSITY", "VNC_MAP"}
)
#: Parts of words in ImageType that mark maps too, spelt differently by each maker.
MAP_WORDS = ("IODINE", "PERFUSION", "ZEFF", "Z EFF", "Z_EFF", "EFF_Z", "ELECTRON")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
#: The standard's storage classes that can hold a CT: CT (plain, enhanced, converted) and secondary captures.
_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", _SECONDARY_CAPTURE)

#: Attributes that tell volumes of one series UID apart, the most meaningful first.
SEPARATORS = (
    *("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime", "StackID", "ContrastBolusAgent"),
    *("ConvolutionKernel", "KVP", "PixelSpacing", "ReconstructionDiameter", "SliceThickness", "ImageType"),
    *("AcquisitionNumber", "AcquisitionDateTime", "AcquisitionTime", "ImageComments", "SeriesDescription"),
)
#: Those of them that separate volumes even where no place is held twice; AcquisitionNumber and times alone must not.
_STRONG = ("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "StackID", "ConvolutionKernel", "KVP")
#: Images turned by more than this belong to another reformat; less is a fault of one stack.
_OTHER_ORIENTATION_COSINE = np.cos(np.deg2rad(20.0))
#: So many odd images (or this part of the stack, if more) are taken for scouts; more make a group of their own.
_FEW, _FEW_PART = 3, 0.05


@dataclass(frozen=True, eq=False)
class Group:
    """The images that may make one volume.

    Args:
        label: what sets them apart within the series; empty if nothing does.
        slices: in the order they were found.
        dropped: name and reason of each image that was left out.
        notices: doubts about what was kept.
        problem: why nothing can be made of them, or None.
    """

    label: str
    slices: tuple[Slice, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    notices: tuple[Notice, ...] = ()
    problem: InputError | None = None


def image_type(one: Slice) -> frozenset[str]:
    """The values of ImageType, in capitals."""
    return frozenset(part.strip().upper() for part in one.get("ImageType").split("\\"))


def is_derived(one: Slice) -> bool:
    """Whether an image was made from other images: DERIVED and SECONDARY, or a reformat."""
    kind = image_type(one)
    return {"DERIVED", "SECONDARY"} <= kind or bool(kind & {"REFORMATTED", "MPR"})


def groups(slices: Sequence[Slice]) -> list[Group]:
    """The volumes that one series may hold, at least one; a group with a `problem` holds none."""
    kept, dropped, problem = _drop_pictures(slices)
    if problem is not None:
        return [Group("", tuple(slices), tuple(dropped), problem=problem)]
    found = [Group("", tuple(kept), tuple(dropped))]
    found = [part for group in found for part in _split_off(group, _size, "another matrix size")]
    found = [
        part for group in found for part in _split_off(group, _orientation_of(group.slices), "another orientation")
    ]
    return [part for group in found for part in _split_phases(group)]


def _drop_pictures(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[str, str]], InputError | None]:
    """The planes among the images; what was dropped and why; and the refusal if none are left."""
    kept: list[Slice] = []
    dropped: list[tuple[str, str]] = []
    codes: list[str] = []
    for one in slices:
        verdict = _not_a_plane(one)
        if verdict is None:
            kept.append(one)
        else:
            codes.append(verdict[0])
            dropped.append((one.name, verdict[1]))
    if not kept:
        code = codes[0] if len(set(codes)) == 1 else "series.no_volume"
        return [], dropped, InputError(code, f"{len(slices)} image(s), such as {dropped[0][1]}", where=dropped[0][0])
    if any(is_derived(one) for one in kept) and not all(is_derived(one) for one in kept):
        dropped += [(one.name, f"derived (ImageType {one.get('ImageType')})") for one in kept if is_derived(one)]
        kept = [one for one in kept if not is_derived(one)]
    return kept, dropped, None


def _not_a_plane(one: Slice) -> tuple[str, str] | None:
    """Code and reason if an image is no CT plane."""
    kind = image_type(one)
    samples, photometric = one.get("SamplesPerPixel") or "1", one.get("PhotometricInterpretation").upper()
    if samples != "1" or photometric not in ("", "MONOCHROME1", "MONOCHROME2"):
        return "series.no_volume", f"a colour image ({photometric}, SamplesPerPixel {samples})"
    if any("LOCALIZER" in part or part in ("SCOUT", "TOPOGRAM") for part in kind):
        return "series.no_volume", f"a localizer (ImageType {one.get('ImageType')})"
    if kind & PROJECTIONS or any(part.startswith("VRT") for part in kind):
        return "series.no_volume", f"a projection or capture (ImageType {one.get('ImageType')})"
    if kind & MAPS or any(word in part for part in kind for word in MAP_WORDS):
        return "series.perfusion", f"a computed map (ImageType {one.get('ImageType')})"
    if one.get("SOPClassUID").startswith(_SECONDARY_CAPTURE) and not one.get("ImagePositionPatient"):
        return "series.no_volume", "a secondary capture without a place"
    modality = one.get("Modality").upper()
    if modality not in ("", "CT"):
        return "series.not_ct", f"an image of Modality {modality}"
    if (name := _other_class(one.get("SOPClassUID"))) is not None:
        return "series.not_ct", f"an image of SOPClassUID {name}, whatever its Modality says ({modality or 'nothing'})"
    return None


def _other_class(uid: str) -> str | None:
    """The name of a storage class of the standard that no CT has; None for those of CT, private ones and none."""
    from pydicom.uid import UID

    if any(uid == known or uid.startswith(f"{known}.") for known in _CT_CLASSES):
        return None
    name = UID(uid).name
    return name if "Image Storage" in name else None


def _split_off(group: Group, key: Callable[[Slice], Hashable], what: str) -> list[Group]:
    """One group for each value of `key`; values of only a few images beside a large group are dropped as scouts."""
    parts: dict[Hashable, list[Slice]] = {}
    for one in group.slices:
        parts.setdefault(key(one), []).append(one)
    if len(parts) == 1:
        return [group]
    largest = max(len(part) for part in parts.values())
    few = max(_FEW, int(_FEW_PART * largest))
    odd = {value for value, part in parts.items() if len(part) <= few and len(part) < largest}
    dropped = group.dropped + tuple((one.name, f"{what} ({value})") for value in odd for one in parts[value])
    rest = {value: part for value, part in parts.items() if value not in odd}
    if len(rest) == 1:
        return [replace(group, slices=tuple(next(iter(rest.values()))), dropped=dropped)]
    return [
        replace(group, label=_join(group.label, str(value)), slices=tuple(part), dropped=dropped)
        for value, part in rest.items()
    ]


def _join(*labels: str) -> str:
    return ", ".join(label for label in labels if label)


def _size(one: Slice) -> str:
    return f"{one.get('Rows')} x {one.get('Columns')}"


def _orientation_of(slices: Sequence[Slice]) -> Callable[[Slice], str]:
    """A key that is equal for images of about one orientation; images without one go with the first."""
    centres: list[tuple[str, npt.NDArray[np.float64]]] = []

    def key(one: Slice) -> str:
        try:
            axes = np.array(one.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
        except InputError:
            return centres[0][0] if centres else name_orientation(np.eye(3)[:2])
        for label, centre in centres:
            if (axes * centre).sum(1).min() >= _OTHER_ORIENTATION_COSINE:
                return label
        base = name_orientation(axes)
        taken = sum(label.split(" #")[0] == base for label, _ in centres)
        label = f"{base} #{taken + 1}" if taken else base
        centres.append((label, axes))
        return label

    for one in slices:
        key(one)
    return key


def name_orientation(axes: npt.NDArray[np.float64]) -> str:
    """``axial``, ``coronal`` or ``sagittal``: the body plane nearest to the image's."""
    normal = np.abs(np.cross(axes[0], axes[1]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _split_phases(group: Group) -> list[Group]:
    """Volumes that lie over one another, told apart by an attribute; the group as it is if it makes one even stack."""
    unique = _unique(group.slices)
    try:
        planes = read_planes(unique)
    except InputError:
        return [group]
    even = _is_even(planes)
    overlaid = bool((np.diff(np.sort(planes.distances_mm)) <= SAME_PLACE_MM).any())
    for keyword in SEPARATORS if overlaid else _STRONG:
        parts = _parts(group.slices, keyword)
        if _separates(parts, must_be_even=True):
            return _labelled(group, keyword, parts)
    if even:
        return [replace(group, notices=group.notices + _doubts(group.slices))]
    for keyword in SEPARATORS if overlaid else ():
        parts = _parts(group.slices, keyword)
        if _separates(parts, must_be_even=False):
            return _labelled(group, keyword, parts)
    blocks = _blocks(unique)
    return _labelled(group, "InstanceNumber", blocks) if blocks else [group]


def _unique(slices: Sequence[Slice]) -> list[Slice]:
    """The images, each instance (and frame) once."""
    seen: dict[tuple[str, int], Slice] = {}
    for one in slices:
        seen.setdefault((one.get("SOPInstanceUID") or one.name, one.frame), one)
    return list(seen.values())


def _is_even(planes: Planes) -> bool:
    """Whether each place is held once and steps are equal."""
    steps = np.diff(np.sort(planes.distances_mm))
    if not len(steps):
        return False
    return bool(steps.min() > SAME_PLACE_MM and np.ptp(steps) <= min(2 * TOLERANCE_MM, 0.5 * steps.min()))


def _parts(slices: Sequence[Slice], keyword: str) -> dict[str, list[Slice]]:
    parts: dict[str, list[Slice]] = {}
    for one in slices:
        parts.setdefault(one.get(keyword), []).append(one)
    return parts


def _separates(parts: dict[str, list[Slice]], *, must_be_even: bool) -> bool:
    """Whether the parts are volumes of their own: several images each, no place held twice, one lying over another."""
    if len(parts) < 2 or min(len(part) for part in parts.values()) < 2:
        return False
    ranges = []
    for part in parts.values():
        planes = read_planes(_unique(part))
        distances = np.sort(planes.distances_mm)
        if len(distances) < 2 or np.diff(distances).min() <= SAME_PLACE_MM or (must_be_even and not _is_even(planes)):
            return False
        ranges.append((distances[0], distances[-1]))
    return all(
        any(i != j and min(a[1], b[1]) - max(a[0], b[0]) > SAME_PLACE_MM for j, b in enumerate(ranges))
        for i, a in enumerate(ranges)
    )


def _labelled(group: Group, keyword: str, parts: dict[str, list[Slice]]) -> list[Group]:
    return [
        replace(group, label=_join(group.label, f"{keyword}={value or 'none'}"), slices=tuple(part))
        for value, part in sorted(parts.items(), key=lambda item: _natural(item[0]))
    ]


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _blocks(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    """Equal blocks of instance numbers, each of which holds every place once; empty if there are none such."""
    try:
        ordered = sorted(slices, key=lambda one: one.whole("InstanceNumber"))
    except InputError:
        return {}
    distances = np.sort(read_planes(ordered).distances_mm)
    places = 1 + int((np.diff(distances) > SAME_PLACE_MM).sum())
    if places < 2 or len(ordered) % places or len(ordered) == places:
        return {}
    blocks = [ordered[at : at + places] for at in range(0, len(ordered), places)]
    parts = {f"{block[0].get('InstanceNumber')}-{block[-1].get('InstanceNumber')}": block for block in blocks}
    return parts if len(parts) == len(blocks) and _separates(parts, must_be_even=False) else {}


def _doubts(slices: Sequence[Slice]) -> tuple[Notice, ...]:
    notices = []
    acquisitions = _parts(slices, "AcquisitionNumber")
    if len(acquisitions) <= 4 and _separates(acquisitions, must_be_even=True):
        notices.append(Notice("series.acquisitions", f"AcquisitionNumber {', '.join(acquisitions)} interleave"))
    for keyword in ("ConvolutionKernel", "KVP", "StudyInstanceUID"):
        values = {one.get(keyword) for one in slices} - {""}
        if len(values) > 1:
            notices.append(Notice("series.mixed_settings", f"{keyword} is {', '.join(sorted(values))}"))
    return tuple(notices)
