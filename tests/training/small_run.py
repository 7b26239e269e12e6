"""A training run in a process of its own, small: ``python small_run.py FOLDER OUT [name=value ...]``.

FOLDER holds prepared cases. The tests start it to kill it, and as several processes that share one run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from pipelines.train import train_to_folder
from pipelines.training_settings import TrainOptions

torch.set_num_threads(1)
VISION = VisionConfig(
    slices=3,
    slice_step_mm=5.0,
    pixel_mm=1.4,
    window_pixels=24,
    width=16,
    depth=1,
    heads=2,
    embedding=16,
    stem_channels=4,
    drop_path=0.0,
)
TEXT = TextConfig(width=16, heads=2, layers=1)


def main(cases: Path, output: Path, values: dict) -> None:
    """Train; each step done is a line on standard output."""
    resume, steps = bool(values.pop("resume", 0)), int(values.pop("steps", 12))
    options = TrainOptions(VISION, TEXT, rounds=4, shortest_round=1, **({"batch": 16, "rate": 3e-3} | values))
    train_to_folder(
        cases,
        output,
        steps=steps,
        resume=resume,
        options=options,
        on_progress=lambda done, total: print(f"step {done}", flush=True),  # noqa: T201 - whoever started it listens
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), {k: json.loads(v) for k, v in (a.split("=") for a in sys.argv[3:])})
