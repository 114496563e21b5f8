"""The page: tables, figures, warnings and provenance, with everything it needs inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.files import atomic_write
from bench.reports.analyses import REFERENCE, TRANSFER, Analyses, all_sheets
from bench.reports.cautions import Caution, find_cautions
from bench.reports.figures import Drawing, Figures, draw_figures, small_png
from bench.reports.frames import build_tables
from bench.reports.html.details import Details
from bench.reports.html.views import TableGroup, TableView, sheet_view, table_views
from bench.reports.results import Results
from bench.reports.sections import make_sections
from bench.reports.sheets import Sheet

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Attributes:
        name: unique in the page.
        title: what it shows.
        caption: model, data, shots and seeds.
        alt: what can be seen.
        source: the picture itself, as a ``data:`` address.
    """

    name: str
    title: str
    caption: str
    alt: str
    source: str


def render_report(
    results: Results,
    method_order: Sequence[str] = (),
    analyses: Analyses | None = None,
    figures: Figures | None = None,
) -> str:
    """One HTML file: it loads nothing from anywhere, and what records say is shown as plain text.

    Equal records give an equal page.

    Args:
        results: the records.
        method_order: names of methods in the order of the rows; others follow by name.
        analyses: of these records, if they are there already.
        figures: the same.

    Raises:
        RecordError: there is no record to show.
    """
    sections = make_sections(results)
    tables = build_tables(results, method_order=method_order)
    details = Details(results)
    figures = figures or draw_figures(results, method_order)
    analyses = analyses or all_sheets(results, method_order)
    cautions = find_cautions(results, sections)
    unusable = tuple(dict.fromkeys([*details.warnings, *analyses.warnings]))
    if unusable:
        cautions.append(
            Caution("predictions", "Predictions of some cells cannot be used.", unusable)
        )
    settings = TableGroup(
        "tables",
        "Tables",
        "One for each setting. A score opens the cells behind it: metrics, curves, wrong answers, "
        "provenance.",
        tuple(table_views(tables, sections, details)),
    )
    style, script = (_read(name) for name in ("report.css", "report.js"))
    page = _environment().get_template("report.html.j2")
    return page.render(
        name=results.folder.resolve().name,
        cells=len(results.records),
        finished=sum(record.status == "finished" for record in results.records),
        cautions=cautions,
        groups=[settings, *_analyses(analyses.sheets)],
        pictures=[_picture(drawing) for drawing in figures.drawings],
        absent=[f"{name}: {error}" for name, error in figures.absent.items()],
        provenances=_provenances(details),
        details=details.plain(),
        # Files of the package: the only text that is not escaped.
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def save_report(
    results: Results,
    path: Path,
    method_order: Sequence[str] = (),
    analyses: Analyses | None = None,
    figures: Figures | None = None,
) -> None:
    """Write the page of :func:`render_report` to a file.

    Raises:
        RecordError: there is no record to show.
        OutputError: the file cannot be written.
    """
    atomic_write(path, render_report(results, method_order, analyses, figures).encode())


def _analyses(sheets: Mapping[str, Sequence[Sheet]]) -> Iterator[TableGroup]:
    """The paper's tables and the comparison, those that there are."""
    views: dict[bool, list[TableView]] = {False: [], True: []}
    for name, found in sheets.items():
        for sheet in found:
            # Figures have the names of layouts too.
            views[name == TRANSFER].append(sheet_view(f"{name}-table-{sheet.number}", sheet))
    if views[False]:
        about = "Tasks, metrics and averages as published."
        yield TableGroup("paper", "The paper's tables", about, tuple(views[False]), folded=True)
    if views[True]:
        about = f"Each method minus {REFERENCE}, over all targets and for each of them."
        yield TableGroup("transfer", "Transfer", about, tuple(views[True]), folded=True)


def _picture(drawing: Drawing) -> Picture:
    data = base64.b64encode(small_png(drawing)).decode("ascii")
    return Picture(
        name=drawing.name,
        title=drawing.title,
        caption=drawing.setting,
        alt=drawing.alt,
        source=f"data:image/png;base64,{data}",
    )


def _provenances(details: Details) -> list[dict[str, Any]]:
    counts = [0] * len(details.provenances)
    for cell in details.cells:
        counts[cell["provenance"]] += 1
    return [
        {**provenance, "cells": count}
        for provenance, count in zip(details.provenances, counts, strict=True)
    ]


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Lets the browser load nothing, and run nothing but the page's own script."""
    allowed = {"style": style, "script": script}
    hashes = [
        f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, text in allowed.items()
    ]
    return "; ".join(
        ["default-src 'none'", "img-src data:", *hashes, "base-uri 'none'", "form-action 'none'"]
    )


__all__ = ["render_report", "save_report"]
