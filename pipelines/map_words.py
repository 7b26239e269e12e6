"""What a report says of each heat map: what was computed, where, how to read it, and how the file stores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imaging.errors import Notice
    from imaging.explanation.gradcam import Extent
    from imaging.geometry import Grid
    from imaging.models.cams import CamSettings
    from imaging.models.weights import LoadedModel


def map_words(
    model: LoadedModel,
    grid: Grid,
    *,
    findings: int,
    prompt: str | None,
    notices: Sequence[Notice] = (),
    settings: CamSettings | None = None,
    extent: Extent = "findings",
) -> dict[str, str]:
    """File name -> sentence.

    Args:
        model: that the maps are of.
        grid: of the CT.
        findings: how many there are.
        prompt: of the similarity map; None for the model's own texts.
        notices: of the report; ``prompt.untrained`` among them is said of the map too.
        settings, extent: of Grad-CAM.
    """
    from imaging.explanation.gradcam import describe_grad_cam
    from imaging.explanation.similarity import describe_similarity
    from imaging.outputs.maps import GRAD_CAM, SIMILARITY, stored_as

    doubts = [notice.message for notice in notices if notice.code == "prompt.untrained"]
    said = {
        GRAD_CAM: describe_grad_cam(model, settings=settings, extent=extent, findings=findings),
        SIMILARITY: "; ".join([describe_similarity(prompt), *(f"not to be relied on: {doubt}" for doubt in doubts)]),
    }
    return {name: f"{sentence}; {stored_as(grid)}" for name, sentence in said.items()}
