"""One entry for all formats."""

from __future__ import annotations

from collections.abc import Sequence

from bench.reports import machine
from bench.reports.frames import build_tables
from bench.reports.results import Results
from bench.reports.sheets import FORMATS, Format, render_sheets
from bench.reports.table_sheets import table_sheet


def render_tables(
    results: Results,
    format: Format = "markdown",
    *,
    tasks: Sequence[str] | None = None,
    method_order: Sequence[str] = (),
) -> str:
    """All tables of a results folder as text that ends with a newline.

    Equal records give equal text. See :func:`bench.reports.frames.build_tables` for the arguments.

    Raises:
        RecordError: there is no record to show.
    """
    tables = build_tables(results, tasks=tasks, method_order=method_order)
    if format == "csv":
        return machine.render_csv(tables)
    if format == "json":
        return machine.render_json(tables)
    return render_sheets([table_sheet(table) for table in tables], format)


__all__ = ["FORMATS", "Format", "render_tables"]
