"""All of a results folder as one page, or as files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import RecordError
from bench.files import atomic_write
from bench.reports import render
from bench.reports.canvas import FOOT, image
from bench.reports.figures import make_figures
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import LAYOUTS, display
from bench.reports.scores import Scores
from bench.reports.show import show_record
from bench.reports.tables import ordered_tasks, render_tables

Say: TypeAlias = Callable[[str], None]
"""Told what is made at the moment."""

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "tidy-csv": "tidy.csv", "json": "json"}


def save_page(results: Results, path: Path, say: Say = lambda text: None) -> None:
    """Write tables, figures, warnings and records as one file that loads nothing else."""
    texts = dict(_tables(results, ["json"], say))
    atomic_write(path, _page(results, texts, *make_figures(results, say=say)))


def save_everything(results: Results, folder: Path, say: Say = lambda text: None) -> list[Path]:
    """Write all tables in all formats, all figures, and the page as ``index.html``."""
    texts = dict(_tables(results, [*SUFFIXES], say))
    files = {f"tables/{name}": text.encode() for name, text in texts.items()}
    figures, warnings = make_figures(results, say=say)
    for figure in figures:
        for form in ("pdf", "png"):
            files[f"figures/{figure.get_label()}.{form}"] = image(figure, form)
    files["index.html"] = _page(results, texts, figures, warnings)
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def _tables(results: Results, forms: Sequence[Any], say: Say) -> Iterator[tuple[str, str]]:
    """Name and text of all tables that the records allow; all tasks come first."""
    for place, layout in enumerate((None, *LAYOUTS), 1):
        name = layout or "all-tasks"
        say(f"tables {place}/{len(LAYOUTS) + 1}: {name}")
        try:
            for form in forms:
                yield f"{name}.{SUFFIXES[form]}", render_tables(results, form, layout)[0]
        except RecordError:
            if layout is None:
                raise


def _page(
    results: Results, texts: Mapping[str, str], figures: Sequence[Figure], absent: list[str]
) -> bytes:
    tasks = ordered_tasks(record.run.task for record in results.records)
    sections = [Scores(section) for section in make_sections(results, results.frame)]
    links: dict[Any, str] = {}
    for scores in sections:
        own = scores.section.frame.sort_values("seed").drop_duplicates(["row", "task"])
        facts = json.dumps(scores.facts())
        links |= {(facts, *k): i for *k, i in zip(own["row"], own["task"], own["id"], strict=True)}
    tables = {
        name.removesuffix(".json"): json.loads(text)["tables"]
        for name, text in texts.items()
        if name.endswith(".json")
    }
    for table in (table for group in tables.values() for table in group):
        facts, fields = json.dumps(table["setting"]), table["fields"]
        table["width"] = len({(field["group"], field["column"]) for field in fields})
        for field in fields:
            keys = [(facts, field["row"], field[name]) for name in ("column", "group")]
            field["link"] = next((links[key] for key in keys if key in links), None)
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
    box = f'<svg viewBox="0 14 {wide:.0f} {high - foot - 14:.0f}" '
    markup = image(figure, "svg").decode()
    markup = re.sub(
        r"<metadata>.*?</metadata>", "", markup[markup.index("<svg") :], flags=re.DOTALL
    )
    markup = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{figure.get_label()}-", markup)
    markup = re.sub(r"(\d\.\d)\d+", r"\1", markup)
    markup = re.sub(r'^<svg .*?viewBox="[^"]*" ', box, markup)
    for colour, own in (("#000000", "currentColor"), ("#dddddd", "var(--line)")):
        markup = markup.replace(colour, own)
    return markup.replace("#ffffff", "var(--ground)")


def _warnings(
    results: Results, sections: list[Scores], absent: list[str]
) -> dict[str, Counter[str]]:
    """What to know before trusting the numbers: where, and how often, by title."""
    facts: dict[str, list[str]] = {}
    for made in (record.provenance for record in results.records):
        known = {"commit": made.git_commit, "python": made.python, "platform": made.platform}
        known |= {"processor": made.hardware.cpu, "gpu": made.hardware.gpu, **made.versions}
        for name, value in known.items():
            facts.setdefault(name, []).append(value or "none")
    text = render(
        "warnings.txt.jinja",
        records=results.records,
        unused=results.warnings + results.bootstrap.warnings,
        absent=absent,
        tables=sections,
        facts=facts,
    )
    found: dict[str, Counter[str]] = {}
    for title, _, line in (line.partition(" | ") for line in text.splitlines()):
        found.setdefault(title, Counter())[line] += 1
    return found
