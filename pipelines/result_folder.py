"""Where a result goes: a folder that appears complete or not at all, and never replaces one by something worse."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imaging.errors import OutputError, UsageError
from imaging.io.atomic import TEMPORARY_PREFIX, atomic_folder, output_error
from imaging.outputs.registry import WRITERS

if TYPE_CHECKING:
    from imaging.io import SeriesInfo

#: Written last and removed first: a folder with it holds a complete result.
MARK_OF_A_RESULT = "report.json"


@dataclass(frozen=True)
class Kind:
    """One kind of result that a folder can hold.

    Args:
        names: of all files that it may have.
        mark: the file that is written last and removed first.
    """

    names: frozenset[str]
    mark: str


#: What ``predict``, ``explain`` and ``batch`` write.
ANALYSIS: Final = Kind(frozenset(name for row in WRITERS.values() for name in row.files), MARK_OF_A_RESULT)


def result_files(folder: Path, kind: Kind = ANALYSIS) -> set[Path]:
    """The files in `folder` that belong to a result of this kind."""
    return {path for path in folder.iterdir() if path.name in kind.names} if folder.is_dir() else set()


def without_results(path: str | Path, infos: Iterable[SeriesInfo]) -> list[SeriesInfo]:
    """The series of a path without those that an earlier run wrote: maps and DICOM objects beside a report."""
    root = Path(path)

    def written(file: str) -> bool:
        return Path(file).name in ANALYSIS.names and (root / file).with_name(MARK_OF_A_RESULT).is_file()

    return [info for info in infos if not (root.is_dir() and info.files and all(map(written, info.files)))]


def check_new_folder(folder: Path, *, besides: str | None = None) -> None:
    """Refuse a place for a new folder that holds something already, before the long work begins.

    Args:
        folder: need not exist.
        besides: the name of the only thing that may be in it.

    Raises:
        OutputError: ``output.exists``.
    """
    if folder.exists() and not folder.is_dir():
        remedy = "give the name of a new folder; the file stays as it is"
        raise OutputError("output.exists", "a file has this name", where=folder, remedy=remedy)
    if folder.is_dir() and any(path.name != besides for path in folder.iterdir()):
        raise OutputError("output.exists", "the folder exists and is not empty", where=folder)


def check_result_folder(folder: str | Path, *, overwrite: bool = False, kind: Kind = ANALYSIS) -> None:
    """Refuse a place that `result_folder` would refuse; call it before the long work begins.

    Raises:
        UsageError: ``usage.output_exists`` for a file of that name, or for an earlier result, unless `overwrite`.
        OutputError: ``output.not_writable``.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        remedy = "name a folder; the file stays as it is"
        raise UsageError("usage.output_exists", "a file has this name", where=target, remedy=remedy)
    ours = result_files(target, kind)
    if ours and not overwrite:
        raise UsageError(
            "usage.output_exists", f"the folder holds {len(ours)} files of an earlier result", where=target
        )
    place = next(path for path in (target, *target.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError("output.not_writable", f"no permission to write into {place}", where=target)


@contextmanager
def result_folder(folder: str | Path, *, overwrite: bool = False, kind: Kind = ANALYSIS) -> Iterator[Path]:
    """A temporary folder whose files become those of `folder` when the block ends without an error.

    A folder that is new, empty or holds nothing but an earlier result is exchanged in one step. In a folder with other
    files (which are never touched) each new file is put in place whole, the mark of its kind last, and files of the
    earlier result that the new one lacks are removed.

    Raises:
        UsageError: see `check_result_folder`.
        OutputError: the folder cannot be written; what was there before is still there.
    """
    check_result_folder(folder, overwrite=overwrite, kind=kind)
    target = Path(folder)
    ours = result_files(target, kind)
    if _can_be_exchanged(target, ours):
        with atomic_folder(target, replace=bool(ours)) as unfinished:
            yield unfinished
    else:
        with _inside(target) as unfinished:
            yield unfinished
            _move_in(unfinished, target, kind)


def _can_be_exchanged(target: Path, ours: set[Path]) -> bool:
    if not target.exists():
        return True
    parent = target.resolve().parent
    return set(target.iterdir()) == ours and not target.is_mount() and os.access(parent, os.W_OK)


@contextmanager
def _inside(target: Path) -> Iterator[Path]:
    """A hidden folder in `target` itself, so that moving files out of it is one step of the file system."""
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=target))
    except OSError as error:
        raise output_error(error, target) from error
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _move_in(unfinished: Path, target: Path, kind: Kind) -> None:
    new = sorted(unfinished.iterdir(), key=lambda path: path.name == kind.mark)
    try:
        (target / kind.mark).unlink(missing_ok=True)
        for stale in result_files(target, kind) - {target / path.name for path in new}:
            stale.unlink()
        for path in new:
            path.replace(target / path.name)
    except OSError as error:
        raise output_error(error, target) from error
