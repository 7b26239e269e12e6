"""``nodulus prepare``: one command for each kind of collection that has a label for a whole scan."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from pipelines.allowed import READERS, SHARE, SUBSET
from pipelines.cli.options import OutputFolder, Seed, Voice, number, split_commas
from pipelines.cli.speak import progress, tell
from pipelines.cli.table import PREPARATIONS

if TYPE_CHECKING:
    from pipelines.preparation.collected import Collected

Words = Annotated[tuple[str, ...], Parameter(converter=split_commas, n_tokens=1, negative="", accepts_keys=False)]


@Parameter(name="*")
@dataclass(frozen=True)
class Split:
    """Who trains and who validates, and where the truth goes."""

    truth: Path | None = None
    """A new folder for what says where nodules lie, apart from the output. By default OUTPUT-truth."""

    val: Annotated[float, number(SHARE)] = 0.2
    """Share of the patients to validate on, chosen by a hash of each."""

    seed: Seed = 0
    """Of that choice."""

    splits: Path | None = None
    """A CSV of patient (or seriesuid) and split (train, val, test) that decides instead; test stays out of training."""


def make_app() -> App:
    """``nodulus prepare`` with its commands, none of them imported yet."""
    prepare = App(name="prepare", help="Turn scans and labels into training cases, the truth kept apart.")
    for command in PREPARATIONS:
        prepare.command(command.target, name=command.name, help=command.summary)
    return prepare


app = make_app()


def lidc(
    folder: Path,
    /,
    *,
    output: OutputFolder,
    min_readers: Annotated[int, number(READERS)] = 3,
    annotations: Path | None = None,
    split: Split = Split(),
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """LIDC-IDRI as downloaded: PATIENT/STUDY/SERIES with *.dcm and the readers' *.xml.

    Parameters
    ----------
    folder
        A folder above the patients' folders.
    output
        A new folder: manifest.csv for 'nodulus train', uncertain.csv, lineage.json, links to the images.
    min_readers
        So many of the four readers must have outlined one nodule of 3 mm or more.
    annotations
        Folder with the XML files, where they were downloaded apart from the images.
    """
    from pipelines.preparation.lidc_scans import collect_lidc

    options = {"min_readers": min_readers, "annotations": annotations and str(annotations)}
    return _prepare(
        lambda hear: collect_lidc(folder, min_readers=min_readers, annotations=annotations, on_progress=hear),
        output,
        split,
        options,
        voice,
    )


def luna16(
    folder: Path,
    /,
    *,
    output: OutputFolder,
    val_subsets: Words = (),
    split: Split = Split(),
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """LUNA16 as downloaded: subset0 ... subset9 with *.mhd, and annotations.csv.

    Parameters
    ----------
    folder
        Holds the subsets and annotations.csv; candidates and annotations_excluded.csv are used if they are there.
    output
        A new folder: manifest.csv for 'nodulus train', uncertain.csv, lineage.json.
    val_subsets
        Numbers of the subsets to validate on, such as 9 or 8,9, instead of a hash.
    """
    from pipelines.preparation.luna16 import collect_luna16

    numbers = [int(SUBSET.read("each of --val-subsets", text)) for text in val_subsets]
    return _prepare(
        lambda hear: collect_luna16(folder, val_subsets=numbers, on_progress=hear),
        output,
        split,
        {"val_subsets": numbers},
        voice,
    )


def nlst(
    folder: Path,
    /,
    *,
    output: OutputFolder,
    abnormalities: Path,
    screens: Path | None = None,
    split: Split = Split(),
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """NLST as downloaded: PID/STUDY/SERIES with *.dcm, and the trial's tables of CT abnormalities and screens.

    Parameters
    ----------
    folder
        A folder above the participants' folders.
    output
        A new folder: manifest.csv for 'nodulus train', uncertain.csv, lineage.json.
    abnormalities
        The table nlst_*_ctab_*.csv: pid, study_yr, sct_ab_desc and so on.
    screens
        The table nlst_*_screen_*.csv; it tells an exam without abnormalities from one that nobody read.
    """
    from pipelines.preparation.nlst import collect_nlst

    options = {"abnormalities": str(abnormalities), "screens": screens and str(screens)}
    return _prepare(
        lambda hear: collect_nlst(folder, abnormalities=abnormalities, screens=screens, on_progress=hear),
        output,
        split,
        options,
        voice,
    )


def csv_table(
    table: Path,
    /,
    *,
    output: OutputFolder,
    path_column: str = "path",
    label_column: str = "label",
    text_column: str = "",
    patient_column: str = "",
    series_column: str = "",
    split_column: str = "",
    positive: Words = (),
    negative: Words = (),
    split: Split = Split(),
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """A table of your own: the path of a CT and whether it shows a nodule, a row.

    Every path is opened and every row checked; what cannot be used is left out, with its reason in lineage.json.

    Parameters
    ----------
    table
        A CSV with a header. Paths are relative to it.
    output
        A new folder: manifest.csv for 'nodulus train', uncertain.csv (rows without a label), lineage.json.
    path_column
        Column of the path: a folder or zip of DICOM, NIfTI, MetaImage, NRRD.
    label_column
        Column of the label.
    text_column
        Column of a report, whose attributes go along with the label.
    patient_column
        Column that is the same for all CTs of one patient. By default the DICOM header's.
    series_column
        Column of the series UID.
    split_column
        Column of train, val or test.
    positive
        Words for a nodule, separated by commas. By default 1, yes, true, positive.
    negative
        Words for none. By default 0, no, false, negative.
    """
    from pipelines.preparation.hospital import Columns, collect_csv

    words = {"positive": positive, "negative": negative}
    given = {name: frozenset(word.lower() for word in each) for name, each in words.items() if each}
    columns = Columns(path_column, label_column, text_column, patient_column, series_column, split_column, **given)
    return _prepare(
        lambda hear: collect_csv(table, columns, on_progress=hear), output, split, {"columns": _plain(columns)}, voice
    )


def reports(
    table: Path,
    /,
    *,
    output: OutputFolder,
    path_column: str = "path",
    text_column: str = "text",
    patient_column: str = "",
    series_column: str = "",
    split_column: str = "",
    split: Split = Split(),
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """A table of your own: the path of a CT and the text of its report, English or Chinese, a row.

    Parameters
    ----------
    table
        A CSV with a header. Paths are relative to it.
    output
        A new folder: manifest.csv for 'nodulus train', labels.csv (what was read out of each report, with SNOMED CT and
        RadLex codes), uncertain.csv (reports that neither affirm nor deny a nodule), lineage.json.
    path_column
        Column of the path: a folder or zip of DICOM, NIfTI, MetaImage, NRRD.
    text_column
        Column of the report.
    patient_column
        Column that is the same for all CTs of one patient. By default the DICOM header's.
    series_column
        Column of the series UID.
    split_column
        Column of train, val or test.
    """
    from pipelines.preparation.hospital import Columns, collect_reports

    columns = Columns(path_column, "", text_column, patient_column, series_column, split_column)
    return _prepare(
        lambda hear: collect_reports(table, columns, on_progress=hear),
        output,
        split,
        {"columns": _plain(columns)},
        voice,
    )


def _plain(columns: Any) -> dict[str, Any]:
    return {name: sorted(v) if isinstance(v, frozenset) else v for name, v in vars(columns).items() if v}


def _prepare(
    collect: Callable[[Callable[[int, int], None]], Collected],
    output: Path,
    split: Split,
    options: dict[str, Any],
    voice: Voice,
) -> int:
    """Collect, write both folders, and say what became of every scan."""
    from pipelines.preparation.prepared_folder import MANIFEST, Destination, write_prepared

    to = Destination(output, split.truth, split.val, split.seed, split.splits)
    to.check()
    with progress(voice) as reporter:
        collected = collect(lambda done, total: reporter.stage("collecting", done, total))
        lineage = write_prepared(collected, to, options)
    facts = {"output": str(output), "manifest": str(output / MANIFEST), "truth": str(to.truth_folder), **lineage}
    for warning in lineage["warnings"]:
        print(f"nodulus: {warning['code']}: {warning['message']}", file=sys.stderr, flush=True)
    tell(voice, facts, lambda: _text(facts))
    return 0


def _text(facts: dict[str, Any]) -> str:
    from pipelines.cli.show import table

    counts = facts["counts"]
    header = ("split", "with a nodule", "without", "patients")
    rows = [(s, c["with_nodule"], c["without"], c["patients"]) for s, c in counts.items() if isinstance(c, dict)]
    lines = [table(header, rows), f"labels: {facts['labels_mean']}"]
    for name in ("uncertain", "dropped"):
        because = "; ".join(f"{reason}: {number}" for reason, number in facts[f"{name}_because"].items())
        lines.append(f"{name}: {counts[name]}" + (f" ({because})" if because else ""))
    lines += [f"note: {note}" for note in facts["notes"]]
    lines.append(f"Train: nodulus train --manifest {facts['manifest']} -o RUN")
    lines.append(f"Truth, for evaluation only: {facts['truth']}")
    return "\n".join(lines)
