"""Maps and masks that are drawn only where their slice holds something.

Each picture laid over the CT costs about as much as the CT itself where the processor draws it, although outlines and
heat maps are zero nearly everywhere. These layers hold their whole array, as every napari layer does, for people, for
other plugins and for saving; of the slice that is shown they hand the box to be drawn that is not zero.

napari already draws a part of a slice at its place for pyramids of images (`tile_to_data`); these layers use that. The
names with an underscore are napari's own: tests hold every pixel against a layer that draws all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image as WholeImage
from napari.layers import Labels as WholeLabels
from napari.utils.transforms import Affine

from pipelines.viewer.pictures import Box, filled_box


class _DrawnWhereFilled:
    """What `Image` and `Labels` share; the first base of both."""

    _box: Box | None = None

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        # Brushes, boxes and handles are drawn where a whole slice would lie.
        for event in (self.events.mode, self.bounding_box.events.visible):  # type: ignore[attr-defined]
            event.connect(self._all_of_it)

    def _all_of_it(self, _: Any = None) -> None:
        self.refresh(extent=False, thumbnail=False)  # type: ignore[attr-defined]

    @property
    def _is_in_part(self) -> bool:
        """Whether a part may be drawn: not while somebody paints, or sees the layer's box."""
        return str(self.mode) == "pan_zoom" and not self.bounding_box.visible  # type: ignore[attr-defined]

    @property
    def _data_view(self) -> npt.NDArray[Any]:
        shown = self._slice  # type: ignore[attr-defined]
        view: npt.NDArray[Any] = shown.image.view
        return view if self._box is None or shown.empty else view[self._box]

    def _get_layer_slicing_state(self, data: Any, cache: bool) -> Any:
        state = super()._get_layer_slicing_state(data, cache)  # type: ignore[misc]
        take = state._update_slice_response

        def take_part(response: Any) -> None:
            in_part = response.slice_input.ndisplay == 2 and not response.empty and self._is_in_part
            self._box = filled_box(response.image.raw) if in_part else None
            if self._box is not None:
                response = replace(response, tile_to_data=_laid(self._box, response.slice_input))
            take(response)

        state._update_slice_response = take_part
        return state


def _laid(box: Box, slice_input: Any) -> Affine:
    """Where a box of the slice lies in it."""
    start = np.zeros(slice_input.ndim)
    start[list(slice_input.displayed)] = [side.start for side in box]
    return Affine(name="tile2data", translate=start, ndim=slice_input.ndim)


class Image(_DrawnWhereFilled, WholeImage):  # type: ignore[misc]
    """A map, drawn where it is not zero; zero must be transparent in its colours."""


class Labels(_DrawnWhereFilled, WholeLabels):  # type: ignore[misc]
    """A mask, drawn where it is not zero."""

    def _raw_to_displayed(self, raw: npt.NDArray[Any], data_slice: Box | None = None) -> npt.NDArray[Any]:
        part: npt.NDArray[Any] = super()._raw_to_displayed(raw, self._box if data_slice is None else data_slice)
        if data_slice is not None or self._box is None:
            return part
        view = np.zeros(raw.shape, part.dtype)
        view[self._box] = part
        return view
