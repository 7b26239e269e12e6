"""One table is the truth: documentation, codes and public names say what the code says."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import imaging
from imaging.errors import CODES, Kind
from pipelines.cli import document
from pipelines.cli.table import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "imaging").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
TESTS = [path for path in (ROOT / "tests").rglob("*.py") if "contracts" not in path.parts]


@pytest.mark.parametrize("page", document.PAGES)
def test_the_tables_in_the_documentation_are_those_of_the_code(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert document.filled(text) == text, "run python -m pipelines.cli.document"
    assert set(re.findall(r"<!-- ([\w ]+): begin -->", text)) <= set(document.BLOCKS)


def test_every_block_is_on_some_page():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in document.PAGES)
    assert all(f"<!-- {name}: begin -->" in text for name in document.BLOCKS)


def test_the_documentation_names_only_commands_and_options_that_exist():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:`|^)nodulus ([a-z]+)\b", text, flags=re.MULTILINE)) <= {
        command.name for command in COMMANDS
    }
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipelines" / "cli").rglob("*.py"))
    for option in set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)) - {"no-explain"}:
        assert option in known or option.replace("-", "_") in known, option


def test_links_in_the_documentation_lead_somewhere():
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"):
        if not page.exists():
            continue
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


# --- codes -----------------------------------------------------------------------------------------------------------


def _texts(paths: list[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _mentioned(codes: set[str], text: str) -> set[str]:
    text = text.replace("\\.", ".")  # as in pytest.raises(match=r"result\.no_ct")
    return {code for code in codes if re.search(rf"""["'`]{re.escape(code)}["'`]""", text)}


def test_every_code_is_raised_by_some_test():
    missing = set(CODES) - _mentioned(set(CODES), _texts(TESTS))
    assert not missing, f"no test names {sorted(missing)}"


def test_every_code_is_given_by_some_code():
    """No dead rows in the table."""
    sources = _texts([path for path in SOURCES if path.name != "errors.py"])
    missing = set(CODES) - _mentioned(set(CODES), sources)
    assert not missing, f"nothing gives {sorted(missing)}"


def test_every_code_that_is_given_is_in_the_table():
    """Constructors with a literal code: ``InputError("x.y", ...)``, ``Notice("x.y", ...)``."""
    pattern = r"(?:InputError|ModelError|OutputError|UsageError|ImagingError|Notice)\(\s*[\"']([\w.]+)[\"']"
    given = set(re.findall(pattern, _texts(SOURCES)))
    assert given - set(CODES) == set()


def test_codes_are_named_alike_and_say_what_to_do():
    for code, row in CODES.items():
        assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", code), code
        assert row.kind in get_args(Kind), code
        assert row.meaning, code
        assert row.remedy, code


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_public_name_of_imaging_is_documented():
    for name in imaging.__all__:
        thing = getattr(imaging, name)
        assert inspect.getdoc(thing), name
        assert not str(inspect.getdoc(thing)).startswith(f"{name}("), f"{name} has no docstring of its own"


def _public_definitions(path: Path) -> list[tuple[str, str | None]]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = [(path.stem, ast.get_docstring(module))]
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            found.append((node.name, ast.get_docstring(node)))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_definition_has_a_docstring(path: Path):
    missing = [name for name, docstring in _public_definitions(path) if not docstring]
    assert not missing


def test_the_homes_of_the_public_names_are_right():
    for name, home in imaging._HOMES.items():
        assert getattr(imaging, name) is getattr(importlib.import_module(home), name)
    assert set(imaging._HOMES) == set(imaging.__all__)


# --- imports ---------------------------------------------------------------------------------------------------------


def test_importing_imaging_imports_nothing_heavy():
    script = "import sys, imaging; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & {
        "torch",
        "numpy",
        "pydicom",
        "SimpleITK",
        "scipy",
    }


def test_no_text_in_the_library_prints_or_asserts_its_way_out():
    """No print, no sys.exit and no bare assert in `imaging`: a refusal has a code."""
    for path in (ROOT / "imaging").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), path
            assert not (isinstance(called, ast.Attribute) and ast.unparse(called) == "sys.exit"), path
