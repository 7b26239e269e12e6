"""Archives of kinds that are not looked into, told by their first bytes, so that a refusal can say what to do."""

from __future__ import annotations

#: Place of the magic bytes, the bytes, what the file is.
_KINDS = (
    (257, b"ustar", "a tar archive"),
    (0, b"\x1f\x8b", "a gzip file that holds no NIfTI"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a rar archive"),
)


def foreign_archive(head: bytes) -> str | None:
    """What kind of packed file begins like this, or None if it is none."""
    return next((kind for at, magic, kind in _KINDS if head.startswith(magic, at)), None)
