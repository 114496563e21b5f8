"""Result folders of any shape, with predictions whose scores the records hold."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.predictions import Predictions, judge
from bench.reports import Results, load_results
from bench.tasks import SUITES, Task, get_task

MakeGrid = Callable[..., Results]
StoreCell = Callable[[Path, dict[str, Any], Predictions], None]

GOLDEN = Path(__file__).parent / "golden"

SKILL = {"pt": 0.55, "spot": 0.65, "attempt": 0.6, "mpt": 0.7, "dtvg": 0.75}
"""Share of right answers by method."""

DIAGNOSTICS: dict[str, dict[str, Any]] = {
    "spot": {"source": "mnli"},
    "attempt": {"attention": {"sources": {"mnli": 0.2, "sst2": 0.5}, "target": 0.3}},
    "dtvg": {"group": ["qqp", "mnli"]},
    "mpt": {"source_stage_initialisation": {"shared": "P_init"}},
}


@pytest.fixture(scope="session")
def superglue() -> Path:
    """Records with chosen numbers of right answers, their predictions, and the tables they give."""
    return GOLDEN


@pytest.fixture
def make_grid(tmp_path: Path, golden: Path, store_cell: StoreCell) -> MakeGrid:
    """Write one record with predictions per cell of a grid, and load them.

    Options: ``tasks``, ``methods`` (labels), ``shots``, ``seeds``, ``rows`` (test examples),
    ``first`` (number of the first row), ``change`` (called with every record's content before it
    is written).
    """
    (base,) = (golden / "records").glob("mrpc-pt-16-42-*.json")

    def make(**options: Any) -> Results:
        write_grid(tmp_path / "records", json.loads(base.read_text()), store_cell, **options)
        results = load_results(tmp_path)
        assert not results.warnings
        return results

    return make


def write_grid(
    folder: Path,
    base: dict[str, Any],
    store: StoreCell,
    *,
    tasks: Iterable[str] = SUITES["paper"],
    methods: Iterable[str] = tuple(SKILL),
    shots: Iterable[int | None] = (16, None),
    seeds: Iterable[int] = (42, 43, 44),
    rows: int = 40,
    first: int = 0,
    change: Callable[[dict[str, Any]], None] = lambda content: None,
) -> None:
    """See :func:`make_grid`."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    for task in map(get_task, tasks):
        references, groups = _references(task, rows)
        scorers = task.scorers or task.metrics
        for method in methods:
            for shot in shots:
                for seed in seeds:
                    number += 1
                    name = method.partition(":")[0]
                    content = copy.deepcopy(base)
                    content["digest"] = f"{number:012x}".ljust(64, "0")
                    content["cell"]["method"] |= {"name": name, "label": method}
                    content["cell"] |= {"task": task.name, "shots": shot, "seed": seed}
                    content["cell"]["data"]["fingerprint"] = task.name
                    content["rows"]["test"] = rows
                    content["majority"] = None
                    content["diagnostics"] = {
                        "best": DIAGNOSTICS.get(name, {}),
                        "changes": {},
                        "history": [],
                    }
                    rng = random.Random(f"{task.name} {method} {shot} {seed}")
                    skill = SKILL[name] + (0.1 if shot is None else 0.0)
                    answers = [
                        texts[0] if rng.random() < skill else rng.choice(references)[0]
                        for texts in references
                    ]
                    predictions = judge(
                        scorers, range(first, first + rows), answers, references, groups
                    )
                    metrics = predictions.metrics()
                    content["scores"] |= {
                        "table_metric": task.table_metric,
                        "validation": metrics,
                        "test": metrics,
                        "left_out": {m: "no WordNet" for m in task.metrics if m not in metrics},
                    }
                    for point in content["training"]["curve"]:
                        point["validation"] = metrics
                    change(content)
                    store(folder / f"{number:04d}.json", content, predictions)


def _references(task: Task, rows: int) -> tuple[list[tuple[str, ...]], list[str | None]]:
    """Right answers of test examples, by the kind of the task."""
    rng = random.Random(task.name)
    words = ("a red house", "the old mill", "one small boat at sea", "Anna and her dog")
    pool = task.labels or (("0.4", "3.0", "4.6") if task.name == "stsb" else words)
    references = [(rng.choice(pool),) for _ in range(rows)]
    grouped = task.name == "multirc"
    return references, [f"q{i // 3}" if grouped else None for i in range(rows)]
