"""``nodulus predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.options import Analysis, Formats, OutputFolder, Voice, chosen_formats
from pipelines.cli.speak import progress, tell


def predict(
    path: Path,
    /,
    *,
    output: OutputFolder,
    series: str | None = None,
    formats: Formats = None,
    show_identifiers: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    explain: bool = True,
    analysis: Analysis = Analysis(),  # noqa: B008 - a frozen value
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Analyse one CT and write findings, heat maps and a report into a folder.

    Parameters
    ----------
    path
        A CT: a DICOM file, folder or zip, NIfTI, MetaImage or NRRD, of one patient.
    output
        The folder for the results; it appears when all of them are complete.
    series
        The UID of the series to analyse (uid#group where one UID holds several volumes).
    formats
        Comma-separated: csv, json, maps, overlay, html, sr, seg. By default all but sr and seg; naming only those
        two adds them, naming any other writes what is named.
    show_identifiers
        Put the patient's name and ID on report.html.
    overwrite
        Replace an earlier result in the output folder, once the new one is complete.
    explain
        Compute the heat maps.
    """
    from pipelines.cli.show import report_text
    from pipelines.predict import analyse_to_folder

    with progress(voice) as reporter:
        result, files = analyse_to_folder(
            path,
            output,
            formats=chosen_formats(formats),
            show_identifiers=show_identifiers,
            overwrite=overwrite,
            series=series,
            explain=explain,
            on_stage=reporter.stage,
            **analysis.to_options(),
        )
    named = {name: str(file) for name, file in files.items()}
    tell(
        voice,
        {"output": str(output), "files": named, "report": result.report.to_json()},
        lambda: report_text(result.report, files),
    )
    return 0
