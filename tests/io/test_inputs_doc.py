"""docs/inputs.md says what the limits are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import imaging.io.limits
from imaging.io.limits import Limits

DOC = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
ROW = re.compile(r"\| `?(NODULUS_MAX_\w+)`? +\| (?:\w+ +\| )?([\d,]+) +\|")


@pytest.mark.parametrize("text", [DOC.read_text(encoding="utf-8"), imaging.io.limits.__doc__])
def test_the_table_of_limits_is_true(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {variable: int(default.replace(",", "")) for variable, default in ROW.findall(text)}
    for variable in rows:
        monkeypatch.delenv(variable, raising=False)
    assert rows == {f"NODULUS_MAX_{name.upper()}": value for name, value in vars(Limits()).items()}
