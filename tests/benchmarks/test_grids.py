"""How long 10,000 runs take to lay out, and their records to become a table."""

from functools import partial
from pathlib import Path
from typing import Any

from bench.config import RunConfig, load_config
from bench.grid import Grid, make_grid
from bench.record import read_record, write_record
from bench.reports.frame import load_results
from bench.reports.tables import render_tables
from bench.store import ResultStore
from bench.tasks import SUITES

GOLDEN = Path(__file__).parents[1] / "reports/golden/records/mrpc-pt-16-42-116a5c186f16.json"
METHODS = ["pt", "spot", "attempt", "mpt", "dtvg"]
SEEDS = 20
"""500 runs each."""


def configuration() -> RunConfig:
    options = {"suites": [], "tasks": SUITES["paper"][:25], "methods": METHODS}
    options |= {"shots": [4, 16, 32, "full"], "seeds": list(range(SEEDS))}
    return load_config(options=options)


def store_records(grid: Grid, folder: Path) -> None:
    """Write a finished record for each run of a grid, with made-up scores."""
    golden = read_record(GOLDEN)
    for run in grid.reported.values():
        score = int(run.id[:8], 16) / 2**32 * 100
        scores = golden.scores.model_copy(update={"test": {"accuracy": score, "f1": score / 2}})
        block = run.protocol.model_copy(update={"model": golden.run.model})
        changes = {"id": run.id, "run": block, "scores": scores, "predictions": None}
        record = golden.model_copy(update=changes)
        write_record(record, folder / record.file_name)


def test_make_grid(tmp_path: Path, seconds: Any) -> None:
    lay_out = partial(make_grid, configuration(), ResultStore(tmp_path))
    assert len(lay_out().ids) == 500 * SEEDS
    seconds(lay_out, rounds=3, most=2)


def test_table(tmp_path: Path, seconds: Any) -> None:
    def table() -> None:
        results = load_results(tmp_path)
        assert len(results.records) == 500 * SEEDS
        assert not results.warnings
        text = render_tables(results, "markdown")
        assert all(f"| {method} " in text for method in METHODS)

    store_records(make_grid(configuration(), ResultStore(tmp_path)), tmp_path / "records")
    seconds(table, rounds=2, most=10)
