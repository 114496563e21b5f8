"""Exports a result folder as one HTML page, or as separate files."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import RecordError
from bench.files import atomic_write
from bench.reports import render
from bench.reports.canvas import FOOT, image
from bench.reports.figures import FIGURES, make_figures
from bench.reports.forms import FORMS, Table
from bench.reports.frame import Results, ordered_tasks
from bench.reports.layouts import LAYOUTS, display
from bench.reports.show import show_record
from bench.reports.tables import make_tables

Say: TypeAlias = Callable[[str], None]
"""Receives progress messages."""

COLOURS = {"#000000": "currentColor", "#dddddd": "var(--line)", "#ffffff": "var(--ground)"}
"""Colours of figures that follow those of the page."""

MAX_PANELS = 12
"""Number of tasks up to which the page has learning curves, which take long to draw."""

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "tidy-csv": "tidy.csv", "json": "json"}


def save(
    results: Results, html: Path | None, folder: Path | None, say: Say = lambda text: None
) -> list[Path]:
    """Write the page to ``html``; to ``folder`` all tables, all figures and the page.

    The page is one self-contained file with tables, figures, warnings and records.
    """
    tables, files = _tables(results, say), dict[Path, bytes]()
    figures, absent = make_figures(results, () if folder else _names(results), say=say)
    if folder:
        for (layout, group), (form, suffix) in product(tables.items(), SUFFIXES.items()):
            files[folder / "tables" / f"{layout}.{suffix}"] = FORMS[form](group).encode()
        for figure, form in product(figures, ("pdf", "png")):
            files[folder / "figures" / f"{figure.get_label()}.{form}"] = image(figure, form)
    page = _page(results, tables, figures, absent)  # Hides the texts of the figures.
    files |= {path: page for path in (html, folder and folder / "index.html") if path}
    for path, data in files.items():
        atomic_write(path, data)
    return [*files]


def _names(results: Results) -> list[str]:
    """Names of the figures on the page."""
    many = results.frame["task"].nunique() > MAX_PANELS
    return [name for name in FIGURES if not many or name not in ("learning-curves", "losses")]


def _tables(results: Results, say: Say) -> dict[str, list[Table]]:
    """All tables that the records allow, by layout; all tasks come first."""
    tables = {"all-tasks": make_tables(results)}
    for number, layout in enumerate(LAYOUTS, 1):
        say(f"tables {number}/{len(LAYOUTS)}: {layout}")
        with suppress(RecordError):
            tables[layout] = make_tables(results, layout)
    return tables


def _page(
    results: Results, tables: dict[str, list[Table]], figures: list[Figure], absent: list[str]
) -> bytes:
    names = tuple(_names(results))
    shown = [figure for figure in figures if str(figure.get_label()).startswith(names)]
    return render(
        "page.html.jinja",
        name=results.folder.resolve().name,
        records=sorted(results.records, key=lambda record: record.file_name),
        tasks=ordered_tasks(results.frame["task"]),
        show=show_record,
        display=display,
        most_panels=MAX_PANELS,
        tables=tables,
        pictures=[(f.get_label(), _svg(f), *map(Text.get_text, f.texts)) for f in shown],
        warnings=_warnings(results, absent),
    ).encode()


def _svg(figure: Figure) -> str:
    """SVG of a figure in the colours of the page, with unique ids and rounded coordinates."""
    for text in figure.texts:
        text.set_visible(False)  # Title and caption are page text; their space is cropped.
    width, height = (72 * inches for inches in figure.get_size_inches())
    foot = 72 * FOOT * (figure.texts[1].get_text().count("\n") + 1)
    box = f'<svg viewBox="0 14 {width:.0f} {height - foot - 14:.0f}" '
    markup = re.sub(r'(?s)^.*?<svg .*?viewBox="[^"]*" ', box, image(figure, "svg").decode())
    markup = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{figure.get_label()}-", markup)
    markup = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(?<=\d\.\d)\d+", "", tag[0]), markup)
    for old, new in COLOURS.items():
        markup = markup.replace(old, new)
    return markup


def _warnings(results: Results, absent: list[str]) -> dict[str, Counter[str]]:
    """Warnings about the results by title, with their number of occurrences."""
    text = render(
        "warnings.txt.jinja",
        records=results.records,
        unused=results.warnings + results.bootstrap.warnings,
        absent=absent,
        tables=results.sections,
    )
    warnings: dict[str, Counter[str]] = defaultdict(Counter)
    for line in text.splitlines():
        title, _, message = line.partition(" | ")
        warnings[title][message] += 1
    return warnings
