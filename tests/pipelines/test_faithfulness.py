"""The use behind ``nodulus faithfulness``, with the shipped weights on a handful of drawn windows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imaging.errors import InputError, UsageError
from pipelines.faithfulness import faithfulness


@pytest.fixture
def cases(tmp_path):
    """Six windows with a ball, two without."""
    import torch

    from imaging.models.intensity import to_bytes
    from imaging.training.cases import CaseSet

    rng = np.random.default_rng(0)
    hu = rng.normal(-860, 30, (8, 5, 48, 48))
    rows, columns = np.mgrid[:48, :48]
    for n in range(6):
        row, column = rng.uniform(12, 36, 2)
        hu[n, 1:4, (rows - row) ** 2 + (columns - column) ** 2 < 5**2] = 30
    labels = np.array([[1.0]] * 6 + [[0.0]] * 2, np.float32)
    made = CaseSet(np.asarray(to_bytes(torch.from_numpy(hu))), labels, ("nodule",), np.zeros(8, np.uint8), ("drawn",))
    made.save(tmp_path / "cases")
    return tmp_path / "cases"


def test_both_tests_run_on_prepared_cases(cases):
    steps = []
    result = faithfulness(cases, windows=6, on_progress=lambda *step: steps.append(step))
    assert result.deletion.windows == result.randomization.windows == 6
    assert not result.passed, "six windows prove nothing"
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert result.randomization.stages[0] == "text"
    assert result.randomization.stages[-1] == "stem"
    said = json.loads(json.dumps(result.to_json()))
    assert said["weights"]["sha256"] == result.weights_sha256
    assert said["cases"] == "cases"


def test_what_cannot_be_tested_is_refused(cases, tmp_path):
    with pytest.raises(UsageError) as raised:
        faithfulness(cases, layer=99)
    assert raised.value.code == "usage.option"
    with pytest.raises(InputError) as refused:
        faithfulness(tmp_path / "nothing")
    assert refused.value.code == "cases.layout"
