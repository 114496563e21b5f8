"""Comparison of the data with what the tasks declare, and download of the hub's datasets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bench.data.sources import BATCH, OFFICIAL_ROW, DataSource, Hub, rows_of
from bench.data.splits import load_splits, unexpected_counts
from bench.errors import DataError
from bench.tasks.base import Task


@dataclass
class TaskReport:
    """Findings of one task."""

    task: str
    revision: str | None
    expected: Mapping[str, int]  # rows of each official split on the hub
    rows: dict[str, int] = field(default_factory=dict)  # of each official split that was read
    differences: list[str] = field(default_factory=list)  # from the declaration
    notes: list[str] = field(default_factory=list)  # as in the records of a run

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def prefetch(tasks: Iterable[Task]) -> Iterator[TaskReport]:
    """Load all official splits of the tasks from the hub into the cache of this machine."""
    return check(Hub(), tasks, texts=False)


def check(source: DataSource, tasks: Iterable[Task], texts: bool = True) -> Iterator[TaskReport]:
    """Compare tasks with the data of a source: splits, columns, row counts (hub), and texts."""
    for task in tasks:
        report = TaskReport(task.name, source.revision(task), task.hub.rows)
        try:
            # A folder may lack splits; its validation split can replace the test split.
            present = task.hub.rows if source.kind == "hub" else source.splits(task)
            for split in dict.fromkeys([*task.hub.splits, *task.hub.rows, "validation"]):
                if split in present:
                    report.rows[split] = len(source.load(task, split))
            report.differences += unexpected_counts(source, task, report.rows)
            if texts and report.ok:
                _check_texts(report, source, task)
        except DataError as error:
            report.differences.append(str(error))
        yield report


def _check_texts(report: TaskReport, source: DataSource, task: Task) -> None:
    """Cut the splits as a run does, and turn each row into text."""
    parts = load_splits(source, task)
    report.notes += parts.notes
    for rows in (parts.train, parts.validation, parts.test):
        faults = []
        for row in (row for columns in rows.iter(BATCH) for row in rows_of(columns)):
            try:
                task.to_text(row, training=rows is parts.train)
            except DataError as error:
                faults.append(f"row {row[OFFICIAL_ROW]}: {error}")
        if faults:
            which = f"first of {len(faults)} faulty rows" if len(faults) > 1 else "one faulty row"
            report.differences.append(f"{rows.info.description}, {which}: {faults[0]}")
