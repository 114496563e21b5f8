"""Cells and heads as text, before the markup of a format."""

from __future__ import annotations

from bench.reports.captions import DASH
from bench.reports.frames import DECIMALS
from bench.reports.tables import Column, Table, TableCell

METHOD_HEAD = "method"
AVERAGE_HEAD = "average"
UNITS_HEAD = "metric (test rows)"


def number(value: float | None) -> str:
    """A percentage with the digits that tables show; a dash if there is none."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return DASH if value is None else f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}"


def spread(cell: TableCell, table: Table) -> str:
    """What follows the mean: the deviation, and the number of seeds if it is not the table's."""
    parts = []
    if cell.std is not None:
        parts.append(f"± {number(cell.std)}")
    if cell.seeds < len(table.seeds):
        failed = f", {cell.failed} failed" if cell.failed else ""
        parts.append(f"(n={cell.seeds}{failed})")
    return " ".join(parts)


def instead(cell: TableCell) -> str:
    """What stands in a cell without a mean."""
    return DASH if cell.status == "missing" else cell.status


def units(column: Column) -> str:
    """Metric and number of test rows of a column."""
    if column.metric is None:
        return DASH
    return f"{column.metric} ({column.test_rows})"


__all__ = ["AVERAGE_HEAD", "METHOD_HEAD", "UNITS_HEAD", "instead", "number", "spread", "units"]
