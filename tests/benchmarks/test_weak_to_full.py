"""The share of a perfect net's figures, from the tables of the weakly supervised one."""

from __future__ import annotations

import pytest

from benchmarks.results_table import replace_section
from benchmarks.weak_to_full import main, shares


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.md"
    replace_section("windows-test", "| nodulus | 0.9750 [0.9, 1.0] | 0.99 |", path=path)
    cells = " | ".join(("0.1", "0.2", "0.3", "0.900 [0.8, 1.0]", "0.92", "0.960 [0.9, 1.0]"))
    replace_section("crops-test", f"| nodulus | {cells} | 0.99 | 0.99 |", path=path)
    return path


def test_an_auroc_is_counted_from_chance_and_a_sensitivity_from_nothing(results):
    assert [share for _, _, share in shares(results.read_text())] == pytest.approx([0.95, 0.9, 0.96])


def test_the_table_says_which_bar_is_met(results):
    main(results=results)
    written = results.read_text().split("<!-- begin weak-to-full -->")[1]
    assert [
        line.split("|")[-2].strip() for line in written.splitlines() if line.startswith(("| windows", "| crops"))
    ] == [
        "met",
        "open",
        "met",
    ]
