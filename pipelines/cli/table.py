"""Every command of ``nodulus``, in one table: name, where it lives, one line of help.

The target is an import string, so that ``nodulus --help`` imports none of them. A test compares docs/cli.md with it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One row of the table."""

    name: str
    target: str
    summary: str
    group: str


_HOME = "pipelines.cli.commands"

COMMANDS: Final = (
    Command("demo", f"{_HOME}.demo:demo", "Make a CT with known nodules, analyse it, show hits and misses.", "Start"),
    Command("predict", f"{_HOME}.predict:predict", "Analyse one CT: findings, heat maps, report.", "Analyse"),
    Command("batch", f"{_HOME}.batch:batch", "Analyse every CT in a folder; rerun to go on.", "Analyse"),
    Command("explain", f"{_HOME}.explain:explain", "Heat maps of one CT, for any prompt.", "Analyse"),
    Command("view", f"{_HOME}.view:view", "Open a CT and its result in napari.", "Analyse"),
    Command("inspect", f"{_HOME}.inspect:inspect", "Say what a path holds: series, geometry, doubts.", "Look"),
    Command("info", f"{_HOME}.info:info", "Say what is installed: version, weights, formats, devices.", "Look"),
    Command("prepare", f"{_HOME}.prepare:app", "Turn scans and labels into training cases.", "Train and measure"),
    Command("pack", f"{_HOME}.pack:pack", "Put training cases into one file.", "Train and measure"),
    Command("train", f"{_HOME}.train:train", "Train a model from image-level labels.", "Train and measure"),
    Command("tune", f"{_HOME}.tune:tune", "Teach the text tower of weights more wordings.", "Train and measure"),
    Command("release", f"{_HOME}.release:release", "Ship the weights of a run.", "Train and measure"),
    Command("evaluate", f"{_HOME}.evaluate:evaluate", "Score findings against a truth.", "Train and measure"),
    Command(
        "faithfulness",
        f"{_HOME}.faithfulness:faithfulness",
        "Test whether the heat maps follow the model.",
        "Train and measure",
    ),
    Command("completion", f"{_HOME}.completion:completion", "Print a shell's completion script.", "Look"),
)

_LABELS = "Scans with one label each"

#: The commands of ``nodulus prepare``.
PREPARATIONS: Final = (
    Command("lidc", f"{_HOME}.prepare:lidc", "LIDC-IDRI as downloaded: images and the readers' XML.", _LABELS),
    Command("luna16", f"{_HOME}.prepare:luna16", "LUNA16 as downloaded: subsets and annotations.csv.", _LABELS),
    Command("nlst", f"{_HOME}.prepare:nlst", "NLST as downloaded: images and the trial's tables.", _LABELS),
    Command("csv", f"{_HOME}.prepare:csv_table", "A table of your own: paths and labels.", _LABELS),
    Command("reports", f"{_HOME}.prepare:reports", "A table of your own: paths and report texts.", _LABELS),
    Command("crops", f"{_HOME}.prepare_crops:crops", "Packed crops of LIDC, to windows.", "Windows with a label each"),
)
