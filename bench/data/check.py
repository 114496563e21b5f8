"""Is the data what the tasks declare? And: fill the cache of the hub's datasets.

Both go through every official split, so they find what a run would find, and before it starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import datasets

from bench.data.hub import HubUnreachableError, NotCachedError
from bench.data.rows import OFFICIAL_ROW, rows_of
from bench.data.sources import DataSource, Hub
from bench.data.splits import load_splits, unexpected_count
from bench.errors import DataError
from bench.tasks.task import Task

_ROWS_AT_ONCE = 1_000

_VALIDATION = "validation"
"""Stands in for a test split that a local folder lacks."""


@dataclass
class TaskReport:
    """What was found of one task.

    Attributes:
        task: its name.
        revision: pinned revision; None where the source has none.
        rows: number of rows of each official split that could be read.
        expected: number of rows that the hub has, by official split.
        differences: what is not as declared, one line each.
        notes: what a run would note in its records.
    """

    task: str
    revision: str | None
    expected: Mapping[str, int]
    rows: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is as declared."""
        return not self.differences


def check(source: DataSource, tasks: Iterable[Task]) -> Iterator[TaskReport]:
    """Compare tasks with what a source has of them, one after the other.

    Each official split must load at its pinned revision and have the columns that the task reads;
    the splits of the task must come about; every row of them must have a text and a valid answer.
    The hub's splits must have the expected numbers of rows.
    """
    for report, task in _reports(source, tasks):
        if report.ok:
            _check_rows(report, source, task)
        yield report


def prefetch(tasks: Iterable[Task]) -> Iterator[TaskReport]:
    """Load tasks from the hub into the cache of this machine, one after the other."""
    for report, _ in _reports(Hub(), tasks):
        yield report


def _reports(source: DataSource, tasks: Iterable[Task]) -> Iterator[tuple[TaskReport, Task]]:
    """Reports with row counts; a hub that does not answer is not asked again."""
    unreachable = False
    for task in tasks:
        report = TaskReport(task.name, source.revision(task), task.hub.rows)
        if unreachable:
            report.differences.append("not tried, as the hub could not be reached")
        else:
            try:
                _count_rows(report, source, task)
            except HubUnreachableError as error:
                unreachable = True
                report.differences.append(str(error))
        yield report, task


def _count_rows(report: TaskReport, source: DataSource, task: Task) -> None:
    """Load every official split that the source should have.

    Raises:
        HubUnreachableError: the hub does not answer.
    """
    try:
        splits = _official_splits(source, task)
    except DataError as error:
        report.differences.append(str(error))
        return
    for split in splits:
        try:
            rows = len(source.load(task, split))
        except HubUnreachableError:
            raise
        except NotCachedError as error:
            report.differences.append(str(error))
            return
        except DataError as error:
            report.differences.append(str(error))
            continue
        report.rows[split] = rows
        unexpected = unexpected_count(source, task, split, rows)
        if unexpected is not None:
            report.differences.append(unexpected)


def _official_splits(source: DataSource, task: Task) -> list[str]:
    """The splits to load: all official ones from the hub, else those of them that are there."""
    official = list(dict.fromkeys([*task.hub.splits, *task.hub.rows]))
    if source.kind == "hub":
        return official
    present = source.splits(task)
    return [split for split in dict.fromkeys([*official, _VALIDATION]) if split in present]


def _check_rows(report: TaskReport, source: DataSource, task: Task) -> None:
    """Cut the splits as a run does, and turn every row into text."""
    try:
        parts = load_splits(source, task)
    except DataError as error:
        report.differences.append(str(error))
        return
    report.notes += parts.notes
    for rows in (parts.train, parts.validation, parts.test):
        faults = _faults(task, rows, training=rows is parts.train)
        first = next(faults, None)
        if first is not None:
            count = 1 + sum(1 for _ in faults)
            which = f"first of {count} faulty rows" if count > 1 else "one faulty row"
            report.differences.append(f"{rows.info.description}, {which}: {first}")


def _faults(task: Task, rows: datasets.Dataset, training: bool) -> Iterator[str]:
    """What is wrong with each row that cannot be used."""
    for batch in rows.iter(batch_size=_ROWS_AT_ONCE):
        for row in rows_of(batch):
            try:
                task.to_text(row, training)
            except DataError as error:
                yield f"row {row[OFFICIAL_ROW]}: {error}"


__all__ = ["TaskReport", "check", "prefetch"]
