"""A result table as data: what the renderers of all formats read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.reports.settings import Setting

MAJORITY_LABEL = "majority class"

CellStatus = Literal["finished", "failed", "missing", "conflict"]
"""What a table cell holds: scores; only failures; nothing; or records that contradict each other
(the same method, task and seed, started from different prompts), of which none is shown."""


@dataclass(frozen=True)
class Column:
    """One task; metric and number of test rows are None where every cell failed."""

    task: str
    metric: str | None
    test_rows: int | None


@dataclass(frozen=True)
class TableCell:
    """One row's result on one task, over seeds.

    Attributes:
        mean: of the finished seeds, in percent.
        std: sample standard deviation (divisor n - 1); None for a single seed.
        seeds: number of finished seeds.
        failed: number of failed seeds.
        best: whether no other row shows a higher mean in this column.
    """

    status: CellStatus
    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    failed: int = 0
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """One method, or the majority class.

    Attributes:
        method: name without settings; None for the majority class.
        average: mean over all columns; None if the row lacks one.
        best: whether no other row shows a higher average.
    """

    label: str
    method: str | None
    cells: tuple[TableCell, ...]
    average: float | None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Results of one setting.

    Attributes:
        number: place among the tables rendered together, from 1.
        differences: what sets this table apart from the others, one phrase each.
        seeds: all seeds that occur, in order.
        failed: number of failed cells (one cell: a method on a task with one seed).
        missing: number of cells of the full grid of rows, columns and seeds without a record.
        conflicts: number of cells with records that contradict each other.
    """

    number: int
    setting: Setting
    differences: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    failed: int
    missing: int
    conflicts: int

    @property
    def grid(self) -> int:
        """Number of cells of the full grid of methods, columns and seeds."""
        methods = sum(row.method is not None for row in self.rows)
        return methods * len(self.columns) * len(self.seeds)


__all__ = ["MAJORITY_LABEL", "CellStatus", "Column", "Table", "TableCell", "TableRow"]
