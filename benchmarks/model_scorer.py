"""The model as a scorer: the same tokens, refinement and findings as ``nodulus predict``, on windows and stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lidc_data import Stack
from benchmarks.scorers import Point, StackMark, Window, WindowPoints
from imaging.geometry import Grid, Volume
from imaging.localization.find import PEAKS_A_FINDING, find_findings, look_again
from imaging.localization.peaks import find_peaks
from imaging.localization.places import Place, outline_peaks
from imaging.localization.refinement import refine_mirrored

if TYPE_CHECKING:
    import torch

    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel

#: Windows that go through the network together.
BATCH = 32
#: Lesions that are outlined in one window; one of them is what its logit speaks of.
LESIONS_A_WINDOW = 4
#: What a logit of its second look counts beside the logarithm of the evidence in a lesion. This and the place in the
#: slice were chosen on windows of 371 nodules of `train` of 8 mm or more, of which `val` holds too few.
LOGIT_SHARE = 0.2
#: Lesions compete where the logarithm of their evidence is at most so much below the strongest.
COMPARABLE = 1.0
#: Evidence of a window this near to a small lesion's centre is that lesion's, mm.
NEAR_MM = 6.0
#: Findings asked for in one stack or scan: enough for eight false marks; each is outlined, which takes its time.
FINDINGS_A_STACK, FINDINGS_A_SCAN = 14, 40
#: A volume larger than this is a scan, in voxels.
LARGEST_STACK = 4_000_000


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the network saw of a window: mean logit over the mirrors, plain token logits, mirrored activation map."""

    logit: float
    tokens: np.ndarray[Any, Any]
    cam: np.ndarray[Any, Any]


@dataclass(eq=False)
class ModelScorer:
    """A loaded model with its name and hash.

    Args:
        model: as loaded.
        grad_cam: whether windows also get the peak of their Grad-CAM map.
    """

    model: LoadedModel
    grad_cam: bool = False
    name: str = field(init=False, default="nodulus")
    wants_detail: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self._kept: dict[int, tuple[Window, _Seen]] = {}

    @classmethod
    def load(cls, weights: str | None, *, grad_cam: bool = False) -> ModelScorer:
        """The model of some weights, by default of those that ship."""
        from imaging.models.weights import load_model

        return cls(load_model(weights), grad_cam)

    @property
    def weights_name(self) -> str:
        """Name of the weights."""
        return self.model.name

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.model.sha256

    def calibrate(self, logit: float) -> float:
        """Score in [0, 1] of a logit."""
        return self.model.calibrate(logit)

    def window_input(self, window: Window) -> torch.Tensor:
        """What the network sees of a window: (1, slices, h, w)."""
        from imaging.models.scoring import window_inputs

        return window_inputs(self.model, window.stack.volume, [window.centre_mm])

    def _seen(self, windows: Sequence[Window]) -> list[_Seen]:
        """What the network saw of windows; each goes through it once."""
        new = [window for window in windows if id(window) not in self._kept]
        for start in range(0, len(new), BATCH):
            part = new[start : start + BATCH]
            self._kept.update((id(w), (w, each)) for w, each in zip(part, self._look(part), strict=True))
        return [self._kept[id(window)][1] for window in windows]

    def _look(self, windows: Sequence[Window]) -> list[_Seen]:
        import torch

        from imaging.models.cams import CamSettings, mirrored_cams

        inputs = torch.cat([self.window_input(window) for window in windows])
        cams, logits = mirrored_cams(self.model.net, inputs, settings=CamSettings.of_model(self.model))
        with torch.inference_mode():
            tokens = self.model.net.token_logits(inputs).numpy()
        return [_Seen(float(logit), *each) for logit, *each in zip(logits, tokens, cams, strict=True)]

    def window_logits(self, windows: Sequence[Window]) -> np.ndarray[Any, Any]:
        """The pooled logit of each window, the mean over its mirrors, (n,)."""
        return np.array([seen.logit for seen in self._seen(windows)], dtype=np.float64)

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """The centre of the lesion that each window's logit speaks of, and plainer points beside it."""
        return [self._placed(window, seen) for window, seen in zip(windows, self._seen(windows), strict=True)]

    def _placed(self, window: Window, seen: _Seen) -> WindowPoints:
        from imaging.models.cams import FINE, peak_offsets_mm
        from imaging.models.second_look import log_evidence, window_evidence

        token_mm = strongest_token(window.centre_mm, seen.tokens, self.token_mm)
        evidence = window_evidence(self.model.net.vision.config, window.centre_mm, log_evidence(seen.cam[None])[0])
        middle = refine_mirrored(window.stack.volume, window.stack.lungs, evidence)
        lesion = self._lesion(window.stack, evidence)
        here = (middle[0], middle[1], window.centre_mm[2])
        point, centre = (in_slice(lesion, here), lesion.centre_mm) if lesion else (middle, middle)
        others = {"token centre": token_mm, "evidence": middle, "centre in 3D": centre}
        if self.grad_cam:
            ((x, y),) = peak_offsets_mm(seen.cam[None], part_mm=self.token_mm / FINE)
            others["Grad-CAM peak"] = _point(np.add(window.centre_mm, (x, y, 0.0)))
        return WindowPoints(point_mm=point, others=others)

    def _lesion(self, stack: Stack, evidence: TokenMap) -> Place | None:
        """The lesion that a window's logit speaks of, by the steps of `find_findings`; None without one.

        In a whole scan the logits of second looks rank lesions; one window has one logit, and what its evidence says
        of each lesion counts as well.
        """
        volume, lungs = stack.volume, stack.lungs
        peaks = find_peaks(evidence, limit=PEAKS_A_FINDING * LESIONS_A_WINDOW)
        above = LESIONS_A_WINDOW + LESIONS_A_WINDOW // 2
        places = outline_peaks(volume, lungs, evidence, peaks, above=above, most=LESIONS_A_WINDOW)
        inside = np.array([evidence_inside(place, evidence) for place in places])
        looked = [
            (float(log), look_again([place], self.model, volume, lungs)[0])
            for place, log in zip(places, inside, strict=True)
            if log >= inside.max() - COMPARABLE
        ]
        _, lesion = max(looked, key=lambda pair: pair[0] + LOGIT_SHARE * pair[1].logit, default=(0.0, None))
        return lesion

    @property
    def token_mm(self) -> float:
        """Side of a token, mm."""
        return float(self.model.net.vision.config.token_mm)

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Findings of a stack at any score."""
        from imaging.models.scoring import score_volume

        token_map = score_volume(self.model, stack.volume, stack.lungs)
        most = FINDINGS_A_SCAN if stack.volume.array.size > LARGEST_STACK else FINDINGS_A_STACK
        found = find_findings(
            stack.volume,
            stack.lungs,
            token_map,
            self.model,
            threshold=0.0,
            max_findings=most,
            describe=_without_attributes,
        )
        return [StackMark(finding.centre_mm, finding.logit) for finding in found.findings]


def in_slice(place: Place, middle_mm: Point) -> Point:
    """Where a lesion lies in one slice: its centre may lie in another, and a large lesion leans.

    Args:
        place: the lesion.
        middle_mm: in that slice, where the evidence of a window lies (`refine_mirrored`).

    A small lesion lies where that evidence says, if it is that lesion's; its second look's window lay in another slice.
    A larger one lies midway between the middle of its section and the densest place near its evidence, from which its
    outline was grown.
    """
    z_mm = middle_mm[2]
    if place.lesion is None or place.is_small:
        near = float(np.linalg.norm(np.subtract(middle_mm, place.centre_mm)[:2])) <= NEAR_MM
        x, y, _ = middle_mm if near else place.centre_mm
        return x, y, z_mm
    grid, mask = place.lesion.patch.grid, place.lesion.mask
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    wanted = float(grid.to_index((*place.centre_mm[:2], z_mm))[0])
    layer = int(filled[np.abs(filled - wanted).argmin()])
    x, y, _ = grid.to_mm((layer, *np.argwhere(mask[layer]).mean(axis=0)))
    return (float(x) + place.seed_mm[0]) / 2, (float(y) + place.seed_mm[1]) / 2, z_mm


def evidence_inside(place: Place, evidence: TokenMap) -> float:
    """The strongest evidence in a window's plane over a lesion, seen along the body; at its centre if not outlined."""
    points = [place.centre_mm]
    if place.lesion is not None:
        points += list(place.lesion.patch.grid.to_mm(np.argwhere(place.lesion.mask)))
    index = np.rint(evidence.grid.to_index(np.array(points))[:, 1:]).astype(int)
    inside = index[((index >= 0) & (index < evidence.logits.shape[1:])).all(axis=1)]
    return float(evidence.logits[0][tuple(inside.T)].max(initial=-np.inf))


def window_map(centre_mm: Point, tokens: np.ndarray[Any, Any], token_mm: float) -> TokenMap:
    """Token values (rows, columns) of one axial window as a map of one plane."""
    from imaging.models.scoring import TokenMap
    from imaging.models.vision import TOKEN_SHIFT

    rows, columns = tokens.shape
    x, y, z = centre_mm
    first = [(1 - n) / 2 + TOKEN_SHIFT for n in (columns, rows)]
    origin = (x + first[0] * token_mm, y + first[1] * token_mm, z)
    grid = Grid.from_spacing((1, rows, columns), spacing_mm=(token_mm, token_mm, token_mm), origin_mm=origin)
    return TokenMap(grid, tokens[None].astype(np.float32), {}, ())


def strongest_token(centre_mm: Point, tokens: np.ndarray[Any, Any], token_mm: float) -> Point:
    """The centre of the strongest token of one axial window."""
    grid = window_map(centre_mm, tokens, token_mm).grid
    return _point(grid.to_mm((0, *np.unravel_index(int(tokens.argmax()), tokens.shape))))


def _without_attributes(model: LoadedModel, volume: Volume, centres: Sequence[Point]) -> list[Mapping[str, float]]:
    return [{} for _ in centres]


def _point(values: Any) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
