"""Keeps napari alive when the network is loaded beside Mesa's drawing.

Mesa's software renderer and its AMD driver bring an LLVM library of their own. Triton, which PyTorch imports where it
is installed, brings another, and loading it second ends the whole process with a segmentation fault. Triton compiles
kernels for `torch.compile`; reading a CT needs none of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

#: What the kernel says of the libraries of this process; only Linux has it, and only there is the clash known.
MAPS = Path("/proc/self/maps")


def keep_triton_away() -> bool:
    """Let ``import triton`` fail as if it were not installed, where loading it would end the process.

    Call it before the first import of torch's compiler or of torchvision. Returns whether anything was done.
    """
    if sys.modules.get("triton") is not None or not _llvm_is_loaded():
        return False
    sys.modules["triton"] = None  # type: ignore[assignment]
    return True


def _llvm_is_loaded() -> bool:
    """Whether a graphics driver has loaded LLVM into this process."""
    try:
        return "libLLVM" in MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
