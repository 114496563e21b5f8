"""All tables, figures and the page of a results folder, as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.files import atomic_write
from bench.reports.analyses import all_sheets
from bench.reports.figures import (
    FILE_FORMATS,
    MissingDataError,
    draw_figure,
    figure_names,
    save_drawing,
)
from bench.reports.html import save_report
from bench.reports.render import FORMATS, Format, render_tables
from bench.reports.results import Results
from bench.reports.sheets import render_sheets

_SUFFIXES: Mapping[Format, str] = {
    "markdown": "md",
    "latex": "tex",
    "csv": "csv",
    "json": "json",
}

SETTINGS = "all-tasks"
"""Name of the tables that hold all tasks of a setting."""

PAGE = "index.html"


def save_everything(
    results: Results, folder: Path, method_order: Sequence[str] = ()
) -> Iterator[Path]:
    """Write ``folder/tables``, ``folder/figures`` and the page; equal records give equal files.

    What the records do not suffice for is left out. Files that are there and would not be written
    now stay.

    Args:
        results: the records.
        folder: is made if it is missing.
        method_order: names of methods in the order of rows and legends; others follow by name.

    Yields:
        Each file, once it is written.

    Raises:
        RecordError: there is no record to show.
        OutputError: a file cannot be written.
    """
    analyses = all_sheets(results, method_order)
    for form in FORMATS:
        texts = {SETTINGS: render_tables(results, form, method_order=method_order)}
        texts |= {name: render_sheets(found, form) for name, found in analyses.sheets.items()}
        for name, text in texts.items():
            path = folder / "tables" / f"{name}.{_SUFFIXES[form]}"
            atomic_write(path, text.encode())
            yield path
    for figure in figure_names():
        try:
            drawings = draw_figure(figure, results, method_order)
        except MissingDataError:
            continue
        for drawing in drawings:
            for kind in FILE_FORMATS:
                yield save_drawing(drawing, folder / "figures", kind)
    save_report(results, folder / PAGE, method_order, analyses)
    yield folder / PAGE


__all__ = ["PAGE", "SETTINGS", "save_everything"]
