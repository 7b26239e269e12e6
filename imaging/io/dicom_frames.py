"""The stored words of slices: files checked against their headers, then read once each, by several threads.

Everything is checked before anything large is allocated or decoded: the layout, the declared size against the file's,
the number of voxels against the limit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np

from imaging.errors import InputError, Notice
from imaging.io import dicom_codecs
from imaging.io.dicom_pixels import PixelLayout, Stored, layout
from imaging.io.dicom_slices import DicomFile, Slice, damaged
from imaging.io.dicom_stream import ByteStream, Inflated, open_dataset
from imaging.io.dicom_tags import DEFLATED, NATIVE_SYNTAXES


def check_file(one: Slice) -> Notice | None:
    """Refuse a file whose pixel data cannot be what its header says, before it is read.

    Raises:
        InputError: ``dicom.transfer_syntax``, ``dicom.pixel_format``, ``dicom.damaged``, ``input.too_large`` and those
            of `layout`.
    """
    file, form = one.file, layout(one)
    frames = one.whole("NumberOfFrames") if one.get("NumberOfFrames") else 1
    if frames > 1 and one.frame_number is None:
        raise InputError(
            "dicom.pixel_format", f"NumberOfFrames is {frames}, but nothing says where each frame lies", where=one.name
        )
    file.entry.limits.check_voxels(frames, form.rows, form.columns, where=file.name)
    if file.transfer_syntax not in NATIVE_SYNTAXES:
        dicom_codecs.check_syntax(file.transfer_syntax, form.bits_stored, file.name)
        return None
    return _check_native_size(file, form, frames)


def _check_native_size(file: DicomFile, form: PixelLayout, frames: int) -> Notice | None:
    need, declared, at = frames * form.frame_bytes, file.pixel_bytes, file.pixels_at or 0
    what = f"{frames} x {form.rows} x {form.columns} x {form.bits_allocated} bits"
    if declared is None:
        raise InputError("dicom.pixel_format", "native pixel data of undefined length", where=file.name)
    if declared < need:
        raise InputError(
            "dicom.pixel_format", f"{what} are {need:,} bytes, PixelData has {declared:,}", where=file.name
        )
    present = file.entry.size - file.dataset_at - at
    if file.transfer_syntax != DEFLATED and present < declared:
        raise damaged(
            f"PixelData should have {declared:,} bytes, the file holds {max(present, 0):,} of them", file.name
        )
    excess = declared - need
    if excess >= form.columns * form.bits_allocated // 8 and excess > 1:
        raise InputError(
            "dicom.pixel_format", f"{what} are {need:,} bytes, PixelData has {declared:,}", where=file.name
        )
    return Notice("pixels.excess", f"{file.name}: {excess} bytes more than needed") if excess > 1 else None


def read_frames(
    slices: Sequence[Slice],
    use: Callable[[int, Stored, PixelLayout], None],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Read and decode slices, each file once, and hand each to `use` as (number in `slices`, stored words, layout).

    Files are read by several threads; `use` must be able to run in them. `on_progress` runs in the caller's.

    Raises:
        InputError: ``dicom.damaged``, ``dicom.pixel_format``, ``dicom.transfer_syntax`` and what `use` raises.
    """
    jobs: dict[int, list[int]] = {}
    for number, one in enumerate(slices):
        jobs.setdefault(id(one.file), []).append(number)

    def read_file(numbers: list[int]) -> int:
        numbers = sorted(numbers, key=lambda number: slices[number].frame)
        form = layout(slices[numbers[0]])
        frames = [slices[number].frame for number in numbers]
        for number, stored in zip(numbers, _frames(slices[numbers[0]], form, frames), strict=True):
            use(number, stored, form)
        return len(numbers)

    def told(results: Iterable[int]) -> None:
        done = 0
        for count in results:
            done += count
            if on_progress is not None:
                on_progress(done, len(slices))

    workers = min(4, os.cpu_count() or 1, len(jobs))
    if workers < 2:
        told(read_file(numbers) for numbers in jobs.values())
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(read_file, numbers) for numbers in jobs.values()]
        try:
            told(future.result() for future in futures)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _frames(one: Slice, form: PixelLayout, frames: Sequence[int]) -> Iterable[Stored]:
    """The stored words of some frames of one file, in ascending order of the frames."""
    file = one.file
    if file.transfer_syntax in NATIVE_SYNTAXES:
        yield from _native_frames(file, form, frames)
        return
    with closing(open_dataset(file.entry, file.dataset_at, file.transfer_syntax)) as stream:
        stream.seek(file.pixels_at or 0, os.SEEK_CUR)
        value = stream.read(file.entry.size)
    total = one.whole("NumberOfFrames") if one.get("NumberOfFrames") else 1
    codestreams = dicom_codecs.frames_of(value, total, file.name)
    for frame in frames:
        yield dicom_codecs.decode(codestreams[frame], file.transfer_syntax, form, file.name)


def _native_frames(file: DicomFile, form: PixelLayout, frames: Sequence[int]) -> Iterable[Stored]:
    word = np.dtype(f"u{form.bits_allocated // 8}").newbyteorder("<" if file.little_endian else ">")
    with closing(open_dataset(file.entry, file.dataset_at, file.transfer_syntax)) as stream:
        stream.seek(file.pixels_at or 0, os.SEEK_CUR)
        at = 0
        for frame in frames:
            if frame != at:
                stream.seek((frame - at) * form.frame_bytes, os.SEEK_CUR)
            raw = np.empty((form.rows, form.columns), dtype=word)
            _fill(stream, raw.reshape(-1).view(np.uint8).data, file.name)
            at = frame + 1
            yield raw if raw.dtype.isnative else raw.astype(word.newbyteorder("="))
        if isinstance(stream, Inflated):
            stream.finish()


def _fill(stream: ByteStream, buffer: memoryview, name: str) -> None:
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])
        if not count:
            raise damaged(f"PixelData ends after {filled:,} of a frame's {len(buffer):,} bytes", name)
        filled += count
