"""The committed smoke results: complete, shown as they are, and what is said of them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

from bench.records import Record
from bench.registry import METHODS
from bench.reports import load_results
from bench.reports.analyses import all_sheets
from bench.reports.render import render_tables
from bench.reports.results import Results
from bench.reports.sheets import render_sheets
from bench.tasks import get_suite, get_task, list_tasks

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "results" / "smoke"
SEEDS = (42, 43, 44)
SHOTS = (16, None)


@pytest.fixture(scope="module")
def results() -> Results:
    return load_results(FOLDER)


@pytest.fixture(scope="module")
def cells(results: Results) -> dict[tuple[str, str, int | None, int], Record]:
    return {
        (record.cell.task, record.cell.method.name, record.cell.shots, record.cell.seed): record
        for record in results.records
    }


def test_every_cell_is_there_once_and_finished(results: Results) -> None:
    found = sorted(
        (cell.task, cell.method.label, str(cell.shots), cell.seed)
        for cell in (record.cell for record in results.records)
    )
    assert found == sorted(
        (task, method, str(shots), seed)
        for task in get_suite("paper")
        for method in METHODS
        for shots in SHOTS
        for seed in SEEDS
    )
    assert not results.warnings
    assert {record.status for record in results.records} == {"finished"}


def test_one_commit_of_unchanged_code_and_one_model_made_all_of_them(results: Results) -> None:
    made = [record.provenance for record in results.records]
    assert len({(each.git_commit, each.git_dirty) for each in made}) == 1
    assert made[0].git_dirty is False
    assert {record.cell.model.name for record in results.records} == {"tiny"}
    assert len({record.cell.model.digest for record in results.records}) == 1


def test_tables_are_what_the_records_give(results: Results) -> None:
    order = tuple(METHODS)
    texts = {"all-tasks": render_tables(results, "markdown", method_order=order)}
    sheets = all_sheets(results, order).sheets
    texts |= {name: render_sheets(found, "markdown") for name, found in sheets.items()}
    for name, text in texts.items():
        stored = (FOLDER / "report" / "tables" / f"{name}.md").read_text(encoding="utf-8")
        assert text.strip() == stored.strip(), name


def test_the_readme_shows_tables_of_the_records() -> None:
    shown = _tables((ROOT / "README.md").read_text(encoding="utf-8"))
    tables = [
        table
        for file in sorted((FOLDER / "report" / "tables").glob("*.md"))
        for table in _tables(file.read_text(encoding="utf-8"))
    ]
    of_results = [table for table in shown if "majority class" in table]
    assert of_results
    assert all(table in tables for table in of_results)


def test_prompt_tuning_is_clearly_above_chance_and_the_model_alone_is_not(
    cells: dict[tuple[str, str, int | None, int], Record],
) -> None:
    floors = {
        row["task"]: row for row in json.loads((FOLDER / "floors.json").read_text())["floors"]
    }
    tasks = [task.name for task in list_tasks() if "nlg" not in task.suites]
    assert len(tasks) == 23
    above = []
    for name in tasks:
        metric = get_task(name).metrics[0]
        scores = [cells[name, "pt", None, seed].scores.test[metric] for seed in SEEDS]
        constant = floors[name]["constant"]
        alone = floors[name]["no_prompt"]
        if mean(scores) >= constant + 10:
            above.append(name)
            assert mean(scores) >= alone + 10
        # Of the classes only: a sentence that holds an answer has an F1 above 0.
        if get_task(name).labels is not None:
            assert alone == 0.0
    assert len(above) >= 15


@pytest.mark.parametrize(
    ("target", "near", "far"),
    [
        *((target, "mnli", "sst2") for target in ("rte", "cb", "scitail")),
        ("yelp_polarity", "sst2", "squad"),
    ],
)
def test_task_vectors_are_most_similar_where_the_task_is(
    cells: dict[tuple[str, str, int | None, int], Record], target: str, near: str, far: str
) -> None:
    found: dict[str, list[float]] = defaultdict(list)
    for seed in SEEDS:
        best = cells[target, "dtvg", None, seed].diagnostics["best"]
        for name, value in best["similarities"].items():
            found[name].append(value)
    assert mean(found[near]) > mean(found[far])


def _tables(text: str) -> Iterator[str]:
    """The Markdown tables of a text."""
    return (match.group().strip() for match in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE))
