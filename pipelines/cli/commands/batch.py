"""``nodulus batch``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.allowed import COUNT
from pipelines.cli.options import Analysis, Formats, OutputFolder, Voice, chosen_formats, number
from pipelines.cli.speak import progress, tell
from pipelines.exit_codes import Exit
from pipelines.strict_json import encodable


def batch(
    folder: Path,
    /,
    *,
    output: OutputFolder,
    jobs: Annotated[int, number(COUNT, name=["--jobs", "-j"])] = 1,
    formats: Formats = None,
    show_identifiers: Annotated[bool, Parameter(negative="")] = False,
    explain: bool = True,
    analysis: Analysis = Analysis(),  # noqa: B008 - a frozen value
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Analyse every CT in a folder; a broken one is a row of failures.csv and the run goes on.

    Run the same command again after anything: what is done is skipped, everything else is tried again.
    Ends with 3 where a case failed or was refused, with 1 where a full disk ended the run.

    Parameters
    ----------
    folder
        One zip, volume file or subfolder for each CT.
    output
        One folder a case, and findings.csv, failures.csv and cases.csv over all.
    jobs
        So many cases at once; fewer where memory does not suffice.
    formats
        As in predict; csv and json are always written.
    show_identifiers
        Put the patients' names and IDs on each report.html.
    explain
        Compute the heat maps.
    """
    run_batch = import_module("pipelines.batch.run").run_batch
    with progress(voice) as reporter:
        summary = run_batch(
            folder,
            output,
            formats=chosen_formats(formats),
            jobs=jobs,
            show_identifiers=show_identifiers,
            explain=explain,
            reporter=reporter,
            **analysis.to_options(),
        )
    code = Exit.OK if summary.all_done else Exit.CASES_FAILED
    if summary.not_begun:  # the run did not go through: a script must not take it for one that did
        code = Exit.BUG
        print(f"nodulus: output.disk_full: {summary.not_begun} case(s) not begun", file=sys.stderr, flush=True)
    for names in summary.same_series:
        text = f"{', '.join(names)} are the same series; {output / 'findings.csv'} has its findings {len(names)} times"
        print(encodable(f"nodulus: batch.same_series: {text}"), file=sys.stderr, flush=True)
    tell(voice, {"output": str(output), "exit_code": int(code), **summary.to_json()}, lambda: _text(summary, output))
    return int(code)


def _text(summary: object, output: Path) -> str:
    from pipelines.cli.show import NOT_FOR_DIAGNOSIS, table

    facts = summary.to_json()  # type: ignore[attr-defined]
    counts = f"{facts['done']} done ({facts['skipped']} of them before)"
    counts += f", {facts['refused']} refused, {facts['failed']} failed"
    counts += f", {facts['not_begun']} not begun: the disk is full" if facts["not_begun"] else ""
    header = ("case", "status", "findings", "seconds", "why")
    rows = [(c["case"], c["status"], c["findings"], c["seconds"], c["code"]) for c in facts["cases"]]
    again = "" if facts["done"] == len(rows) else f"Reasons and next steps: {output / 'failures.csv'}"
    tables = f"All findings: {output / 'findings.csv'}"
    return "\n\n".join(part for part in (table(header, rows), f"{counts}.", tables, again, NOT_FOR_DIAGNOSIS) if part)
