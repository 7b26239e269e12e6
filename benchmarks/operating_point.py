"""The operating point: marks above each threshold on whole scans, those that may be tuned on and those that may not.

    python -m benchmarks.operating_point --split train|untouched --scan NAME=PATH ... [--boxes NAME=FOLDER ...]
        [--weights PATH] [--no-write]

The scans of `train` are public CTs that the data notes give for tuning (Lung-PET-CT-Dx A0001 in two kernels,
ACRIN-FLT-Breast 013, Lung-Fused-CT-Pathology 0001); those of `untouched` are named in `benchmarks.untouched_scans`,
and each look at them is logged. Each is a folder of DICOM files, or anything else that `imaging.read_volume` reads. A
folder of boxes holds one XML file a slice, named after its SOP Instance UID, as Lung-PET-CT-Dx ships them: a mark
inside the boxes is no false mark. Without boxes every mark counts as false, though nobody has said that these scans
hold no nodule, so the figures are upper bounds in that respect; lung of `train` served as negatives in training, so
its figures are lower bounds in another. A scan of a part of the lungs is shown, and left out of the mean a scan.
"""

from __future__ import annotations

import argparse
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import Point
from benchmarks.untouched_scans import UNTOUCHED
from imaging.geometry import Grid
from imaging.models.weights import LoadedModel

#: Logits whose marks are counted; the shipped threshold is chosen among them.
LOGITS: Final = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 4.0)
#: Marks asked for at any score.
MARKS: Final = 60
SEED: Final = 0
#: What the table of each kind of scan is called, and what must be said of those scans.
SPLITS: Final = {
    "train": (
        "Operating point",
        "Lung of these scans served as negatives in training, and nobody has said that those without boxes hold no "
        "nodule.",
    ),
    "untouched": (
        "Operating point on scans never trained on",
        "No weight, threshold or rule was fitted to these scans. Nobody has marked their nodules: each mark counts as "
        "false, one on a metastasis or a pneumonia too.",
    ),
}


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes in the planes of slices.

    Args:
        corners: SOP Instance UID -> (first column, first row, last column, last row) in pixels.
    """

    corners: Mapping[str, tuple[float, float, float, float]]

    @classmethod
    def read(cls, folder: Path) -> Boxes:
        """One XML file a slice."""
        corners = {}
        for path in sorted(folder.glob("*.xml")):
            box = ET.parse(path).getroot().find("object/bndbox")
            if box is not None:
                left, top, right, bottom = (
                    float(box.findtext(side, "nan")) for side in ("xmin", "ymin", "xmax", "ymax")
                )
                corners[path.stem] = (left, top, right, bottom)
        return cls(corners)

    def region(self, grid: Grid, uids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """The voxels inside; `uids` names the instance of each slice of the grid."""
        inside = np.zeros(grid.shape, dtype=bool)
        for index, uid in enumerate(uids):
            if uid in self.corners:
                left, top, right, bottom = (round(side) for side in self.corners[uid])
                inside[index, top : bottom + 1, left : right + 1] = True
        return inside


@dataclass(frozen=True)
class ScanMarks:
    """The marks of one scan, the most suspicious first.

    Args:
        lung_ml: volume of its lungs.
        logits: of the marks.
        boxed: whether each mark lies in a box; None where the scan has no boxes.
        doubts: codes of what the checks of the input say, as they stand on every report.
    """

    name: str
    lung_ml: float
    logits: tuple[float, ...]
    boxed: tuple[bool, ...] | None
    doubts: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of the lungs were scanned, but for a cut at their end."""
        return "lungs.partial" not in self.doubts

    def false_at(self, logit: float) -> int:
        """Marks at or above a logit that lie in no box."""
        boxed = self.boxed or (False,) * len(self.logits)
        return sum(value >= logit and not inside for value, inside in zip(self.logits, boxed, strict=True))

    @property
    def first_boxed(self) -> str:
        """Rank and logit of the first mark in a box."""
        if self.boxed is None:
            return "no boxes"
        if True not in self.boxed:
            return "missed"
        rank = self.boxed.index(True)
        return f"{rank + 1} ({self.logits[rank]:.1f})"


def mark_scan(name: str, path: Path, model: LoadedModel, boxes: Boxes | None) -> ScanMarks:
    """Marks of a scan at any score."""
    import imaging
    from imaging.localization import find_findings
    from imaging.models.scoring import score_volume
    from imaging.preprocessing.lungs import find_lungs

    volume = imaging.read_volume(path)
    lungs = find_lungs(volume)
    tokens = score_volume(model, volume, lungs)
    found = find_findings(volume, lungs, tokens, model, threshold=0.0, max_findings=MARKS).findings
    inside = None
    if boxes is not None:
        region = boxes.region(
            volume.grid, [] if volume.origin is None else [each.sop_instance_uid for each in volume.origin.instances]
        )
        if not region.any():
            raise ValueError(f"{name}: no box belongs to a slice of this series")
        inside = tuple(_holds(region, volume.grid, finding.centre_mm) for finding in found)
    doubts = dict.fromkeys(each.code for each in (*volume.warnings, *lungs.notices, *tokens.notices))
    return ScanMarks(name, lungs.volume_ml, tuple(finding.logit for finding in found), inside, tuple(doubts))


def _holds(region: npt.NDArray[np.bool_], grid: Grid, point_mm: Point) -> bool:
    index = np.rint(grid.to_index(point_mm)).astype(int)
    return bool(region[tuple(np.clip(index, 0, np.asarray(grid.shape) - 1))])


def mean_false(scans: Sequence[ScanMarks], logit: float) -> float:
    """False marks at or above a logit, a scan of whole lungs."""
    return float(np.mean([s.false_at(logit) for s in scans if s.whole]))


def at_threshold(scans: Sequence[ScanMarks], logit: float) -> str:
    """The false marks at the shipped threshold, a scan and a litre of lung, in words."""
    whole = [s for s in scans if s.whole]
    litres = sum(s.lung_ml for s in scans) / 1000
    return (
        f"{mean_false(scans, logit):.2f} false marks a scan ({min(s.false_at(logit) for s in whole)} to "
        f"{max(s.false_at(logit) for s in whole)}; {len(whole)} scans of whole lungs), "
        f"{sum(s.false_at(logit) for s in scans) / litres:.2f} a litre of lung (all {len(scans)})"
    )


def body(scans: Sequence[ScanMarks], threshold_logit: float, split: str) -> str:
    """The tables as Markdown: the marks, and of `untouched` where the scans come from.

    Raises:
        ValueError: if no scan holds whole lungs.
    """
    if not any(s.whole for s in scans):
        raise ValueError("no scan of whole lungs: there is no mean a scan")
    boxed = any(s.boxed is not None for s in scans)
    columns = ("scan", "lung, litres", "input checks", *(["first mark in a box: rank (logit)"] if boxed else []))
    header = (*columns, *(f">= {logit:g}" for logit in LOGITS))
    rows = [
        (
            s.name,
            f"{s.lung_ml / 1000:.1f}",
            ", ".join(f"`{code}`" for code in s.doubts) or "none",
            *([s.first_boxed] if boxed else []),
            *(str(s.false_at(logit)) for logit in LOGITS),
        )
        for s in scans
    ]
    litres = np.mean([s.lung_ml for s in scans if s.whole]) / 1000
    means = (f"{mean_false(scans, logit):.2f}" for logit in LOGITS)
    blank = [""] * (len(columns) - 2)
    rows.append(("mean of those with whole lungs", f"{litres:.1f}", *blank, *means))
    words = (
        f"Marks{' outside boxes' if boxed else ''} at or above each logit. At the shipped threshold "
        f"(logit {threshold_logit:.2f}): {at_threshold(scans, threshold_logit)}. {SPLITS[split][1]}"
    )
    tables = [markdown_table(header, rows), *([sources(scans)] if split == "untouched" else [])]
    return "\n".join([words + "\n", *tables])


def sources(scans: Sequence[ScanMarks]) -> str:
    """Where scans that were never trained on come from."""
    known = [(s.name, UNTOUCHED[s.name]) for s in scans]
    return markdown_table(
        ("scan", "repository @ commit: path", "licence", "known of it"),
        [(name, f"`{source.where}`", source.licence, source.holds) for name, source in known],
    )


def threshold_logit(model: LoadedModel) -> float:
    """The logit that the shipped threshold stands for."""
    line, score = model.card["calibration"], model.operating_point.threshold
    return float((np.log(score / (1 - score)) - line["offset"]) / line["slope"])


def _named(values: Sequence[str]) -> dict[str, Path]:
    return {name: Path(path) for name, _, path in (value.partition("=") for value in values)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Mark every scan and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operating_point", description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=tuple(SPLITS), default="train", help="what the scans may serve for")
    parser.add_argument("--scan", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--boxes", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    paths, boxes = _named(options.scan), _named(options.boxes)
    if options.split == "untouched" and (strange := sorted(set(paths) - set(UNTOUCHED))):
        parser.error(f"{', '.join(strange)}: not in benchmarks/untouched_scans.py")
    from imaging.models.weights import load_model

    model = load_model(options.weights)
    scans = []
    for name, path in paths.items():
        scans.append(mark_scan(name, path, model, Boxes.read(boxes[name]) if name in boxes else None))
        print(f"{name}: {len(scans[-1].logits)} marks, first in a box: {scans[-1].first_boxed}", flush=True)
    threshold = threshold_logit(model)
    made = Made(
        command=f"python -m benchmarks.operating_point --split {options.split} "
        + " ".join(f"--scan {name}=..." for name in paths),
        seed=SEED,
        weights_name=model.name,
        weights_sha256=model.sha256,
        data=", ".join(paths),
        data_sha256=hashlib.sha256("".join(_content(path) for path in paths.values()).encode()).hexdigest(),
    )
    publish(
        "operating-point",
        SPLITS[options.split][0],
        body(scans, threshold, options.split),
        made,
        split=options.split,
        headline=f"{at_threshold(scans, threshold)} at logit {threshold:.2f}",
        write=not options.no_write,
    )


def _content(path: Path) -> str:
    """Hash of a scan's files, whatever their names: which series it was."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    hashes = sorted(hashlib.sha256(each.read_bytes()).hexdigest() for each in files)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


if __name__ == "__main__":
    main()
