"""Do the heat maps that ship follow the model? Both tests of `nodulus faithfulness` on windows of `val`.

    python -m benchmarks.faithfulness [--weights PATH] [--nodules 80] [--write]

One frozen window of each nodule. Bars: with random weights the size of the rank correlation of maps is at most 0.3;
deleting what a map marks, with lung in its place, lowers the logit more than deleting as much at random (p < 0.01).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.lidc_data import FROZEN
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.windows import WindowSet
from imaging.models.cams import METHODS, CamSettings
from imaging.models.scoring import window_inputs
from imaging.models.weights import LoadedModel, load_model
from pipelines.faithfulness import Faithfulness, both_tests

SEED: Final = 0
DATA: Final = "windows_val.csv"


def first_windows(model: LoadedModel, nodules: int) -> torch.Tensor:
    """One frozen window of `val` for each of some nodules, as the network sees it: (n, slices, h, w)."""
    chosen = WindowSet.read("val")
    first = chosen.table[chosen.holds].drop_duplicates(["patient", "nodule"]).index[:nodules]
    windows = [chosen.windows[n] for n in first]
    return torch.cat([window_inputs(model, w.stack.volume, [w.centre_mm]) for w in windows])


def body_of(result: Faithfulness, blocks: int) -> str:
    """What was tested, the table and the verdict."""
    random, deletion = result.randomization, result.deletion
    rows = [
        (
            "size of the rank correlation, all weights random",
            f"{random.correlation:.3f}",
            f"<= {random.to_json()['bar']}",
        ),
        *((f"rank correlation, random from the top to: {s}", f"{c:.2f}", "") for s, c in _stages(result)),
        ("fall of the logit, deleting what the map marks", f"{deletion.fall_map:.2f}", ""),
        ("fall of the logit, deleting as much at random", f"{deletion.fall_random:.2f}", ""),
        ("windows in which the map's fall is the larger", f"{deletion.larger:.2f}", ""),
        ("p of the difference", f"{deletion.p_value:.0e}", f"< {deletion.to_json()['bar']}"),
    ]
    settings = random.settings
    return (
        f"{METHODS[settings.method]} of block {settings.block % blocks + 1} of {blocks} on {deletion.windows} windows "
        f"of `val`, one a nodule; {len(random.draws)} draws of all weights, stages on {random.stage_windows} windows. "
        f"Both bars: {'met' if result.passed else 'not met'}.\n\n" + markdown_table(("test", "measured", "bar"), rows)
    )


def _stages(result: Faithfulness) -> list[tuple[str, float]]:
    return list(zip(result.randomization.stages, result.randomization.correlations, strict=True))


def main() -> None:
    """Run both tests, print the table and publish it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--nodules", type=int, default=80)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    model = load_model(options.weights)
    x = first_windows(model, options.nodules)
    settings, rng = CamSettings.of_model(model), np.random.default_rng(SEED)
    result = both_tests(model, x, cases="val", settings=settings, rng=rng)
    made = Made(
        command=f"python -m benchmarks.faithfulness --nodules {options.nodules} --write",
        seed=SEED,
        weights_name=model.name,
        weights_sha256=model.sha256,
        data=DATA,
        data_sha256=FROZEN[DATA],
    )
    body = body_of(result, len(model.net.vision.blocks))
    publish(
        "faithfulness",
        "Faithfulness of the heat maps (val)",
        body,
        made,
        split="val",
        headline=f"correlation {result.randomization.correlation:.3f}, p {result.deletion.p_value:.0e}",
        write=options.write,
    )


if __name__ == "__main__":
    main()
