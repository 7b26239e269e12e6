"""No two modules of the viewer import each other, not even inside a function or for their types alone."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "pipelines" / "viewer"
PACKAGE = "pipelines.viewer"


def imported(path: Path) -> set[str]:
    """Modules of the viewer that a file imports anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            found.add((node.module or "").rsplit(".", 1)[1])
    return found


def test_the_viewers_modules_stand_in_an_order():
    graph = {path.stem: imported(path) for path in ROOT.glob("*.py") if path.stem != "__init__"}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import one another: {' -> '.join(error.args[1])}")
    assert order.index("session") < order.index("cockpit") < order.index("panel")
