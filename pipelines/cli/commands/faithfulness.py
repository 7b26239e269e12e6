"""``nodulus faithfulness``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pipelines.cli.options import CamMethod, Count, Layer, Seed, Voice
from pipelines.cli.speak import progress, tell


def faithfulness(
    cases: Path | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    windows: Count = 40,
    weights: Path | None = None,
    layer: Layer = None,
    method: CamMethod | None = None,
    seed: Seed = 0,
    device: str = "cpu",
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Test whether heat maps follow the model: random weights must change them, what they mark must carry the score.

    Parameters
    ----------
    cases
        A folder of prepared cases of validation patients. By default nodules in a simulated thorax.
    output
        A file for the result as JSON.
    windows
        How many windows that hold a nodule; at least 20 for a verdict.
    weights
        A weights file or run folder. By default the shipped weights.
    layer
        The transformer block that Grad-CAM weighs, from 0. By default the one that measured best.
    method
        Of Grad-CAM. By default the one that measured best.
    seed
        Draws the windows, the random weights and the random deletions.
    device
        Where the network runs: cpu, cuda, cuda:1, mps.
    """
    import json

    from imaging.io.atomic import write_text
    from pipelines.devices import check_device
    from pipelines.faithfulness import faithfulness as run_faithfulness

    check_device(device)
    with progress(voice) as reporter:
        result = run_faithfulness(
            cases,
            windows=windows,
            weights=weights,
            layer=layer,
            method=method,
            seed=seed,
            device=device,
            on_progress=lambda done, total: reporter.stage("testing heat maps", done, total),
        ).to_json()
    if output is not None:
        write_text(output, json.dumps(result, indent=2) + "\n")
    tell(voice, result, lambda: _text(result))
    return 0


def _text(result: dict[str, Any]) -> str:
    from pipelines.cli.show import table

    random, deletion = result["randomization"], result["deletion"]
    rows = [
        (
            "size of the rank correlation with maps of random weights",
            f"{random['correlation']:.3f}",
            f"<= {random['bar']}",
        ),
        ("fall of the logit, deleting what the map marks", f"{deletion['fall_map']:.3f}", None),
        ("fall of the logit, deleting as much at random", f"{deletion['fall_random']:.3f}", None),
        ("p value of the difference", f"{deletion['p_value']:.2g}", f"< {deletion['bar']}"),
    ]
    verdict = "Both bars are met." if result["passed"] else "Not both bars are met: do not trust these maps."
    weights = result["weights"]["name"]
    counted = f"Weights {weights}, {random['windows']} windows with a nodule ({result['cases']})."
    return "\n\n".join((counted, table(("test", "measured", "bar"), rows), verdict))
