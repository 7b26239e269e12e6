"""``nodulus demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from imaging.outputs import words
from pipelines.allowed import SEED as SEEDS
from pipelines.cli.options import Analysis, Voice, number
from pipelines.cli.speak import progress, tell

if TYPE_CHECKING:
    from imaging.findings import Finding
    from pipelines.demo import Demo


def demo(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo-output"),
    seed: Annotated[int | None, number(SEEDS)] = None,
    analysis: Analysis = Analysis(),  # noqa: B008 - a frozen value
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Make a phantom chest CT with known nodules, analyse it with the shipped weights, show hits, misses, false marks.

    Parameters
    ----------
    output
        The folder for the CT, the results and the truth; an earlier demo in it is replaced.
    seed
        Another phantom.
    """
    from pipelines.demo import SEED, run_demo

    with progress(voice) as reporter:
        made = run_demo(output, seed=SEED if seed is None else seed, on_stage=reporter.stage, **analysis.to_options())
    tell(voice, _facts(made), lambda: _text(made))
    return 0


def _facts(made: Demo) -> dict[str, Any]:
    rows = [
        {
            "centre_lps_mm": list(nodule.centre_mm),
            "diameter_mm": nodule.diameter_mm,
            "kind": nodule.kind,
            "finding": finding.number if finding else None,
        }
        for nodule, finding in zip(made.truth, made.found, strict=True)
    ]
    files = {name: str(path) for name, path in made.files.items()}
    false_marks = [finding.number for finding in made.false_marks]
    return {"planted": rows, "false_marks": false_marks, "files": files, "report": made.report.to_json()}


def _text(made: Demo) -> str:
    from imaging.outputs.words import false_marks
    from pipelines.cli.show import NOT_FOR_DIAGNOSIS, operating_point_text, table

    header = ("planted", "diameter mm", "x", "y", "z (LPS mm)", "found as", "score", "off by mm", "measured mm")
    rows = [_row(nodule, finding) for nodule, finding in zip(made.truth, made.found, strict=True)]
    rows += [("nothing: false mark", None, *_point(f.centre_mm), *_mark(f), None, _size(f)) for f in made.false_marks]
    hits = sum(finding is not None for finding in made.found)
    counts = f"{hits} of {len(made.truth)} planted nodules found, {len(made.truth) - hits} missed; "
    counts += f"{false_marks(len(made.false_marks))}. A phantom is no patient: docs/results.md has real CTs."
    look = [(name, path) for name, path in made.files.items() if name in ("ct", "overlay.png", "report.html")]
    parts = (table(header, rows), counts, operating_point_text(made.report), table(("look at", "path"), look))
    return "\n\n".join((*parts, NOT_FOR_DIAGNOSIS))


def _row(nodule: Any, finding: Finding | None) -> tuple[Any, ...]:
    planted = (nodule.kind, f"{nodule.diameter_mm:.1f}", *_point(nodule.centre_mm))
    if finding is None:
        return (*planted, "missed", None, None, None)
    off = sum((a - b) ** 2 for a, b in zip(finding.centre_mm, nodule.centre_mm, strict=True)) ** 0.5
    return (*planted, *_mark(finding), f"{off:.1f}", _size(finding))


def _mark(finding: Finding) -> tuple[str, str]:
    return f"finding {finding.number}", words.score(finding.score)


def _size(finding: Finding) -> str | None:
    return None if finding.diameter_mm is None else f"{finding.diameter_mm:.1f}"


def _point(point: tuple[float, float, float]) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in point)
