"""Two studies of one patient: where a point of one lies in the other, and how matched findings grew."""

from __future__ import annotations

from imaging.registration.alignment import Alignment
from imaging.registration.comparable import comparability
from imaging.registration.fit import align
from imaging.registration.growth import Growth, match_findings

__all__ = ["Alignment", "Growth", "align", "comparability", "match_findings"]
