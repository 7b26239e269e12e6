"""How a CT is analysed: the options that the command line, the batch and the viewer share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.allowed import FINDINGS, SHARE


@dataclass(frozen=True)
class AnalysisOptions:
    """How a CT is analysed; numbers that cannot be are refused here, before anything is read.

    Args:
        weights: a weights file or folder; the shipped ones by default.
        threshold: marks with at least this score are findings; the model's operating point by default.
        max_findings: at most so many findings, the most suspicious first.
        prompt: free text for the similarity map; suspicion of a nodule by default.
        explain: whether to compute the Grad-CAM and similarity maps.
        device: where the network runs, as torch names it.

    Raises:
        UsageError: ``usage.option``.
    """

    weights: str | Path | None = None
    threshold: float | None = None
    max_findings: int = 20
    prompt: str | None = None
    explain: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.threshold is not None:
            SHARE.check("the threshold", self.threshold)
        FINDINGS.check("the number of findings", self.max_findings)

    def to_settings(self) -> dict[str, Any]:
        """What a report says of them; the weights have a hash there."""
        return {
            "threshold": self.threshold,
            "max_findings": self.max_findings,
            "prompt": self.prompt,
            "explain": self.explain,
            "device": self.device,
        }
