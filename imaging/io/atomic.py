"""Files and folders that appear whole or not at all.

Everything is written under a temporary name in the same folder, flushed to the disk and then renamed, so that a reader,
a crash, Ctrl-C or a full disk never sees half a result.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from imaging.errors import OutputError

#: What the name of everything unfinished begins with; such a file or folder can be deleted when no run is under way.
TEMPORARY_PREFIX = ".nodulus-unfinished-"

_CODES = {
    errno.ENOSPC: "output.disk_full",
    errno.EDQUOT: "output.disk_full",
    errno.EFBIG: "output.disk_full",
    errno.EACCES: "output.not_writable",
    errno.EPERM: "output.not_writable",
    errno.EROFS: "output.not_writable",
    errno.ENOTDIR: "output.not_writable",
    errno.EISDIR: "output.not_writable",
    errno.ENAMETOOLONG: "output.not_writable",
    errno.EEXIST: "output.exists",
    errno.ENOTEMPTY: "output.exists",
}


#: numpy's words for a write that ended half-way, its only sign of a full disk: the error has no number.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


def output_error(error: OSError, path: Path) -> OutputError:
    """The refusal that says what an `OSError` while writing `path` means."""
    number = errno.ENOSPC if error.errno is None and _SHORT_WRITE.search(str(error)) else error.errno or 0
    code = _CODES.get(number, "output.failed")
    return OutputError(code, error.strerror or str(error) or type(error).__name__, where=path)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffixes, that becomes `path` when the block ends without an error.

    Missing parent folders are made, and go again if the block fails. A file that is there already stays untouched until
    the new one is complete. If `path` is a symbolic link, the file that it names is replaced.

    Raises:
        OutputError: ``output.disk_full``, ``output.not_writable`` or ``output.failed``; nothing half-written is left.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as unfinished:
    ...     _ = unfinished.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    target = Path(os.path.realpath(path))
    with as_output_errors(target), _inside(target.parent):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        unfinished = _temporary_name(target)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield unfinished
            _flush(unfinished)
            unfinished.replace(target)
            _flush(target.parent)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write a whole file at once; see `atomic_path`.

    Raises:
        OutputError: ``output.disk_full``, ``output.not_writable`` or ``output.failed``.
    """
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write a whole UTF-8 text at once, with newlines as they are; see `atomic_path`."""
    write_bytes(path, content.encode("utf-8"))


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path`, with all it holds, when the block ends without an error.

    Args:
        path: the folder that is to appear; an empty folder of this name counts as absent.
        replace: whether a folder that is there already gives way (it is moved aside, then deleted).

    Raises:
        OutputError: ``output.exists``, ``output.disk_full``, ``output.not_writable`` or ``output.failed``.
    """
    target = Path(os.path.realpath(path))
    with as_output_errors(target), _inside(target.parent):
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file has this name")
        if not replace and target.is_dir() and any(target.iterdir()):
            raise FileExistsError(errno.EEXIST, "the folder exists and is not empty")
        unfinished = _temporary_name(target)
        unfinished.mkdir()
        try:
            yield unfinished
            for folder, _, names in os.walk(unfinished):
                for name in names:
                    _flush(Path(folder) / name)
                _flush(Path(folder))
            _swap_in(unfinished, target, replace=replace)
            _flush(target.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it that are missing; where the block fails, those that are empty go again."""
    made = list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{place.name} is a file, not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):
                each.rmdir()
        raise


def _swap_in(unfinished: Path, target: Path, *, replace: bool) -> None:
    if not (replace and target.exists()):
        unfinished.replace(target)
        return
    aside = _temporary_name(target)
    target.replace(aside)
    try:
        unfinished.replace(target)
    except BaseException:
        aside.replace(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _temporary_name(target: Path) -> Path:
    """A name nobody has, hidden, that ends as the target does (writers choose the format by the suffix)."""
    suffix = "".join(target.suffixes)[-32:]
    return target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{suffix}")


def _flush(path: Path) -> None:
    """Put a file's or folder's bytes on the disk, where the file system can do so."""
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def as_output_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `target`'s folder into `OutputError`; others pass through."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str | bytes) and not _is_near(error.filename, target):
            raise
        raise output_error(error, target) from error


def _is_near(filename: str | bytes, target: Path) -> bool:
    """Whether `filename` lies in the target's folder or is one of the folders above it."""
    place = Path(os.path.realpath(os.fsdecode(filename)))
    return place.is_relative_to(target.parent) or target.is_relative_to(place)
