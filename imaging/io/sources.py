"""A path becomes entries: the files in a folder, the members of a zip, or one file; nothing is unpacked to the disk.

What is found is not yet judged: an `Entry` can be anything; `imaging.io.formats` says what it looks like. Here stand
the guards that do not depend on the format: pipes and devices are not opened, links that lead in circles are walked
once, and hostile archives are refused (`imaging.io.archives`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from imaging.errors import InputError, Notice, printable
from imaging.io.archives import ZIP_MAGIC, open_zip
from imaging.io.dicomdir import has_the_name, is_dicomdir, missing_files
from imaging.io.entries import Entry, disk_entry, file_entry, reason, too_many_files, unreadable
from imaging.io.limits import Limits

__all__ = ["Entry", "Limits", "Source", "is_dicomdir", "open_source"]

Kind = Literal["file", "folder", "zip"]


@dataclass(eq=False)
class Source:
    """What a path holds. A context manager: closing it closes the archives.

    Args:
        path: as given by the caller.
        kind: ``file``, ``folder`` or ``zip``.
        entries: sorted by name; at least one.
        notices: what was not looked into, and why.
    """

    path: Path
    kind: Kind
    entries: tuple[Entry, ...]
    notices: tuple[Notice, ...] = ()
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Close what is open; entries of archives cannot be read after it."""
        self._closing.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: str | Path, *, limits: Limits | None = None) -> Source:
    """The entries that a file, a folder (at any depth) or a zip holds.

    A DICOMDIR is only a hint: given as the path it stands for its folder, and within a folder it is passed over; files
    that it names and that are not there are told (``source.dicomdir``). Zips within folders and zips are looked into to
    the depth of `Limits.nesting`.

    Raises:
        InputError: ``input.missing``, ``input.empty``, ``input.unreadable``, ``input.too_large`` and ``archive.*``.
    """
    limits = Limits() if limits is None else limits
    if path == "":  # pathlib would take it for the current folder
        raise InputError("input.missing", "the path is empty")
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("input.missing", "there is no file or folder of this name", where=printable(path)) from error
    except (OSError, ValueError) as error:
        raise unreadable(error, printable(path)) from error
    with ExitStack() as closing:
        kind, entries, notices = _contents(path, mode, limits, closing)
        directories = [entry for entry in entries if has_the_name(entry.name)]
        entries = [entry for entry in entries if not has_the_name(entry.name)]
        notices += missing_files(directories, entries)
        if not entries:
            raise _nothing(path, notices)
        entries.sort(key=lambda entry: entry.name)
        return Source(path, kind, tuple(entries), tuple(notices), closing.pop_all())


def _nothing(path: Path, notices: list[Notice]) -> InputError:
    """The refusal of a source without entries; what was skipped says why, and what to do."""
    reasons = "; ".join(notice.message for notice in notices[:3])
    remedy = None
    if any("NODULUS_MAX_NESTING" in notice.message for notice in notices):
        remedy = "unpack the outer archive and give the inner one, or raise NODULUS_MAX_NESTING"
    elif any(notice.code == "source.dicomdir" for notice in notices):
        remedy = "a DICOMDIR is only a list: copy the whole medium, with the folders of images that it names"
    elif notices:
        remedy = "see to what was passed over (its permissions, where its links lead), or give a path that holds a CT"
    text = f"no file in it{': ' + reasons if reasons else ''}"
    return InputError("input.empty", text, where=printable(path), remedy=remedy)


def _contents(path: Path, mode: int, limits: Limits, closing: ExitStack) -> tuple[Kind, list[Entry], list[Notice]]:
    notices: list[Notice] = []
    if stat.S_ISDIR(mode):
        files = _look_into_archives(walk_folder(path, limits, notices), 0, limits, closing, notices)
        return "folder", files, notices
    entry = file_entry(path, path.name, limits)
    if entry.size == 0:
        raise InputError("input.empty", "the file has no bytes", where=printable(path))
    head = entry.head()
    if head.startswith(ZIP_MAGIC):
        members = open_zip(entry, limits, closing)
        return "zip", _look_into_archives(members, 0, limits, closing, notices), notices
    if is_dicomdir(entry.name, head):
        return _contents(path.parent, stat.S_IFDIR, limits, closing)
    return "file", [entry], notices


def _look_into_archives(
    found: Iterable[Entry], depth: int, limits: Limits, closing: ExitStack, notices: list[Notice]
) -> list[Entry]:
    """The entries, each zip among them replaced by its members; one that is unsafe or too deep becomes a notice."""
    entries: list[Entry] = []
    for entry in found:
        if not _is_zip(entry):
            entries.append(entry)
        elif depth >= limits.nesting:
            notices.append(
                Notice("source.skipped", f"{entry.name}: an archive at depth {depth + 1} (NODULUS_MAX_NESTING)")
            )
        else:
            try:
                members = open_zip(entry, limits, closing, prefix=f"{entry.name}/")
            except InputError as error:
                notices.append(Notice("source.skipped", f"{entry.name}: {error.code}: {error.message}"))
                continue
            entries.extend(_look_into_archives(members, depth + 1, limits, closing, notices))
        if len(entries) > limits.files:
            raise too_many_files(limits, entry.name)
    return entries


def _is_zip(entry: Entry) -> bool:
    with suppress(InputError):
        return entry.size >= 22 and bool(entry.head(4).startswith(ZIP_MAGIC))
    return False


def walk_folder(root: Path, limits: Limits, notices: list[Notice]) -> Iterable[Entry]:
    """Every ordinary file at or below `root`, links followed, each folder once.

    Raises:
        InputError: ``input.unreadable`` for the root itself; ``input.too_large`` beyond `Limits.files`.
    """
    found: list[Entry] = []
    seen: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                items = list(listing)
        except OSError as error:
            if folder is root:
                raise unreadable(error, printable(root)) from error
            notices.append(Notice("source.skipped", f"{printable(prefix)}: {reason(error)}"))
            continue
        for item in items:
            _sort_item(item, prefix, waiting, found, limits, notices)
        if len(found) > limits.files or len(seen) > limits.files:
            raise too_many_files(limits, printable(root))
    return found


def _sort_item(
    item: os.DirEntry[str],
    prefix: str,
    waiting: list[tuple[Path, str]],
    found: list[Entry],
    limits: Limits,
    notices: list[Notice],
) -> None:
    name = prefix + item.name
    try:
        status = item.stat()
    except OSError as error:
        notices.append(Notice("source.skipped", f"{printable(name)}: {reason(error)}"))
        return
    if stat.S_ISDIR(status.st_mode):
        waiting.append((Path(item.path), name + "/"))
    elif stat.S_ISREG(status.st_mode):
        found.append(disk_entry(Path(item.path), name, status.st_size, limits))
    else:
        notices.append(Notice("source.skipped", f"{printable(name)}: not an ordinary file"))
