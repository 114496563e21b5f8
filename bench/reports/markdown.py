"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from bench.reports.captions import caption
from bench.reports.tables import Table, TableCell, TableRow
from bench.reports.text import (
    AVERAGE_HEAD,
    METHOD_HEAD,
    UNITS_HEAD,
    instead,
    number,
    spread,
    units,
)


def render(tables: Sequence[Table]) -> str:
    """One paragraph and one table each."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    head = [METHOD_HEAD, *(escape(column.task) for column in table.columns), AVERAGE_HEAD]
    lines = [[f"*{UNITS_HEAD}*", *(f"*{escape(units(c))}*" for c in table.columns), ""]]
    lines += [_row(row, table) for row in table.rows]
    body = tabulate(
        lines,
        headers=head,
        tablefmt="pipe",
        colalign=("left", *("right" for _ in head[1:])),
        disable_numparse=True,
    )
    return f"**Table {table.number}.** {escape(caption(table))}\n\n{body}\n"


def _row(row: TableRow, table: Table) -> list[str]:
    average = number(row.average)
    return [
        escape(row.label),
        *(_cell(cell, table) for cell in row.cells),
        f"**{average}**" if row.best else average,
    ]


def _cell(cell: TableCell, table: Table) -> str:
    if cell.mean is None:
        return instead(cell)
    mean = number(cell.mean)
    return f"{f'**{mean}**' if cell.best else mean} {spread(cell, table)}".rstrip()


def escape(text: str) -> str:
    """Text that Markdown shows as it stands, in one line.

    An underscore between letters or digits needs no escape and gets none.
    """
    escaped = re.sub(
        r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split())
    )
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in escaped)


__all__ = ["escape", "render"]
