"""Measuring detectors and maps: the LUNA16 protocol, intervals by bootstrap, pointing games, calibration."""

from imaging.evaluation.bootstrap import FrocIntervals, Interval, froc_intervals
from imaging.evaluation.froc import RATES, Curve
from imaging.evaluation.luna16 import FrocResult, evaluate_marks
from imaging.evaluation.tables import Annotations, Marks, read_annotations, read_marks, read_seriesuids

__all__ = [
    "RATES",
    "Annotations",
    "Curve",
    "FrocIntervals",
    "FrocResult",
    "Interval",
    "Marks",
    "evaluate_marks",
    "froc_intervals",
    "read_annotations",
    "read_marks",
    "read_seriesuids",
]
