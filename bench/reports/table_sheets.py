"""Tables of a setting in the form that formats write."""

from __future__ import annotations

from bench.reports.captions import DASH, caption
from bench.reports.sheets import Entry, Head, Line, Sheet
from bench.reports.tables import Column, Table, TableCell
from bench.reports.text import METHOD_HEAD, UNITS_HEAD, few_seeds, number

AVERAGE_HEAD = "average"


def table_sheet(table: Table) -> Sheet:
    """A table with the words and digits that it shows; it has no title but its caption."""
    heads = [Head("", column.task, _units(column)) for column in table.columns]
    lines = tuple(
        Line(
            "",
            row.label,
            (
                *(_entry(cell, len(table.seeds)) for cell in row.cells),
                Entry(number(row.average), row.best, number=row.average),
            ),
        )
        for row in table.rows
    )
    return Sheet(
        number=table.number,
        title="",
        caption=caption(table),
        notes=(),
        corner=METHOD_HEAD,
        units=UNITS_HEAD,
        groups="",
        heads=(*heads, Head("", AVERAGE_HEAD)),
        lines=lines,
    )


def _units(column: Column) -> str:
    return DASH if column.metric is None else f"{column.metric} ({column.test_rows})"


def _entry(cell: TableCell, seeds: int) -> Entry:
    if cell.mean is None:
        return Entry(DASH if cell.status == "missing" else cell.status)
    spread = "" if cell.std is None else f"± {number(cell.std)}"
    fewer = few_seeds(cell.seeds, cell.failed, seeds)
    return Entry(number(cell.mean), cell.best, after=f"{spread} {fewer}".strip(), number=cell.mean)


__all__ = ["AVERAGE_HEAD", "table_sheet"]
