"""The report of one analysed CT."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from imaging.findings import OperatingPoint, Report
from imaging.geometry import Volume
from imaging.io.identifiers import identifying_words, without
from imaging.provenance import Provenance, creation_time, library_versions, software_version
from pipelines.analysis_options import AnalysisOptions
from pipelines.chosen_series import Chosen

if TYPE_CHECKING:
    from imaging.localization import Localization
    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel


def report_of(
    chosen: Chosen,
    model: LoadedModel,
    localization: Localization,
    token_map: TokenMap,
    options: AnalysisOptions,
    maps: dict[str, str],
) -> Report:
    """The report of an analysis: findings and notices of all its steps, and where they came from.

    Args:
        maps: kind of heat map -> what it holds, in a sentence.
    """
    volume, origin = chosen.volume, chosen.volume.origin
    names = identifying_words(origin.header if origin else None)
    notices = [*volume.warnings, *chosen.lungs.notices, *token_map.notices, *localization.notices]
    notices = [replace(notice, message=without(notice.message, names)) for notice in notices]
    return Report(
        seriesuid=volume.seriesuid,
        study_instance_uid=origin.study_instance_uid if origin else None,
        study_date=origin.study_date if origin else None,
        findings=tuple(localization.findings),
        notices=tuple(dict.fromkeys(notices)),
        operating_point=_operating_point(model, options.threshold),
        provenance=Provenance(
            software=software_version(),
            input_sha256=content_sha256(volume),
            weights_name=model.name,
            weights_sha256=model.sha256,
            settings=options.to_settings(),
            versions=library_versions(),
            created=creation_time().isoformat(timespec="seconds"),
        ),
        grid=volume.grid.to_json(),
        series_choice=chosen.sentence,
        rejected_series=tuple(replace(one, reason=without(one.reason, names)) for one in chosen.losers),
        lungs_ml=chosen.lungs.volume_ml,
        maps=maps,
    )


def _operating_point(model: LoadedModel, threshold: float | None) -> OperatingPoint:
    """The model's own, or one at the threshold that was asked for, whose cost nobody has measured."""
    known = model.operating_point
    if threshold is None or threshold == known.threshold:
        return known
    return replace(known, threshold=threshold, false_marks_per_scan=None, measured_on="a threshold set by the user")


def content_sha256(volume: Volume) -> str:
    """Hash of the HU values and their places: the same for a CT as DICOM, zip, NIfTI or MetaImage of equal grids."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array, dtype="<f4").data)
    digest.update(np.round(volume.grid.affine, 3).astype("<f8").tobytes())
    return digest.hexdigest()
