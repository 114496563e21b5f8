"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data slices and reference texts that lies beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (real data slices), which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Golden numbers that the methods' published code computed."""
    return Path(__file__).parent / "reference"
