"""How long a grid takes to lay out and its results to read, as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.config import load_config
from bench.data import open_source
from bench.models.info import ModelInfo
from bench.reports import load_results, render_tables
from bench.runs.cells import Cell
from bench.runs.plan import make_plan
from bench.tasks import SUITES

MODEL = ModelInfo("toy", "0" * 64, "encoder-decoder", bundled=False, note="")


def lay_out(seeds: int) -> tuple[Cell, ...]:
    """500 cells for each seed, with their digests."""
    config = load_config(
        options={
            "suites": [],
            "tasks": SUITES["paper"][:25],
            "methods": ["pt", "spot", "attempt", "mpt", "dtvg"],
            "shots": [4, 16, 32, "full"],
            "seeds": list(range(seeds)),
        }
    )
    cells = make_plan(config, MODEL, open_source("bundled")).cells
    assert len({cell.digest for cell in cells}) == 500 * seeds
    return cells


def test_plan_and_name_cells(benchmark: Any, in_turn: Any, report: Any) -> None:
    """10,000 cells: at most 2 s, and about ten times as long as 1,000."""
    few, many = benchmark.pedantic(
        lambda: in_turn([lambda: lay_out(2), lambda: lay_out(20)], 3), rounds=1
    )
    report(seconds_for_10000=many.medians(), over_1000=many.over(few))


def test_table(
    tmp_path: Path,
    store_records: Callable[[Path, Iterable[Cell]], None],
    benchmark: Any,
    in_turn: Any,
    report: Any,
) -> None:
    """From 10,000 records: at most 10 s, and about ten times as long as from 1,000."""

    def table(folder: Path) -> None:
        results = load_results(folder)
        assert not results.warnings
        render_tables(results, "markdown")

    cells = lay_out(20)
    folders = [tmp_path / "few", tmp_path / "many"]
    store_records(folders[0] / "records", cells[:1_000])
    store_records(folders[1] / "records", cells)
    actions = [lambda: table(folders[0]), lambda: table(folders[1])]
    few, many = benchmark.pedantic(lambda: in_turn(actions, 2), rounds=1)
    report(seconds_for_10000=many.medians(), over_1000=many.over(few))
