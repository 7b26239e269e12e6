"""``nodulus release``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pipelines.cli.options import OutputFolder, Voice
from pipelines.cli.speak import tell


def release(
    run: Path,
    /,
    *,
    output: OutputFolder,
    name: str,
    licence: str,
    facts: Path | None = None,
    default: Annotated[bool, Parameter(negative="")] = False,
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Add the weights of a run to a folder of weights, with a record from which they can be trained again.

    Parameters
    ----------
    run
        The run folder.
    output
        A folder of weights with manifest.json, or a new one.
    name
        Of the weights; a name that is there already is refused.
    licence
        Of the weights.
    facts
        A JSON of what was measured or chosen after the run: calibration, operating_point, metrics ...
    default
        Use these weights where none are named.
    """
    from pipelines.release import release as add

    result = add(run, output, name=name, licence=licence, facts=_facts(facts), default=default)
    tell(voice, result, lambda: f"{result['file']} ({result['sha256']}) is in {output}")
    return 0


def _facts(path: Path | None) -> dict[str, Any]:
    from imaging.errors import UsageError
    from imaging.io.texts import open_text

    if path is None:
        return {}
    try:
        with open_text(path) as stream:
            return dict(json.load(stream))
    except (ValueError, TypeError) as error:
        raise UsageError("usage.option", f"the facts cannot be read: {error}", where=path) from error
