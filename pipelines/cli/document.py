"""Writes the tables of docs/cli.md and docs/codes.md from the tables in the code: ``python -m pipelines.cli.document``.

Everything between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` is replaced; a test fails where that would change
anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final


def _markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _exit_codes() -> str:
    from pipelines.exit_codes import MEANINGS

    return _markdown(("code", "when"), ((f"`{int(code)}`", meaning) for code, meaning in MEANINGS.items()))


def _commands() -> str:
    from pipelines.cli.table import COMMANDS

    return _markdown(("command", "what it does"), ((f"`nodulus {c.name}`", c.summary) for c in COMMANDS))


def _preparations() -> str:
    from pipelines.cli.table import PREPARATIONS

    return _markdown(("command", "from"), ((f"`nodulus prepare {c.name}`", c.summary) for c in PREPARATIONS))


def _formats() -> str:
    from imaging.outputs.registry import DEFAULT_FORMATS, WRITERS

    rows = (
        (
            f"`{r.name}`",
            ", ".join(f"`{file}`" for file in r.files),
            r.purpose,
            "yes" if r.name in DEFAULT_FORMATS else "",
        )
        for r in WRITERS.values()
    )
    return _markdown(("name", "files", "what", "by default"), rows)


def _stages() -> str:
    from pipelines.progress import STAGES

    return _markdown(("stage", "what", "share"), ((f"`{n}`", s.label, f"{s.share:.0%}") for n, s in STAGES.items()))


def _series_rule() -> str:
    from pipelines.series_choice import RULE

    return f"> {RULE[0].upper()}{RULE[1:]}."


def _case_rule() -> str:
    from importlib import import_module

    rule = str(import_module("pipelines.batch.cases").RULE)
    return f"> {rule[0].upper()}{rule[1:]}."


def _codes() -> str:
    from imaging.errors import CODES

    rows = ((f"`{code}`", row.kind, row.meaning, row.remedy) for code, row in sorted(CODES.items()))
    return _markdown(("code", "kind", "what it means", "what to do next"), rows)


#: Name of a block -> what writes it.
BLOCKS: Final[dict[str, Callable[[], str]]] = {
    "exit codes": _exit_codes,
    "commands": _commands,
    "preparations": _preparations,
    "formats": _formats,
    "stages": _stages,
    "series rule": _series_rule,
    "case rule": _case_rule,
    "codes": _codes,
}

#: The pages with blocks, relative to the root of the project.
PAGES: Final = ("docs/cli.md", "docs/codes.md")


def filled(text: str) -> str:
    """A page's text with all its blocks written anew."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]}: begin -->\n{BLOCKS[match[1]]()}\n<!-- {match[1]}: end -->"

    return re.sub(r"<!-- ([\w ]+): begin -->.*?<!-- \1: end -->", block, text, flags=re.DOTALL)


def main(root: Path) -> None:
    """Rewrite the pages."""
    for page in PAGES:
        path = root / page
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
