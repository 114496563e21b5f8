"""All of a results folder as one page, or as files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import RecordError
from bench.files import atomic_write
from bench.reports import render
from bench.reports.canvas import FOOT, image
from bench.reports.figures import make_figures
from bench.reports.forms import FORMS, Table
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import LAYOUTS, display
from bench.reports.scores import Scores
from bench.reports.show import show_record
from bench.reports.tables import make_tables, ordered_tasks

Say: TypeAlias = Callable[[str], None]
"""Told what is made at the moment."""

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "tidy-csv": "tidy.csv", "json": "json"}


def save_page(results: Results, path: Path, say: Say = lambda text: None) -> None:
    """Write tables, figures, warnings and records as one file that loads nothing else."""
    tables = dict(_tables(results, say))
    atomic_write(path, _page(results, tables, *make_figures(results, say=say)))


def save_everything(results: Results, folder: Path, say: Say = lambda text: None) -> list[Path]:
    """Write all tables in all formats, all figures, and the page as ``index.html``."""
    files = {}
    for name, own in (tables := dict(_tables(results, say))).items():
        for form, suffix in SUFFIXES.items():
            files[f"tables/{name}.{suffix}"] = FORMS[form](own).encode()
    figures, warnings = make_figures(results, say=say)
    for figure in figures:
        for form in ("pdf", "png"):
            files[f"figures/{figure.get_label()}.{form}"] = image(figure, form)
    files["index.html"] = _page(results, tables, figures, warnings)
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def _tables(results: Results, say: Say) -> Iterator[tuple[str, list[Table]]]:
    """All tables that the records allow, by layout; all tasks come first."""
    for place, layout in enumerate((None, *LAYOUTS), 1):
        name = layout or "all-tasks"
        say(f"tables {place}/{len(LAYOUTS) + 1}: {name}")
        try:
            yield name, make_tables(results, layout)[0]
        except RecordError:
            if layout is None:
                raise


def _page(
    results: Results,
    tables: Mapping[str, list[Table]],
    figures: Sequence[Figure],
    absent: list[str],
) -> bytes:
    tasks = ordered_tasks(record.run.task for record in results.records)
    sections = [Scores(section) for section in make_sections(results, results.frame)]
    return render(
        "page.html.jinja",
        name=results.folder.resolve().name,
        records=sorted(results.records, key=lambda r: (tasks.index(r.run.task), r.file_name)),
        show=show_record,
        display=display,
        tables=tables,
        pictures=[(own.get_label(), _svg(own), *map(Text.get_text, own.texts)) for own in figures],
        warnings=_warnings(results, sections, absent),
    ).encode()


def _svg(figure: Figure) -> str:
    """Markup of a figure in the colours of the page, with ids of its own; coordinates rounded."""
    for text in figure.texts:
        text.set_visible(False)  # Title and caption stand beside it; their room is cut off.
    wide, high = (72 * inches for inches in figure.get_size_inches())
    foot = 72 * FOOT * (figure.texts[1].get_text().count("\n") + 1)
    markup = image(figure, "svg").decode()
    for old, new in (
        (
            r'(?s)^.*?<svg .*?viewBox="[^"]*" ',
            f'<svg viewBox="0 14 {wide:.0f} {high - foot - 14:.0f}" ',
        ),
        (r'(id="|href="#|url\(#)', rf"\g<1>{figure.get_label()}-"),
        (r"(\d\.\d)\d+", r"\1"),
        *(("#000000", "currentColor"), ("#dddddd", "var(--line)"), ("#ffffff", "var(--ground)")),
    ):
        markup = re.sub(old, new, markup)
    return markup


def _warnings(
    results: Results, sections: list[Scores], absent: list[str]
) -> dict[str, Counter[str]]:
    """What to know before trusting the numbers: where, and how often, by title."""
    text = render(
        "warnings.txt.jinja",
        records=results.records,
        unused=results.warnings + results.bootstrap.warnings,
        absent=absent,
        tables=sections,
    )
    found: dict[str, Counter[str]] = {}
    for title, _, line in (line.partition(" | ") for line in text.splitlines()):
        found.setdefault(title, Counter())[line] += 1
    return found
