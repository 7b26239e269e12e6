"""Sample data: the phantom thorax under File > Open Sample, so that the plugin can be tried without a patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imaging.geometry.volume import Origin
from pipelines.viewer.layers import LayerData, layer_data
from pipelines.viewer.opening import login_name, own_folder
from pipelines.viewer.session import Session

#: Small enough to be made in a few seconds.
SHAPE = (96, 256, 256)
SPACING_MM = (3.0, 1.4, 1.4)
SEED = 20


def phantom_thorax() -> list[LayerData]:
    """A simulated chest with five planted nodules, as layers of a new session."""
    from napari import current_viewer

    from imaging.simulation.thorax import make_thorax
    from pipelines.viewer.docking import dock_panel, may_leave

    viewer = current_viewer()
    if viewer is not None:
        dock_panel(viewer)
        if not may_leave(viewer):
            return [(None,)]  # type: ignore[list-item]
    volume, _ = make_thorax(rng=np.random.default_rng(SEED), shape=SHAPE, spacing_mm=SPACING_MM)
    origin = Origin(seriesuid=f"phantom.{SEED}", format="simulated")
    session = Session(replace(volume, origin=origin), reviewer=login_name())
    session.keep_in(own_folder(session.volume.seriesuid))
    return layer_data(session)
