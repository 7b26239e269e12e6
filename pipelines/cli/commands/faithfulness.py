"""``nodulus faithfulness``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.options import Voice
from pipelines.cli.speak import progress, tell

if TYPE_CHECKING:
    from pipelines.faithfulness import Faithfulness


def faithfulness(
    cases: Path | None = None,
    /,
    *,
    windows: int = 40,
    weights: Path | None = None,
    layer: int | None = None,
    method: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Test whether the heat maps follow the model: randomised weights, and deletion with lung-like filling.

    Parameters
    ----------
    cases
        A folder of prepared cases, of patients the model was not trained on. By default simulated nodules.
    windows
        How many windows that hold a nodule; at least 20 for a verdict.
    weights
        A weights file or run folder. By default the shipped weights.
    layer
        The transformer block that Grad-CAM weighs, from 0. By default the one the model card names.
    method
        grad-cam or hires-cam. By default the one the model card names.
    seed
        Draws the windows, the random weights and the random deletions.
    device
        Where the network runs: cpu, cuda, cuda:1, mps.
    """
    from pipelines.faithfulness import faithfulness as run

    with progress(voice) as reporter:
        result = run(
            cases,
            windows=windows,
            weights=weights,
            layer=layer,
            method=method,
            seed=seed,
            device=device,
            on_progress=lambda done, total: reporter.stage("randomising weights", done, total),
        )
    tell(voice, result.to_json(), lambda: _text(result))
    return 0


def _text(result: Faithfulness) -> str:
    random, deletion = result.randomization, result.deletion
    verdict = {True: "passed", False: "NOT passed"}
    return (
        f"{result.weights_name}, {deletion.windows} windows ({result.cases}), {random.settings.method}\n"
        f"random weights: rank correlation {random.correlations[-1]:.2f} (mean size {random.absolute[-1]:.2f}, bar 0.30), "
        f"{verdict[random.passed]}\n"
        f"deletion: the logit falls by {deletion.fall_map:.2f} where the map is highest, by {deletion.fall_random:.2f} at "
        f"random (p = {deletion.p_value:.1e}, bar 0.01), {verdict[deletion.passed]}"
    )
