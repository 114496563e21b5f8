"""How long it takes to lay out a grid; run with ``tox -e benchmarks``."""

from __future__ import annotations

from typing import Any

import pytest

from bench.config import load_config
from bench.data import open_source
from bench.models.info import ModelInfo
from bench.runs.plan import make_plan
from bench.tasks import SUITES

MODEL = ModelInfo("toy", "0" * 64, "encoder-decoder", bundled=False, note="")


@pytest.mark.parametrize("seeds", [2, 20])
def test_plan_and_name_cells(seeds: int, benchmark: Any) -> None:
    """1,000 and 10,000 cells: ten times as many should take about ten times as long."""
    config = load_config(
        options={
            "suites": [],
            "tasks": SUITES["paper"][:25],
            "methods": ["pt", "spot", "attempt", "mpt", "dtvg"],
            "shots": [4, 16, 32, "full"],
            "seeds": list(range(seeds)),
        }
    )
    source = open_source("bundled")
    plan = benchmark(lambda: [cell.digest for cell in make_plan(config, MODEL, source).cells])
    assert len(set(plan)) == 500 * seeds
