"""What fits into a budget: order, shared sources counted once, and runs that do just that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.config import RunConfig
from bench.errors import ConfigError
from bench.runs.cells import Training
from bench.runs.estimate.budget import blocks, in_order, parse_duration, pick
from bench.runs.estimate.costs import MERGED, Costs, Lines, Observation, training_kind
from bench.runs.estimate.estimate import Estimator, trainings_to_do
from bench.runs.estimate.loads import EvaluationLoad, TrainingLoad
from bench.runs.estimate.schedule import makespan
from bench.runs.estimate.sizes import FileSize, Sizes
from bench.runs.estimate.workload import Workload
from bench.runs.grid import Grid, lay_out
from bench.runs.results import ResultFolder

Configure = Callable[..., RunConfig]


class Loads:
    """Every training has 4 steps and one evaluation of 10 tokens; every test has 100."""

    def training(self, training: Training) -> TrainingLoad:
        return TrainingLoad(4, 50.0, 0.0, 1)

    def validation(self, training: Training) -> EvaluationLoad:
        return EvaluationLoad(rows=1, tokens=10)

    def test(self, training: Training) -> EvaluationLoad:
        return EvaluationLoad(rows=5, tokens=100)


def estimator(grid: Grid, workers: int = 1, **changes: Any) -> Estimator:
    """A training takes 4 seconds, in the source stage 40; a cell takes 1 second more."""
    kinds = {training_kind(training) for training in grid.plan.trainings.values()}
    values: dict[str, Any] = {
        "steps": Lines([Observation(k, (1.0, 0.0), 10.0 if k[1] else 1.0) for k in kinds]),
        "evaluations": Lines([Observation(MERGED, (1.0, 0.0, 0.0), 1.0)]),
        "per_training": 0.0,
        "per_evaluation": 0.0,
        "per_cell": 1.0,
        "start": 0.0,
        "sizes": Sizes(
            dict.fromkeys(kinds, 1000.0),
            {k: FileSize(100.0, 10.0) for k in kinds},
            {k: FileSize(200.0, 20.0) for k in kinds},
            3.0,
        ),
        "origin": "made up",
    }
    return Estimator(grid, cast(Workload, Loads()), Costs(**(values | changes)), workers)


@pytest.fixture
def grid(configure: Configure, tmp_path: Path) -> Grid:
    """Five methods on two tasks with two seeds, nothing done."""
    return lay_out(configure(), ResultFolder(tmp_path / "none"), "never")


def picked(grid: Grid, seconds: float, workers: int = 1) -> list[str]:
    cells = in_order(grid.work.cells, grid.config)
    chosen = pick(cells, estimator(grid, workers).units, workers, seconds)
    return [cell.training.describe() for cell in chosen]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h", 28800), ("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == parse_duration(f" {text} ") == seconds


@pytest.mark.parametrize(
    "text", ["", "8", "h", "8 hours", "-1h", "0s", "30m1h", "1e3s", "nan", "infh", "٣h", "8h!"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a time such as 8h") as raised:
        parse_duration(text)
    assert "\n" not in str(raised.value)


@given(st.text(max_size=6))
def test_anything_is_a_time_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_duration(text) > 0


def test_the_order_is_seeds_then_methods_then_tasks(grid: Grid) -> None:
    found = [cell.training for cell in in_order(grid.work.cells, grid.config)]
    expected = [
        (seed, method, task)
        for seed in (42, 43)
        for method in ("pt", "spot", "attempt", "mpt", "dtvg")
        for task in ("cb", "sst2")
    ]
    assert [(t.seed, t.method.label, t.task) for t in found] == expected


@pytest.mark.parametrize(
    ("seconds", "cells"),
    [
        (4.9, 0),
        (5, 1),  # PT on cb: 4 s of training, 1 s for the cell.
        (10, 2),
        (38.9, 2),
        (39, 3),  # SPoT's first cell brings six sources of 4 s.
        (44, 4),  # The second finds them there,
        (54, 6),  # and so does ATTEMPT.
        (98.9, 6),
        (99, 7),  # MPT's first brings its stage of 40 s, on the same sources.
        (104, 8),
        (114, 10),  # DTVG starts from PT's prompts, which are there: the seed is complete.
        (228, 20),
        (1e9, 20),
    ],
)
def test_what_fits_by_hand(seconds: float, cells: int, grid: Grid) -> None:
    everything = [c.training.describe() for c in in_order(grid.work.cells, grid.config)]
    assert picked(grid, seconds) == everything[:cells]


@given(one=st.floats(0, 300), two=st.floats(0, 300), workers=st.integers(1, 4))
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_larger_budget_never_takes_fewer(
    one: float, two: float, workers: int, grid: Grid
) -> None:
    small, large = sorted((one, two))
    first = picked(grid, small, workers)
    assert picked(grid, large, workers)[: len(first)] == first
    cells = in_order(grid.work.cells, grid.config)[: len(first)]
    assert makespan(estimator(grid, workers).units(cells), workers) <= small + 1e-9


def test_the_sum_by_hand(grid: Grid) -> None:
    total = estimator(grid).total(grid.work.cells)
    seconds = {name: row.seconds for name, row in total.rows.items()}
    own = 4 * (4 + 1.0)  # Two tasks, two seeds.
    assert seconds == {
        **dict.fromkeys(("pt", "spot", "attempt", "mpt", "dtvg"), own),
        "source prompts": 2 * 6 * 4.0,
        "shared prompts": 2 * 40.0,
    }
    assert total.seconds == sum(seconds.values()) == 228
    every = total.all()
    trainings = 5 * 4 + 2 * 6 + 2
    assert (every.cells, every.trainings, every.steps) == (20, trainings, 4 * trainings)
    assert every.training_tokens == 50 * trainings
    assert every.evaluation_tokens == 10 * trainings + 100 * 20
    assert total.disk.prompts == trainings * (1000 + 100 + 10)
    assert total.disk.records == 20 * (200 + 20 + 3 * 5)
    assert total.disk.checkpoints == 4 * 1000


def test_the_start_of_the_processes_counts_once(grid: Grid) -> None:
    assert estimator(grid, start=7.0).total(grid.work.cells).seconds == 228 + 7


def test_prompts_of_targets_that_are_no_cells_have_their_row(
    configure: Configure, tmp_path: Path
) -> None:
    alone = lay_out(configure(methods=["dtvg"]), ResultFolder(tmp_path), "never")
    rows = estimator(alone).total(alone.work.cells).rows
    assert {name: row.trainings for name, row in rows.items()} == {
        "source prompts": 12,
        "target prompts": 4,
        "dtvg": 4,
    }


def test_patience_makes_it_an_upper_bound(configure: Configure, tmp_path: Path) -> None:
    config = configure("training.patience=2", "source_training.patience=null")
    hasty = lay_out(config, ResultFolder(tmp_path), "never")
    unknown = estimator(hasty).total(hasty.work.cells)
    assert (unknown.patience, unknown.expected, unknown.seconds) == (True, None, 228)
    # Half the steps of 20 targets and of the stage, but all of the 12 sources.
    half = estimator(hasty, share=0.5).total(hasty.work.cells)
    stages = [t for t in trainings_to_do(hasty) if t.is_source_stage]
    assert all(t.hyperparameters.patience is None for t in stages)
    assert half.seconds == 228
    assert half.expected == 228 - 20 * 2


def test_what_is_there_costs_nothing(finished: Any, configure: Configure) -> None:
    config = configure(seeds=[42, 43, 44], methods=["spot"])
    grid = lay_out(config, finished.folder, "never")
    assert {t.seed for t in trainings_to_do(grid)} == {44}
    # Six source prompts, and for two cells the prompts of PT that SPoT compares.
    assert estimator(grid).total(grid.work.cells).seconds == 6 * 4 + 2 * 4 + 2 * 5
    again = lay_out(config, finished.folder, "always")
    # The cells are repeated with their own prompts, what they start from is kept.
    assert estimator(again).total(again.work.cells).seconds == 6 * 4 + 2 * 4 + 6 * 5


def test_runs_do_just_what_was_picked(configure: Configure, tmp_path: Path) -> None:
    config = configure(shots=[4, 8, "full"], methods=["pt", "dtvg:grouping=all", "dtvg"])
    grid = lay_out(config, ResultFolder(tmp_path), "never")
    cells = in_order(grid.work.cells, config)
    for count in range(len(cells) + 1):
        runs = blocks(cells[:count], config)
        done = [
            (seed, shots, method, task)
            for run in runs
            for seed in run.seeds
            for shots in run.shots
            for method in run.methods
            for task in run.tasks
        ]
        expected = [
            (t.seed, t.shots or "full", t.method.label, t.task)
            for t in (cell.training for cell in cells[:count])
        ]
        assert sorted(map(str, done)) == sorted(map(str, expected))
        assert len(runs) <= 5
    assert len(blocks(cells, config)) == 1
