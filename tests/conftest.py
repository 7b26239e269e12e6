"""Shared by all tests: where the real data lies, and which skips are not allowed where everything is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Real CTs, if a folder of them lies beside the checkout (see docs/results.md for what they are).
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
