"""Golden cases of stage 2, and small task vectors that float32 arithmetic handles exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

ARCHIVE = Path(__file__).parents[1] / "reference" / "dtvg.npz"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that take a ``case`` once for each case of the reference file."""
    if "case" in metafunc.fixturenames:
        with np.load(ARCHIVE) as archive:
            names = sorted({key.partition("/")[0] for key in archive.files})
        metafunc.parametrize("case", names, indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    with np.load(ARCHIVE) as archive:
        keys = [key for key in archive.files if key.startswith(f"{request.param}/")]
        return {key.partition("/")[2]: torch.from_numpy(archive[key]) for key in keys}
