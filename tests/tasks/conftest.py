"""Reference numbers and real data slices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers computed once by the published code."""
    return TESTS / "reference"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data slices and reference texts, beside the checkout."""
    folder = Path(os.environ.get("BENCH_SHARED", TESTS.parents[1] / "shared"))
    if not folder.is_dir():
        pytest.skip("needs ../shared (real data slices), which is not part of the project")
    return folder
