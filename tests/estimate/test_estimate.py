"""Estimates of grids: arithmetic, what is counted, and how near to the truth they come."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config import load_config
from bench.estimate import ANSWERS, COLUMNS, amounts, estimate, fit, render_estimate
from bench.grid import Grid, make_grid
from bench.runner import run_grid
from bench.store import ResultStore

STEPS, TRIES = 10, "pt:learning_rate=0.3|0.2"
ITEMS = (
    *("training.steps=10", "source_training.steps=10", "training.evaluate_every=5"),
    *("source_training.evaluate_every=5", "sources=[sst2, qnli]", "validation_rows=20"),
    *("training.batch_size=8", "input_length=64"),
)
OPTIONS: dict[str, Any] = {"suites": [], "tasks": ["cb"], "seeds": [42]}
OPTIONS["methods"] = [TRIES, "attempt", "spot:source=all"]


def lay_out(store: ResultStore, **options: Any) -> Grid:
    return make_grid(load_config(options=OPTIONS | options, items=ITEMS), store)


def test_amounts_of_a_known_case() -> None:
    pairs = [(3, 2), (5, 1), (4, 4)]
    # Two batches, 2 x (10 + 5 + 2) and 1 x (10 + 4 + 4) positions; answers of 2 and 4 tokens.
    assert amounts(pairs, 2, 10, shared=False, answers=False).tolist() == [2, 34 + 18, 19]
    assert amounts(pairs, 2, 10, shared=False, answers=True).tolist() == [6, 34 + 18, 19]
    # Read once: 10 + 2 x (5 + 2) and 10 + 1 x (4 + 4).
    assert amounts(pairs, 2, 10, shared=True, answers=True).tolist() == [6, 24 + 18, 19]


@given(
    rates=st.tuples(st.floats(1e-4, 1), st.floats(1e-4, 1)),
    loads=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=2, unique=True),
)
def test_fit_finds_exact_rates(rates: tuple[float, float], loads: list[tuple[int, int]]) -> None:
    vectors = [np.array([passes, positions, 7]) for passes, positions in loads]
    exact = [(vector, float(vector[:2] @ rates)) for vector in vectors]
    rate = fit({"pt": exact, "other": [(vector, 3 * seconds) for vector, seconds in exact]})
    for vector, seconds in exact:
        assert rate("pt") @ vector == pytest.approx(seconds, rel=1e-3)
        assert rate("unknown") @ vector == pytest.approx(2 * seconds, rel=1e-3)  # The mean.


@pytest.fixture(scope="module")
def planned_and_done(tmp_path_factory: Any) -> tuple[dict[str, Any], float, ResultStore]:
    """An estimate by calibration, the processor time of the runs, and their results."""
    store = ResultStore(tmp_path_factory.mktemp("out"))
    with pytest.MonkeyPatch.context() as patch:  # Other processes take turns on the cores.
        patch.setattr(time, "perf_counter", time.process_time)
        values = estimate(lay_out(store), store, 1, print)
        assert not any(path.is_file() for path in store.folder.rglob("*"))
    began = time.process_time()
    run_grid(lay_out(store), store, verbosity="quiet")
    return values, time.process_time() - began, store


Done = tuple[dict[str, Any], float, ResultStore]


def test_estimate_by_calibration_is_near_the_truth(planned_and_done: Done) -> None:
    values, seconds, _ = planned_and_done
    assert values["costs_from"] == "short calibrations"
    assert seconds / 2 < values["hours"] * 3600 < seconds * 2


def test_estimate_from_records_is_near_that_by_calibration(planned_and_done: Done) -> None:
    values, _, store = planned_and_done
    again = estimate(lay_out(store, seeds=[43]), store, 1, print)
    assert again["costs_from"] == f"finished runs in {store.folder}"
    assert again["total"]["steps"] == values["total"]["steps"]
    # Seed 42 took as long as 43 will.
    training = sum(record.timing.training_seconds for record in store.list_prompts()[0])
    assert training * 0.8 < again["total"]["seconds"] < training * 1.8


def test_counts_follow_from_the_configuration(planned_and_done: Done) -> None:
    values, _, store = planned_and_done
    total, parts = values["total"], values["parts"]
    # Three methods; two source prompts, one of their mixture, and two tries.
    assert (values["runs_to_run"], values["runs_done"]) == (3, 0)
    assert {key: (part["runs"], part["prompts"], part["steps"]) for key, part in parts.items()} == {
        TRIES: (1, 0, 0),
        "attempt": (1, 1, STEPS),
        "spot:source=all": (1, 1, STEPS),
        "prompts by pt": (0, 5, 5 * STEPS),
    }
    for name in COLUMNS:
        assert total[name] == pytest.approx(sum(part[name] for part in parts.values()), abs=3)
    finished = [store.find(run) for run in lay_out(store).reported.values()]
    tested = [record.rows.test for record in finished if record and record.rows]
    assert tested == 3 * [150]
    assert json.loads(json.dumps(values)) == values
    text = render_estimate(values)
    assert "runs: 3 to run, 0 done" in text
    assert "prompts by pt" in text


def test_finished_grid_costs_nothing(planned_and_done: Done, monkeypatch: Any) -> None:
    _, _, store = planned_and_done
    monkeypatch.delattr("bench.estimate.load")
    values = estimate(lay_out(store), store, 2, print)
    assert (values["runs_to_run"], values["runs_done"], values["hours"]) == (0, 3, 0)
    assert set(values["total"].values()) == {0}
    assert values["parts"] == {}
    assert "runs: 0 to run, 3 done" in render_estimate(values)


def test_prompts_that_exist_are_not_counted_again(planned_and_done: Done) -> None:
    _, _, store = planned_and_done
    values = estimate(lay_out(store, tasks=["cb", "wic"]), store, 1, print)
    prompts = {key: part["prompts"] for key, part in values["parts"].items()}
    assert prompts == {TRIES: 0, "attempt": 1, "spot:source=all": 1, "prompts by pt": 2}
    assert values["runs_done"] == 3


def test_timings_of_another_folder_and_more_workers(planned_and_done: Done, tmp_path: Path) -> None:
    _, _, done = planned_and_done
    store = ResultStore(tmp_path / "out")
    one: Any = estimate(lay_out(store), store, 1, print, records=done.folder)
    two: Any = estimate(lay_out(store), store, 2, print, records=done.folder)
    assert one["costs_from"] == f"finished runs in {done.folder}"
    assert one["total"]["seconds"] == pytest.approx(two["total"]["seconds"])
    assert two["hours"] < one["hours"]
    assert not store.folder.exists()


def test_kinds_of_work_are_apart() -> None:
    vector = np.ones(3)
    rate = fit({ANSWERS: [(vector, 100.0)], "pt": [(vector, 1.0)]})
    assert rate("mpt") @ vector == pytest.approx(1.0)  # Answers tell nothing of steps.
