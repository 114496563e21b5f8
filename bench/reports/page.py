"""All of a results folder as one page, or as files."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from bench.errors import RecordError
from bench.files import atomic_write
from bench.record import Record
from bench.reports.figures import image, make_figures
from bench.reports.forms import FORMS
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import LAYOUTS
from bench.reports.scores import Scores
from bench.reports.show import show_record
from bench.reports.tables import ordered_tasks, render_tables

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "tidy-csv": "tidy.csv", "json": "json"}

CHECKS: Mapping[str, Callable[[Record], Sequence[str]]] = {
    "Bundled model or samples: not a benchmark result": lambda r: (
        [f"model {r.run.model.name}"] * r.run.model.bundled
        + ["bundled samples"] * (r.run.data.kind == "bundled")
    ),
    "Failed runs": lambda r: [f"{r.run.describe()}: {r.error.message}"] if r.error else [],
    "Uncommitted changes or no git checkout: the code is not known": lambda r: (
        [f"commit {r.provenance.git_commit or 'unknown'}"] * (r.provenance.git_dirty is not False)
    ),
    "Fewer than 100 test rows: one row is worth over a percentage point": lambda r: (
        [f"{r.run.task}: {r.rows.test} test rows"] if r.rows and r.rows.test < 100 else []
    ),
    "Less than 90 % of the test answers are labels of the task": lambda r: (
        [f"{r.run.describe()}: {share:.0%}"]
        if r.scores and (share := r.scores.valid_label_share.test) is not None and share < 0.9
        else []
    ),
    "Metrics left out": lambda r: (
        [f"{name}: {why}" for name, why in r.scores.left_out.items()] if r.scores else []
    ),
    "Rows or splits differ from the protocol": lambda r: (
        [f"{r.run.task}: {note}" for note in r.rows.notes] if r.rows else []
    ),
}
"""Warnings by their titles: lines of a record."""


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
    records = sorted(results.records, key=lambda r: (tasks.index(r.run.task), r.file_name))
    first: dict[Any, str] = {}
    for section in make_sections(results, results.frame):
        own = section.frame.sort_values("seed").drop_duplicates(["row", "task"])
        facts = json.dumps(Scores(section).facts())
        first |= {(facts, *k): i for *k, i in zip(own["row"], own["task"], own["id"], strict=True)}
    tables = {
        name.removesuffix(".json"): json.loads(text)["tables"]
        for name, text in texts.items()
        if name.endswith(".json")
    }
    for table in (table for group in tables.values() for table in group):
        facts, heads = (
            json.dumps(table["setting"]),
            {(f["group"], f["column"]) for f in table["fields"]},
        )
        table["width"] = len(heads)
        for field in table["fields"]:
            keys = [(facts, field["row"], field[name]) for name in ("column", "group")]
            field["link"] = next((first[key] for key in keys if key in first), None)
    pictures = [
        (base64.b64encode(image(own, "png", dpi=110)).decode(), *(t.get_text() for t in own.texts))
        for own in figures
    ]
    folder = FileSystemLoader(Path(__file__).parent)
    jinja = Environment(loader=folder, autoescape=True, trim_blocks=True)
    text = jinja.get_template("page.html.jinja").render(
        name=results.folder.resolve().name,
        records=records,
        show=show_record,
        tables=tables,
        pictures=pictures,
        warnings=_warnings(results, absent),
    )
    return text.encode()


def _warnings(results: Results, absent: list[str]) -> dict[str, Mapping[str, int]]:
    """What to know before trusting the numbers: where, and how often, by title."""
    found = {
        title: [line for record in results.records for line in check(record)]
        for title, check in CHECKS.items()
    }
    found["Files left out, or predictions not used"] = results.warnings + results.bootstrap.warnings
    found["Figures not drawn"] = absent
    found["Seeds missing, contradicting or single"] = list(_gaps(results))
    facts: dict[str, list[str]] = {}
    for made in (record.provenance for record in results.records):
        known = {"commit": made.git_commit, "python": made.python, "platform": made.platform}
        known |= {"processor": made.hardware.cpu, "gpu": made.hardware.gpu, **made.versions}
        for name, value in known.items():
            facts.setdefault(name, []).append(f"{name}: {value or 'none'}")
    mixed = [line for lines in facts.values() if len({*lines}) > 1 for line in lines]
    found["Several versions or machines"] = mixed
    return {title: Counter(lines) for title, lines in found.items() if lines}


def _gaps(results: Results) -> Iterator[str]:
    for number, section in enumerate(make_sections(results, results.frame), 1):
        scores, shots = Scores(section), section.setting["shots"]
        if len(scores.seeds) == 1:
            yield f"table {number}: a single seed, without any spread"
        for place in product(scores.rows, section.frame["task"].unique(), [shots]):
            lacking = len(scores.seeds) - scores.recorded.get(place, 0)
            if place in scores.conflicts:
                yield f"table {number}, {place[0]} on {place[1]}: records contradict each other"
            elif lacking and place[0] not in scores.constant:
                yield f"table {number}, {place[0]} on {place[1]}: {lacking} seeds missing"
