from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.reports import Results
from bench.reports.frames import build_tables
from bench.reports.tables import MAJORITY_LABEL, Table, TableCell

MakeResults = Callable[..., Results]


def cell(table: Table, label: str, task: str) -> TableCell:
    row = next(row for row in table.rows if row.label == label)
    return row.cells[[column.task for column in table.columns].index(task)]


def score(task: str, seed: int, value: float, **more: object) -> dict[str, object]:
    return {"cell.task": task, "cell.seed": seed, "score": value, **more}


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mean_and_deviation(make_results: MakeResults, values: list[float]) -> None:
    results = make_results(*(score("mrpc", seed, value) for seed, value in enumerate(values)))
    (table,) = build_tables(results)
    found = cell(table, "pt", "mrpc")
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.std == pytest.approx(statistics.stdev(values), abs=1e-9)
    assert found.seeds == len(values)
    assert table.seeds == tuple(range(len(values)))


def test_average_needs_all_columns(make_results: MakeResults) -> None:
    (table,) = build_tables(
        make_results(
            score("cola", 1, 10.0, **{"cell.data.fingerprint": "c"}),
            score("mrpc", 1, 20.0),
            score("mrpc", 2, 40.0),
            score("mrpc", 1, 99.0, label="dtvg"),
        )
    )
    averages = {row.label: row.average for row in table.rows}
    assert averages["pt"] == pytest.approx((10 + (20 + 40) / 2) / 2)
    assert averages["dtvg"] is None
    assert table.missing == 2 * 2 * 2 - 4


def test_columns_stand_in_the_order_of_the_suites(make_results: MakeResults) -> None:
    tasks = ["zebra", "e2e", "squad", "mrpc", "boolq", "cola", "paws", "aardvark"]
    (table,) = build_tables(make_results(*(score(task, 1, 50.0) for task in tasks)))
    names = [column.task for column in table.columns]
    assert names == ["cola", "mrpc", "boolq", "squad", "paws", "e2e", "aardvark", "zebra"]


def test_best_of_a_column_includes_the_majority_class(make_results: MakeResults) -> None:
    (table,) = build_tables(
        make_results(
            score("mrpc", 1, 60.0),
            score("mrpc", 1, 66.46, label="dtvg"),
            score("rte", 1, 70.0),
            score("rte", 1, 80.0, label="dtvg"),
        )
    )
    # The majority class has 66.5 on both; 66.46 shows as the same figure.
    best = {row.label: [c.best for c in row.cells] for row in table.rows}
    assert best == {
        "dtvg": [True, True],
        "pt": [False, False],
        MAJORITY_LABEL: [True, False],
    }


def test_failed_cells(make_results: MakeResults) -> None:
    failed = {"status": "failed"}
    (table,) = build_tables(
        make_results(
            score("mrpc", 1, 60.0),
            score("mrpc", 2, 60.0, **failed),
            score("rte", 1, 60.0, **failed),
            score("rte", 2, 60.0, **failed),
        )
    )
    assert cell(table, "pt", "mrpc") == TableCell("finished", 60.0, None, 1, 1, False)
    assert cell(table, "pt", "rte") == TableCell("failed", failed=2)
    assert (table.failed, table.missing, table.conflicts) == (3, 0, 0)
    rte = table.columns[1]
    assert (rte.task, rte.metric, rte.test_rows) == ("rte", None, None)


def test_only_failures(make_results: MakeResults) -> None:
    (table,) = build_tables(make_results(score("mrpc", 1, 60.0, status="failed")))
    assert [row.label for row in table.rows] == ["pt"]
    assert cell(table, "pt", "mrpc").status == "failed"


def test_records_that_contradict_each_other_are_not_averaged(make_results: MakeResults) -> None:
    (table,) = build_tables(
        make_results(
            score("mrpc", 1, 60.0, **{"cell.requires": ["a" * 64]}),
            score("mrpc", 1, 80.0, **{"cell.requires": ["b" * 64]}),
            score("rte", 1, 70.0),
        )
    )
    found = cell(table, "pt", "mrpc")
    assert (found.status, found.mean) == ("conflict", None)
    assert table.conflicts == 1
    assert table.rows[0].average is None


def test_majority_class_over_seeds(make_results: MakeResults) -> None:
    def majority(seed: int, value: float) -> dict[str, object]:
        return score("mrpc", seed, 50.0, **{"majority.test": {"accuracy": value, "f1": 0.0}})

    (table,) = build_tables(make_results(majority(1, 40.0), majority(2, 60.0)))
    found = cell(table, MAJORITY_LABEL, "mrpc")
    assert found.mean == 50.0
    assert found.std == pytest.approx(math.sqrt(200))
    (table,) = build_tables(make_results(score("mrpc", 1, 50.0, majority=None)))
    assert [row.label for row in table.rows] == ["pt"]
