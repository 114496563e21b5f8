"""All of a results folder as one page, or as files."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import RecordError
from bench.files import atomic_write
from bench.reports import render
from bench.reports.figures import image, make_figures
from bench.reports.forms import FORMS
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import LAYOUTS
from bench.reports.scores import Scores
from bench.reports.show import show_record
from bench.reports.tables import ordered_tasks, render_tables

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "tidy-csv": "tidy.csv", "json": "json"}


def save_page(results: Results, path: Path) -> None:
    """Write tables, figures, warnings and records as one file that loads nothing else."""
    texts = dict(_tables(results, ["json"]))
    atomic_write(path, _page(results, texts, *make_figures(results)))


def save_everything(results: Results, folder: Path) -> list[Path]:
    """Write all tables in all formats, all figures, and the page as ``index.html``."""
    texts = dict(_tables(results, [*FORMS]))
    files = {f"tables/{name}": text.encode() for name, text in texts.items()}
    figures, warnings = make_figures(results)
    for figure in figures:
        for form in ("pdf", "png"):
            files[f"figures/{figure.get_label()}.{form}"] = image(figure, form)
    files["index.html"] = _page(results, texts, figures, warnings)
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def _tables(results: Results, forms: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Name and text of all tables that the records allow; all tasks come first."""
    for layout in (None, *LAYOUTS):
        try:
            for form in forms:
                text, _ = render_tables(results, form, layout)
                yield f"{layout or 'all-tasks'}.{SUFFIXES[form]}", text
        except RecordError:
            if layout is None:
                raise


def _page(
    results: Results, texts: Mapping[str, str], figures: list[Figure], absent: list[str]
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
        tables=tables,
        pictures=[
            (base64.b64encode(image(own, "png", dpi=110)).decode(), *map(Text.get_text, own.texts))
            for own in figures
        ],
        warnings=_warnings(results, sections, absent),
    ).encode()


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
