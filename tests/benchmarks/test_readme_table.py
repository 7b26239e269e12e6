"""The README says what docs/results.md says."""

from __future__ import annotations

import pytest

from benchmarks.readme_table import NAME, README, main, row_of, section_of, short_table
from benchmarks.results_table import RESULTS


def test_the_readme_is_up_to_date():
    table = short_table(RESULTS.read_text(encoding="utf-8"))
    assert section_of(NAME, README.read_text(encoding="utf-8")) == table.strip()


def test_another_figure_changes_the_readme(tmp_path):
    results = RESULTS.read_text(encoding="utf-8")
    cell = row_of(section_of("windows-test", results), "nodulus", "refined")[0]
    (tmp_path / "results.md").write_text(results.replace(cell, "0.123 [0.100, 0.200]"))
    (tmp_path / "README.md").write_text(README.read_text(encoding="utf-8"))
    main(results=tmp_path / "results.md", readme=tmp_path / "README.md")
    assert "0.123 [0.100, 0.200]" in (tmp_path / "README.md").read_text()


def test_a_missing_section_or_row_is_told():
    with pytest.raises(ValueError, match="no section zebra"):
        section_of("zebra", "")
    with pytest.raises(ValueError, match="no row begins with zebra"):
        row_of("| a | b |", "zebra")
