"""The model as a scorer: the same tokens, refinement and findings as ``nodulus predict``, on windows and stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lidc_data import Stack
from benchmarks.scorers import Point, StackMark, Window, WindowPoints
from imaging.geometry import Grid, Volume
from imaging.localization.find import find_findings
from imaging.localization.refinement import refine_mirrored

if TYPE_CHECKING:
    import torch

    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel

#: Windows that go through the network together.
BATCH = 64
#: Lesions that get a second look in one window.
CANDIDATES_A_WINDOW = 1
#: Findings asked for in one stack or scan: enough for eight false marks; each is outlined, which takes its time.
FINDINGS_A_STACK, FINDINGS_A_SCAN = 14, 40
#: A volume larger than this is a scan, in voxels.
LARGEST_STACK = 4_000_000


@dataclass(eq=False)
class ModelScorer:
    """A loaded model with its name and hash.

    Args:
        model: as loaded.
        grad_cam: whether windows also get the peak of a Grad-CAM map.
    """

    model: LoadedModel
    grad_cam: bool = False
    name: str = field(init=False, default="nodulus")
    wants_detail: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self._kept: dict[int, tuple[Window, torch.Tensor]] = {}

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

    def token_logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Token logits of windows under each mirror: (n, slices, h, w) to (mirrors, n, th, tw)."""
        import torch

        from imaging.models.second_look import mirrored_logits

        return torch.cat([mirrored_logits(self.model.net, part) for part in inputs.split(BATCH)], dim=1)

    def _tokens(self, windows: Sequence[Window]) -> torch.Tensor:
        """Token logits of windows, (mirrors, n, th, tw); each window through the network once."""
        import torch

        new = [window for window in windows if id(window) not in self._kept]
        if new:
            tokens = self.token_logits(torch.cat([self.window_input(window) for window in new]))
            self._kept.update((id(w), (w, each)) for w, each in zip(new, tokens.unbind(dim=1), strict=True))
        return torch.stack([self._kept[id(window)][1] for window in windows], dim=1)

    def window_logits(self, windows: Sequence[Window]) -> np.ndarray[Any, Any]:
        """The pooled logit of each window, the mean over its mirrors, (n,)."""
        mirrored = self._tokens(windows).double().numpy()
        return np.mean([pooled(tokens) for tokens in mirrored], axis=0)

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """The centre of each window's first finding; its strongest token and, if asked for, Grad-CAM beside it."""
        from imaging.models.second_look import laid_over

        peaks = self._grad_cam_peaks(windows) if self.grad_cam else [{}] * len(windows)
        tokens = self._tokens(windows)
        evidence = laid_over(self.model.net.vision.config, tokens)
        return [
            self._placed(window, *each)
            for window, *each in zip(windows, tokens[0].numpy(), evidence, peaks, strict=True)
        ]

    def _placed(
        self, window: Window, tokens: np.ndarray[Any, Any], evidence: np.ndarray[Any, Any], others: Mapping[str, Point]
    ) -> WindowPoints:
        from imaging.models.second_look import window_evidence

        grid = window_map(window.centre_mm, tokens, self.token_mm).grid
        token_mm = _point(grid.to_mm((0, *np.unravel_index(int(tokens.argmax()), tokens.shape))))
        token_map = window_evidence(self.model.net.vision.config, window.centre_mm, evidence)
        densest = refine_mirrored(window.stack.volume, window.stack.lungs, token_map)
        found = self._findings(
            window.stack.volume, window.stack.lungs, token_map, most=1, candidates=CANDIDATES_A_WINDOW
        )
        return WindowPoints(
            point_mm=found[0].point_mm if found else densest,
            others={"token centre": token_mm, "densest point": densest, **others},
        )

    def _grad_cam_peaks(self, windows: Sequence[Window]) -> list[Mapping[str, Point]]:
        """The highest place of the mirrored Grad-CAM of each window."""
        import torch

        from imaging.explanation.cams import CamSettings, mirrored_cams, peak_offsets_mm
        from imaging.explanation.windows import FINE

        inputs = torch.cat([self.window_input(window) for window in windows])
        settings = CamSettings.of_model(self.model)
        cams = [mirrored_cams(self.model.net, part, settings=settings)[0] for part in inputs.split(BATCH)]
        offsets = peak_offsets_mm(np.concatenate(cams), part_mm=self.token_mm / FINE)
        return [
            {"Grad-CAM peak": (w.centre_mm[0] + float(x), w.centre_mm[1] + float(y), w.centre_mm[2])}
            for w, (x, y) in zip(windows, offsets, strict=True)
        ]

    @property
    def token_mm(self) -> float:
        """Side of a token, mm."""
        return float(self.model.net.vision.config.token_mm)

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Findings of a stack at any score."""
        from imaging.models.scoring import score_volume

        token_map = score_volume(self.model, stack.volume, stack.lungs)
        most = FINDINGS_A_SCAN if stack.volume.array.size > LARGEST_STACK else FINDINGS_A_STACK
        return self._findings(stack.volume, stack.lungs, token_map, most=most)

    def _findings(self, volume: Volume, lungs: Any, token_map: TokenMap, *, most: int, **more: Any) -> list[StackMark]:
        found = find_findings(
            volume, lungs, token_map, self.model, threshold=0.0, max_findings=most, describe=_without_attributes, **more
        )
        return [StackMark(finding.centre_mm, finding.logit) for finding in found.findings]


def pooled(token_logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Log-sum-exp over the tokens of each window: (n, th, tw) to (n,)."""
    return np.logaddexp.reduce(token_logits.reshape(len(token_logits), -1), axis=1)


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


def _without_attributes(model: LoadedModel, volume: Volume, centres: Sequence[Point]) -> list[Mapping[str, float]]:
    return [{} for _ in centres]


def _point(values: Any) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
