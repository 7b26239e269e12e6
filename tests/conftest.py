"""Shared by all tests: where the real data lies, and which skips are not allowed where everything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Before torch is loaded: several processes with as many threads each as there are cores wait for one another.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Real CTs, if a folder of them lies beside the checkout (see docs/results.md for what they are).
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What shares costly fixtures shares a process: the tests of a file; those of windows, which share a display."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "viewer" if nodeid.startswith("tests/viewer/") else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CTs; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real CTs is not beside this checkout")
    return SHARED_DATA


def require(available: object, what: str) -> None:
    """Skip a test whose tool is missing, or fail it where NODULUS_REQUIRE_ALL says that everything is installed."""
    if available:
        return
    if os.environ.get("NODULUS_REQUIRE_ALL"):
        pytest.fail(f"{what} is missing, and NODULUS_REQUIRE_ALL is set")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def require_tool():
    """The function `require`, for tests that need an external tool or an extra."""
    return require


#: What dciodvfy of 2022 says that is not held against us: text in its output -> why.
ALLOWED: dict[str, str] = {
    "would be needed to build DICOMDIR": "attributes that the CT itself leaves empty are copied as they are",
    "defined term <99NODULUS>": "it knows published coding schemes only; a private one begins with 99 (PS3.16 8.1)",
}


@pytest.fixture
def dciodvfy(require_tool):
    """A function that validates a file and returns what is left after the allow-list."""
    require_tool(shutil.which("dciodvfy"), "dciodvfy (dicom3tools)")

    def check(path) -> list[str]:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
        found = [line for line in lines if not any(text in line for text in ALLOWED)]
        return found + ([] if done.returncode == 0 else [f"exit code {done.returncode}"])

    return check
