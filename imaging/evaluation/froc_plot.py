"""Plots of an evaluation as SVG text: the FROC curve with its band, and the reliability of scores."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from imaging.evaluation.bootstrap import BAND_RATES, FrocIntervals
from imaging.evaluation.calibration import Calibration
from imaging.evaluation.froc import RATES, Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's blue: told apart with every kind of colour vision.
BLUE, GREY = "#0072b2", "#666666"


def froc_svg(curve: Curve, intervals: FrocIntervals | None = None, *, label: str = "marks") -> str:
    """The curve from 1/8 to 8 false marks per scan, logarithmic, with dots at the seven rates; an ``<svg>`` element."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    if intervals is not None:
        band = (BAND_RATES, intervals.band_low, intervals.band_high)
        axes.fill_between(*band, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval over scans")
    axes.plot(BAND_RATES, curve.at(BAND_RATES), color=BLUE, linewidth=2, label=label)
    axes.plot(RATES, curve.at(RATES), "o", color=BLUE, markersize=5)
    axes.axhline(curve.cpm, color=GREY, linewidth=1, linestyle="--", label=f"CPM {curve.cpm:.3f}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(RATES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set(xlim=(RATES[0], RATES[-1]), ylim=(0.0, 1.0), xlabel="false marks per scan", ylabel="sensitivity")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    return _svg(figure)


def reliability_svg(calibration: Calibration) -> str:
    """Share of right marks against mean score, one dot a bin sized by its weight; an ``<svg>`` element."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    weights = np.array([row.weight for row in calibration.bins])
    scores, shares = ([getattr(row, name) for row in calibration.bins] for name in ("mean_score", "share_right"))
    axes.scatter(scores, shares, s=12 + 180 * weights / weights.max(), color=BLUE, alpha=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="share on a nodule", aspect="equal")
    axes.grid(visible=True, alpha=0.3)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element without date, the same bytes for the same numbers."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "nodulus"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].strip()
