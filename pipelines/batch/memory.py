"""How many cases fit into memory at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: What one worker needs before any CT: interpreter, libraries, model. Measured by benchmarks/predict.py.
WORKER_BYTES: Final = 1_000_000_000

#: What each voxel of the CT costs at the peak: the CT, masks, two maps and what computing them takes. Measured there.
BYTES_PER_VOXEL: Final = 30

_CGROUP = Path("/sys/fs/cgroup")


def estimate_bytes(voxels: int) -> int:
    """Peak memory of analysing a CT of so many voxels, in bytes."""
    return WORKER_BYTES + BYTES_PER_VOXEL * voxels


def available_bytes() -> int | None:
    """What can be used without swapping, within the container's limit; None where the system does not say."""
    limits = [value for value in (_meminfo(), _cgroup()) if value is not None]
    return min(limits) if limits else None


def fitting_jobs(asked: int, largest_voxels: int, available: int | None) -> int:
    """At most `asked` jobs, so many as fit at the size of the largest case; at least one."""
    if available is None:
        return max(1, asked)
    return max(1, min(asked, available // estimate_bytes(largest_voxels)))


def _meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None


def _cgroup() -> int | None:
    """Room under the container's limit (cgroup v2); the page cache counts as room."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(stat.get("inactive_file", 0))
