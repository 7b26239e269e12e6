"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pipelines.allowed import BLOCK, COUNT, FINDINGS, SEED, SHARE, Allowed


def number(allowed: Allowed, **named: Any) -> Parameter:
    """How an option for a number is read, further settings of the option after it; every such option has this.

    A value that is not allowed ends the command with the code ``usage.option`` and the option's name, before anything
    is read or written.
    """

    def convert(type_: Any, tokens: Any) -> int | float:
        token = tokens[-1]
        return allowed.read(token.keyword or "the number", token.value)

    return Parameter(converter=convert, n_tokens=1, accepts_keys=False, **named)


Count = Annotated[int, number(COUNT)]
Seed = Annotated[int, number(SEED)]
#: A block of the transformer; by default the model card's.
Layer = Annotated[int | None, number(BLOCK)]


@Parameter(name="*")
@dataclass(frozen=True)
class Analysis:
    """How a CT is analysed."""

    threshold: Annotated[float | None, number(SHARE)] = None
    """Marks with at least this score (0 to 1) are findings. By default the model's operating point."""

    max_findings: Annotated[int, number(FINDINGS)] = 20
    """At most so many findings, the most suspicious first."""

    weights: Path | None = None
    """A weights file or run folder. By default the shipped weights."""

    prompt: str | None = None
    """Free text for the similarity map, such as "ground-glass nodule"."""

    device: str = "cpu"
    """Where the network runs: cpu, cuda, cuda:1, mps."""

    def to_options(self) -> dict[str, Any]:
        """The keyword arguments of `pipelines.analysis_options.AnalysisOptions`."""
        return dict(vars(self))


@Parameter(name="*")
@dataclass(frozen=True)
class Voice:
    """How the command speaks."""

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    """No progress and no summary; errors are still told."""

    json: Annotated[bool, Parameter(negative="")] = False
    """The result as one JSON object on standard output."""

    events: Annotated[bool, Parameter(negative="")] = False
    """One JSON object a line for each event on standard output, the result last."""

    debug: Annotated[bool, Parameter(negative="")] = False
    """Show the traceback of a bug, and the libraries' warnings."""


#: The keys of `imaging.models.cams.METHODS`, here without importing torch.
CamMethod = Literal["grad-cam", "grad-cam++", "hires-cam", "layer-cam", "grad-cam-elementwise"]

#: ``-o OUT``, required.
OutputFolder = Annotated[Path, Parameter(name=["--output", "-o"])]


def split_commas(type_: Any, tokens: Any) -> tuple[str, ...]:
    """``a,b c`` as ``("a", "b", "c")``."""
    return tuple(part.strip() for token in tokens for part in token.value.split(",") if part.strip())


#: ``--format csv,json``; see `chosen_formats`.
Formats = Annotated[
    tuple[str, ...] | None,
    Parameter(name="--format", converter=split_commas, n_tokens=1, negative="", accepts_keys=False),
]


def chosen_formats(named: tuple[str, ...] | None) -> tuple[str, ...]:
    """The formats to write: the usual ones, with whatever is not usual and was named, or exactly those named.

    ``--format sr,seg`` adds DICOM objects to the usual files; ``--format csv,sr`` writes these two only.
    """
    from imaging.outputs.registry import DEFAULT_FORMATS

    if not named:
        return tuple(DEFAULT_FORMATS)
    return named if set(named) & set(DEFAULT_FORMATS) else (*DEFAULT_FORMATS, *named)
