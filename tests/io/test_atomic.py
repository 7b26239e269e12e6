"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imaging.errors import OutputError
from imaging.io.atomic import atomic_folder, atomic_path, write_bytes, write_text


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fail_half_way(path: Path, error: BaseException) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise error


def test_file_is_written_with_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "grün\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "grün\n".encode()
    assert tree(tmp_path) == ["a", "a/b", "a/b/c.txt"]


def test_the_unfinished_name_keeps_the_suffixes(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "map.nii.gz") as unfinished:
        assert unfinished.name.endswith(".nii.gz")
        assert unfinished.parent == tmp_path
        assert not (tmp_path / "map.nii.gz").exists()


def test_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"1")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(type(error)):
        fail_half_way(tmp_path / "a", error)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert tree(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "output.disk_full"),
        (errno.EDQUOT, "output.disk_full"),
        (errno.EACCES, "output.not_writable"),
        (errno.EROFS, "output.not_writable"),
        (errno.EIO, "output.failed"),
    ],
)
def test_what_the_system_refuses_has_a_code(tmp_path: Path, number: int, code: str) -> None:
    with pytest.raises(OutputError) as caught:
        fail_half_way(tmp_path / "a", OSError(number, os.strerror(number)))
    assert caught.value.code == code
    assert caught.value.where == str(tmp_path / "a")
    assert tree(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write itself fails, half-way."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from imaging.errors import OutputError\n"
        "from imaging.geometry import Grid\n"
        "from imaging.io.nifti import write_nifti\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "grid = Grid.from_spacing((50, 50, 50), spacing_mm=(1, 1, 1))\n"
        "array = np.random.default_rng(0).normal(size=grid.shape).astype('f4')\n"
        "for name in ('a.nii', 'a.nii.gz'):\n"
        "    try:\n"
        "        write_nifti(array, grid, Path(sys.argv[1]) / name)\n"
        "    except OutputError as error:\n"
        "        print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["output.disk_full"] * 2
    assert tree(tmp_path) == []


def test_an_error_about_another_file_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out" / "a"):
        (tmp_path / "elsewhere" / "absent").read_bytes()
    assert tree(tmp_path) == []


def test_numpy_tells_a_full_disk_without_a_number(tmp_path: Path) -> None:
    """As `numpy.ndarray.tofile` puts it where a disk of 4 kB is full."""
    with pytest.raises(OutputError) as caught:
        fail_half_way(tmp_path / "a", OSError("30000 requested and 4064 written"))
    assert caught.value.code == "output.disk_full"


@pytest.mark.parametrize("place", [atomic_folder, atomic_path])
def test_folders_above_go_again_if_the_block_fails_and_nobody_else_uses_them(tmp_path: Path, place) -> None:
    (tmp_path / "old").mkdir()
    for error in (KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")):
        with pytest.raises((KeyboardInterrupt, OutputError)), place(tmp_path / "old" / "new" / "deep" / "a"):
            raise error
        assert tree(tmp_path) == ["old"]

    def fail_beside() -> None:
        with place(tmp_path / "old" / "new" / "deep" / "a"):
            (tmp_path / "old" / "new" / "other").write_text("somebody else's")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_beside()
    assert tree(tmp_path) == ["old", "old/new", "old/new/other"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_never_takes_the_place_of_a_file(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "marks.csv").write_text("precious")
    with (
        pytest.raises(OutputError, match="a file has this name"),
        atomic_folder(tmp_path / "marks.csv", replace=replace),
    ):
        raise AssertionError("nothing may begin")
    assert tree(tmp_path) == ["marks.csv"]


@pytest.mark.parametrize("place", [atomic_folder, atomic_path])
def test_a_file_in_the_way_is_not_called_a_result(tmp_path: Path, place) -> None:
    (tmp_path / "marks.csv").write_text("precious")
    with (
        pytest.raises(OutputError, match=r"marks\.csv is a file, not a folder") as caught,
        place(tmp_path / "marks.csv" / "a"),
    ):
        pass
    assert caught.value.code == "output.not_writable"
    assert "remove" not in caught.value.remedy
    assert (tmp_path / "marks.csv").read_text() == "precious"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path / "a", b"1")
    assert caught.value.code == "output.not_writable"


def test_a_link_keeps_being_a_link(tmp_path: Path) -> None:
    write_bytes(tmp_path / "real", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "case") as unfinished:
        (unfinished / "sub").mkdir()
        (unfinished / "sub" / "a").write_text("1")
        assert not (tmp_path / "case").exists()
    assert tree(tmp_path) == ["case", "case/sub", "case/sub/a"]


def test_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "case") as unfinished:
            (unfinished / "a").write_text("1")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError) as caught:
        fail()
    assert caught.value.code == "output.disk_full"
    assert tree(tmp_path) == []


def test_folder_that_exists(tmp_path: Path) -> None:
    write_text(tmp_path / "case" / "old", "1")
    with pytest.raises(OutputError) as caught, atomic_folder(tmp_path / "case"):
        pass
    assert caught.value.code == "output.exists"
    with atomic_folder(tmp_path / "case", replace=True) as unfinished:
        (unfinished / "new").write_text("2")
    assert tree(tmp_path) == ["case", "case/new"]


def test_empty_folder_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    with atomic_folder(tmp_path / "case") as unfinished:
        (unfinished / "a").write_text("1")
    assert tree(tmp_path) == ["case", "case/a"]
