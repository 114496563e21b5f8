"""Nothing that differs shares a table or a row without saying so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.reports import Results
from bench.reports.captions import caption
from bench.reports.frames import build_tables

MakeResults = Callable[..., Results]

OTHER = "ab12" * 16


@pytest.mark.parametrize(
    ("path", "value", "written"),
    [
        ("cell.model.name", "t5-small", "model t5-small"),
        ("cell.model.digest", OTHER, "model digest ab12ab12ab12"),
        ("cell.model.parameters", 7, "model parameters 7"),
        ("cell.model.note", "trained", "model note trained"),
        ("cell.model.bundled", False, "model bundled False"),
        ("cell.data.kind", "local", "data kind local"),
        ("cell.data.name", "/data", "data /data"),
        ("cell.data.fingerprint", OTHER, "data of mrpc fingerprint ab12ab12ab12, 204 test rows"),
        ("cell.data.revision", "v2", "revision v2"),
        ("rows.test", 100, "100 test rows"),
        ("cell.data_seed", 7, "data seed 7"),
        ("cell.shots", None, "shots full data"),
        ("cell.shots", 4, "shots 4"),
        ("cell.preset", "paper", "preset paper"),
        ("cell.prompt_length", 100, "prompt length 100"),
        ("cell.code.harness", OTHER, "harness code ab12ab12ab12"),
    ],
)
def test_settings_never_share_a_table(
    make_results: MakeResults, path: str, value: Any, written: str
) -> None:
    tables = build_tables(make_results({"score": 10.0}, {path: value, "score": 90.0}))
    assert sorted(table.rows[0].cells[0].mean or 0.0 for table in tables) == [10.0, 90.0]
    assert [table.number for table in tables] == [1, 2]
    (changed,) = (table for table in tables if table.rows[0].cells[0].mean == 90.0)
    assert written in caption(changed)
    for table in tables:
        assert "Unlike the other tables: " in caption(table)


def test_one_setting_is_one_table_without_differences(make_results: MakeResults) -> None:
    results = make_results(
        {"cell.seed": 1},
        {"cell.seed": 2, "provenance.command": "other", "cell.requires": [OTHER]},
        {"cell.task": "rte", "cell.data.fingerprint": OTHER, "rows.test": 138},
    )
    (table,) = build_tables(results)
    assert table.differences == ()
    assert "Unlike" not in caption(table)
    assert [column.test_rows for column in table.columns] == [204, 138]


@pytest.mark.parametrize(
    ("path", "value", "labels"),
    [
        (
            "cell.method.settings",
            {"learning_rate": 0.5},
            ["pt [learning_rate=0.3]", "pt [learning_rate=0.5]"],
        ),
        ("cell.method.settings", {}, ["pt", "pt [learning_rate=0.3]"]),
        (
            "cell.training",
            {"steps": 40, "batch_size": 8},
            ["pt [training.steps=20]", "pt [training.steps=40]"],
        ),
        ("cell.method.name", "other", ["pt [method=other]", "pt [method=pt]"]),
        ("cell.code.method", OTHER, None),
    ],
)
def test_trainings_never_share_a_row(
    make_results: MakeResults, path: str, value: Any, labels: list[str] | None
) -> None:
    (table,) = build_tables(make_results({"score": 10.0}, {path: value, "score": 90.0}))
    rows = [row for row in table.rows if row.method is not None]
    assert sorted(row.cells[0].mean or 0.0 for row in rows) == [10.0, 90.0]
    found = sorted(row.label for row in rows)
    if labels is None:
        assert "pt [method_code=ab12ab12ab12]" in found
        assert len(set(found)) == 2
    else:
        assert found == labels


def test_steps_may_differ_between_tasks(make_results: MakeResults) -> None:
    long = {"cell.task": "rte", "cell.training": {"steps": 40, "batch_size": 8}}
    (table,) = build_tables(make_results({}, long))
    assert [row.label for row in table.rows if row.method] == ["pt"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cell.code.method", OTHER),
        ("cell.method.name", "other"),
        ("cell.method.settings", {"learning_rate": 0.5}),
    ],
)
def test_one_row_is_one_method_on_all_tasks(
    make_results: MakeResults, path: str, value: Any
) -> None:
    (table,) = build_tables(make_results({}, {"cell.task": "rte", path: value}))
    rows = [row for row in table.rows if row.method]
    assert len({row.label for row in rows}) == len(rows) == 2
    assert all(row.average is None for row in rows)


def test_only_what_tells_apart_splits_rows_of_other_tasks(make_results: MakeResults) -> None:
    def record(task: str, steps: int, rate: float) -> dict[str, Any]:
        return {
            "cell.task": task,
            "cell.training": {"steps": steps},
            "cell.method.settings": {"learning_rate": rate},
        }

    results = make_results(record("mrpc", 20, 0.3), record("mrpc", 20, 0.5), record("rte", 40, 0.3))
    (table,) = build_tables(results)
    rows = {row.label: [cell.status for cell in row.cells] for row in table.rows if row.method}
    assert rows == {
        "pt [learning_rate=0.3]": ["finished", "finished"],
        "pt [learning_rate=0.5]": ["finished", "missing"],
    }


def test_data_that_was_made_anew_goes_to_a_table_of_its_own(make_results: MakeResults) -> None:
    def record(task: str, fingerprint: str, day: int, **more: Any) -> dict[str, Any]:
        return {
            "cell.task": task,
            "cell.data.fingerprint": fingerprint,
            "timing.started": f"2026-01-{day:02d}",
            **more,
        }

    first, second = build_tables(
        make_results(
            record("mrpc", "new mrpc", 3),
            record("mrpc", "old mrpc", 1),
            record("rte", "a new rte", 4),
            record("rte", "old rte", 2, **{"cell.seed": 1}),
            # Failed before it knew its rows: belongs to the old data by the fingerprint.
            record("rte", "old rte", 5, status="failed", **{"cell.seed": 2}),
            record("wic", "wic", 9),
        )
    )
    assert [column.task for column in first.columns] == ["mrpc", "rte", "wic"]
    assert first.differences == (
        "data of mrpc fingerprint old mrpc, 204 test rows, accuracy",
        "data of rte fingerprint old rte, 204 test rows, accuracy",
    )
    assert first.failed == 1
    assert [column.task for column in second.columns] == ["mrpc", "rte"]
    assert second.differences[0] == "data of mrpc fingerprint new mrpc, 204 test rows, accuracy"
