"""The guide says what the code does: its tables are the tables in the code, its pictures are there and small."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.viewer.keys import KEYS, markdown
from pipelines.viewer.panel_buttons import BUTTONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "napari.md").read_text(encoding="utf-8")


def test_the_guide_holds_the_table_of_keys():
    table = re.search(r"<!-- keys: begin.*?-->\n(.*)<!-- keys: end -->", GUIDE, re.DOTALL)
    assert table is not None
    assert table.group(1) == markdown()


def test_the_pictures_are_there_small_and_attributed():
    names = re.findall(r"!\[[^]]*\]\(([^)]+)\)\n(\*[^*].*?\*)\n", GUIDE, re.DOTALL)
    assert len(names) == GUIDE.count("![")
    for name, caption in names:
        assert (DOCS / name).stat().st_size < 400_000
        assert "LIDC-IDRI" in caption
        assert "CC BY 3.0" in caption


def test_buttons_are_keys_too():
    assert {action for _, action in BUTTONS} <= {row.action for row in KEYS}


def test_the_manifest_is_valid_and_everything_in_it_exists():
    from importlib import import_module

    import pytest

    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(DOCS.parent / "pipelines" / "viewer" / "napari.yaml")
    assert manifest.name == "nodulus"
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        if module.rsplit(".", 1)[-1] in ("reader", "samples", "commands"):
            assert callable(getattr(import_module(module), name))
        else:
            assert f"class {name}(" in (DOCS.parent / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
