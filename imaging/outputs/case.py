"""Everything one analysed CT has to offer to the writers, in one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.findings import Finding, Report
from imaging.geometry.volume import Volume
from imaging.outputs.ct_slices import with_slices

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs


@dataclass(frozen=True, eq=False)
class CaseResult:
    """The CT, what was found in it, and the maps that explain it; every array lies on ``volume.grid``.

    Args:
        volume: the CT as it was read.
        report: findings, notices, operating point, provenance; each finding gets its slice of `volume` here, so that
            no output can tell another.
        lungs: the lung mask, or None if none was made.
        nodules: uint8 (slice, row, column); the value is the number of the finding, 0 is background.
        grad_cam: float32 (slice, row, column), >= 0, higher is more suspicious; None if it was not computed.
        similarity: float32 (slice, row, column) in [0, 1], similarity to `similarity_prompt`; None if not computed.
        similarity_prompt: the text that `similarity` belongs to.

    Raises:
        ValueError: if an array does not have the shape of the CT.
    """

    volume: Volume
    report: Report
    lungs: Lungs | None
    nodules: npt.NDArray[np.uint8]
    grad_cam: npt.NDArray[np.float32] | None = None
    similarity: npt.NDArray[np.float32] | None = None
    similarity_prompt: str = ""

    def __post_init__(self) -> None:
        for name in ("nodules", "grad_cam", "similarity"):
            array = getattr(self, name)
            if array is None:
                continue
            if tuple(array.shape) != self.volume.grid.shape:
                raise ValueError(f"{name} has the shape {array.shape}, the CT {self.volume.grid.shape}")
            view = array.view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)
        object.__setattr__(self, "report", with_slices(self.report, self.volume))

    def outlined(self) -> tuple[Finding, ...]:
        """The findings with at least one voxel in `nodules`; a lesion that could not be segmented has none."""
        return tuple(finding for finding in self.report.findings if (self.nodules == finding.number).any())

    def with_notices(self, notices: Iterable[Notice]) -> CaseResult:
        """The same case, its report saying more; a notice that is there already is not repeated."""
        known = self.report.notices
        new = tuple(notice for notice in dict.fromkeys(notices) if notice not in known)
        return replace(self, report=replace(self.report, notices=known + new)) if new else self
