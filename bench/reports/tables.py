"""Builds result tables from records: one table per setting, in a layout."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import RecordError, UnknownNameError
from bench.reports import render, statistics
from bench.reports.forms import FORMS, Line, Table
from bench.reports.frame import (
    BETTER,
    MAJORITY,
    WORSE,
    Cell,
    Column,
    Results,
    Scores,
    adjust,
    interval_text,
    make_sections,
    number,
    p_text,
)
from bench.reports.layouts import DASH, Layout, display, get_layout
from bench.tasks import SOURCE_ONLY, SUITES
from bench.tasks.metrics import METRICS


def render_tables(
    results: Results, form: str, layout: str | None = None, **options: Any
) -> tuple[str, list[str]]:
    """All tables of a results folder as text, and warnings about unusable predictions.

    ``form`` is a key of ``FORMS``: ``csv`` has a line per table row, ``tidy-csv`` one per field;
    ``latex-document`` is a complete document. Options: see :func:`make_tables`.
    """
    if form not in FORMS:
        raise UnknownNameError("format", form, FORMS)
    tables, warnings = make_tables(results, layout, **options)
    return FORMS[form](tables), warnings


def make_tables(
    results: Results,
    layout: str | None = None,
    published: bool = False,
    marks: bool | None = None,
    against: str | None = None,
) -> tuple[list[Table], list[str]]:
    """All tables of a results folder, one per setting, and warnings about unusable predictions.

    Without a layout, all tasks share a table. ``published`` adds published numbers; ``marks`` tests
    differences to the row ``against`` (defaults: if a layout is given; its reference).

    Raises:
        RecordError: there is no record to show, or nothing to compare with.
    """
    frame, shape = results.frame, get_layout(layout) if layout else Layout()
    if len(frame) and shape.groups:
        kept = frame["task"].isin([task for tasks in shape.groups.values() for task in tasks])
        kept &= frame["method"].isin(shape.methods) | (not shape.methods)
        few = frame["shots"] < math.inf
        kept &= few | (frame["constant"] & bool(few.any())) | (not shape.by_shots)
        frame = frame[kept]
    # Layouts without groups of tasks show all runs.
    sections = results.sections
    if shape.groups:
        sections = make_sections(results, frame, shape.by_shots, shape.labels)
    if not sections:
        shown = f"for layout {layout} " if layout else ""
        raise RecordError(
            f"no readable record {shown}in {results.folder}: run `bench run` with this folder as "
            "--out first"
        )
    marks = shape.details and (layout is not None if marks is None else marks)
    reference = against or shape.reference
    tables: list[Table] = []
    for scores in sections:
        if shape.transfer:
            tables += _transfer(scores, reference)
        else:
            own = shape if layout else Layout("", _suites(scores.tasks))
            compared = reference if marks or shape.ranks else ""
            tables.append(_table(scores, layout or "all-tasks", own, published, compared))
    if not tables:
        rows = sorted({row for scores in sections for row in scores.frame["row"]})
        raise RecordError(
            f"nothing to compare with {reference!r} in {results.folder}: no other row has its "
            f"settings; choose --against from {', '.join(rows)}"
        )
    return tables, results.bootstrap.warnings


def _suites(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Tasks by suite; tasks without a suite and those that are only sources come last."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        own = (suite for suite in SUITES if name in {*SUITES[suite]} - SOURCE_ONLY)
        groups[next(own, "")].append(name)
    return {display(suite): groups[suite] for suite in (*SUITES, "") if suite in groups}


def _table(scores: Scores, name: str, layout: Layout, published: bool, against: str) -> Table:
    columns = list(_columns(scores, layout))
    kinds = dict.fromkeys(scores.constant, "constant") | {MAJORITY: "majority"}
    lines = [Line(row, [], kinds.get(row, "method")) for row in scores.rows]
    for column in columns:
        make = scores.cell if column.tasks else partial(_amount, scores)
        cells = [make(row, column) for row in scores.rows]
        means = [round(cell.get("mean", -math.inf), 1) for cell in cells]
        own = [m for line, m in zip(lines, means, strict=True) if line.kind != "majority"]
        for line, cell, mean in zip(lines, cells, means, strict=True):
            cell["best"] = math.isfinite(mean) and mean == max(own) and line.kind != "majority"
            # Only the table metric of a task is tested.
            tested = column.kind == "score" and column.metric == scores.metrics.get(column.tasks[0])
            if tested and against in scores.rows:
                found = scores.difference(line.label, against, column)
                cell |= {k: v for k, v in found.items() if k in ("difference", "p_value")}
            line.cells.append(cell)
    places = [line.cells[at] for at in range(len(columns)) for line in lines]
    tasks = [task for column in columns for task in column.tasks]
    facts: dict[str, Any] = {"tested": adjust(places) if against and layout.details else None}
    facts["ranked"] = _add_ranks(scores, columns, lines, tasks, against) if layout.ranks else None
    facts["published"] = _add_published(scores, columns, lines) if published else []
    at = {(task, column.shots) for column in columns for task in column.tasks}
    runs = {(row, *place) for row in scores.rows if row not in scores.constant for place in at}
    facts |= {"runs": runs, "tasks": dict.fromkeys(tasks), "several": layout.metrics}
    metrics = {c.tasks[0]: c.metric for c in columns if c.kind == "score" and c.metric != c.title}
    facts["metrics"] = {
        task: display(own) + _rule(scores, task, own) for task, own in metrics.items() if own
    }
    facts["shown"] = {column.metric for column in columns}
    texts = _texts(scores, cells=places, against=against, **facts)
    return Table(name, layout.title, *texts, scores.facts(), columns, lines)


def _rule(scores: Scores, task: str, metric: str) -> str:
    """Suffix that tells apart metrics of equal names."""
    records = (own for own in scores.records.values() if own.run.task == task)
    names = {name for own in records if own.predictions for name in own.predictions.scorers}
    known = (METRICS[name] for name in names if name in METRICS)
    return " or".join(sorted({own.rule for own in known if metric in own.outputs}))


def _add_ranks(
    scores: Scores, columns: list[Column], lines: list[Line], tasks: Iterable[str], against: str
) -> int:
    """Add columns of mean rank and of outcomes against a row; returns the number of tasks."""
    means = scores.means(dict.fromkeys(tasks), columns[-1].shots).map(partial(round, ndigits=1))
    ranks = means.rank(ascending=False).mean(axis=1)
    steps = means - means.loc[against] if against in means.index else means[:0]
    columns += [Column("rank", "", "rank"), Column("outcomes", "", "W/T/L")]
    for line in lines:
        rank: Cell = {}
        outcomes: Cell = {}
        if len(means.columns) and line.label in means.index:
            value = float(ranks[line.label])
            rank = {"number": f"{value:.2f}", "value": value, "best": bool(value == ranks.min())}
            if line.label in steps.index and line.label != against:
                outcomes = {"number": "/".join(map(str, wins_ties_losses(steps.loc[line.label])))}
        line.cells.extend([rank, outcomes])
    return len(means.columns)


def wins_ties_losses(differences: Iterable[float]) -> list[int]:
    """Numbers of differences above, at and below 0, rounded as in tables."""
    shown = [round(value, 1) for value in differences]
    return [sum(v > 0 for v in shown), sum(v == 0 for v in shown), sum(v < 0 for v in shown)]


def _columns(scores: Scores, layout: Layout) -> Iterator[Column]:
    """Columns in the order of the layout; a group keeps tasks without runs, to show gaps."""
    frame = scores.frame
    shots = sorted(frame["shots"].unique())
    if layout.average:
        yield Column("parameters", "", "parameters")
    if layout.parameters:
        yield Column("share", "", "share (%)")
    for group, tasks in layout.groups.items():
        if not set(tasks) & set(frame["task"]):
            continue
        for task in tasks if layout.details else ():
            usual = scores.metrics.get(task, "")
            for count in shots:
                for metric in layout.metrics or (usual,):
                    title = metric if layout.metrics else f"{count:g}" if layout.by_shots else task
                    yield Column("score", group, title, (task,), count, metric)
        if layout.average and group and (len(tasks) > 1 or not layout.details):
            yield Column("average", group, "average", tuple(tasks), shots[0])


def _amount(scores: Scores, row: str, column: Column) -> Cell:
    """Trained parameters of a row, as a number or as a share of the model."""
    counts = sorted(scores.frame.loc[scores.frame["row"] == row, "parameters"].dropna())
    percent, share = 100 / scores.model.parameters, column.kind == "share"
    ends = [f"{end * percent:.2g}" if share else _compact(end) for end in counts]
    text = DASH.join(dict.fromkeys([*ends[:1], *ends[-1:]])) or DASH
    return {"number": text, "value": counts[-1] * (percent if share else 1) if counts else None}


def _compact(count: float) -> str:
    """A number of parameters with a unit."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def _transfer(scores: Scores, against: str) -> Iterator[Table]:
    """Differences to a row over all targets, and per target."""
    if not (found := scores.differences(against)):
        return
    cells = [cell for own in found.values() for cell in own.values()]
    tested = sum("p_value" in cell for cell in cells)
    tasks = [task for task in scores.tasks if any(task in own for own in found.values())]
    targets = [
        Line(task, [own.get(task, {}) for own in found.values()], "target") for task in tasks
    ]
    heads = [Column("difference", "", row) for row in found]
    facts = scores.facts() | {"against": against}
    for kind, about, corner, (columns, lines) in (
        ("summary", "over all targets", "method", _summary(scores, found)),
        ("target", "per target", "target", (heads, targets)),
    ):
        title = f"Transfer {about}, each method minus {display(against)}"
        marked = cells if kind == "target" else []
        texts = _texts(scores, cells=marked, transfer=kind, against=against, tested=tested)
        yield Table("transfer", title, *texts, facts, columns, lines, corner)


SUMMARY = {
    "targets": "",
    "mean difference": "",
    **dict.fromkeys(("win", "tie", "loss"), "targets with a"),
    **dict.fromkeys(("wins", "losses"), "significant"),
    **dict.fromkeys(("p", "p (Holm)"), "Wilcoxon over targets"),
    "sources": "",
}
"""Column titles of the transfer summary, with the group headings above them."""


def _summary(
    scores: Scores, found: Mapping[str, dict[str, Cell]]
) -> tuple[list[Column], list[Line]]:
    """Columns and lines of the transfer summary, one line per row."""
    means = {row: [cell["difference"] for cell in own.values()] for row, own in found.items()}
    tests = [statistics.wilcoxon_p_value(own) for own in means.values()]
    ids = scores.frame.groupby("row")["id"].unique()
    lines = []
    for (row, own), *p_values in zip(means.items(), tests, statistics.holm(tests), strict=True):
        first: Cell = {"difference": math.fsum(own) / len(own)}
        if len(own) > 1:
            groups = [list(cell["by_seed"].values()) for cell in found[row].values()]
            ends = statistics.two_level_interval(groups, statistics.seeded(row))
            first["ci_low"], first["ci_high"] = ends
        first |= {"number": number(first["difference"], "+"), "after": interval_text(first)}
        marks = Counter(cell.get("mark") for cell in found[row].values())
        untested = not any("p_value" in cell for cell in found[row].values())
        significant = [DASH] * 2 if untested else [marks[BETTER], marks[WORSE]]
        counts = [*wins_ties_losses(own), *significant]
        sources = [source.task for id in ids[row] for source in scores.records[id].sources]
        cells = [
            {"number": str(len(own))},
            first,
            *({"number": str(count)} for count in counts),
            *({"number": p_text(p_value), "p_value": p_value} for p_value in p_values),
            {"number": ", ".join(map(display, dict.fromkeys(sources))) or DASH},
        ]
        lines.append(Line(row, cells, "summary"))
    kinds = {"sources": "text"}
    return [Column(kinds.get(t, "difference"), head, t) for t, head in SUMMARY.items()], lines


def _add_published(scores: Scores, columns: Sequence[Column], lines: list[Line]) -> list[str]:
    """Insert published numbers after the rows of their method; returns notes on their origin."""
    known = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})
    letters: dict[str, str] = {}
    added: dict[str, Line] = {}
    for place, column in enumerate(columns):
        wanted = {"task": column.tasks[:1], "metric": [column.metric]}
        if column.kind == "average":
            suite = column.group.lower()  # The papers average over the whole suite.
            whole = {*column.tasks} == {*SUITES.get(suite, ())} - SOURCE_ONLY
            wanted = {"task": ["average"], "suite": [suite] if whole else []}
        fits = known[[*wanted]].isin(wanted).all(axis=1) & math.isinf(column.shots)
        for line in known[fits].to_dict("records"):
            name = f"{line['method']}, published: {line['paper']}, table {line['table']}"
            letter = letters.setdefault(line["provenance"], chr(ord("a") + len(letters)))
            row = added.setdefault(name, Line(name, [{} for _ in columns], "published"))
            value = line["value"]
            row.cells[place] = {"number": number(value), "published": value, "after": f"({letter})"}
    order = {line.label: at for at, line in enumerate(lines)}
    lines += added.values()
    lines.sort(key=lambda line: order.get(line.label.split(", published: ")[0], len(order)))
    if not letters:
        return ["No published number fits this table; they are on the full training data."]
    note = "Published numbers are of the paper's model and datasets."
    return [note, *(f"({letter}) {text}." for text, letter in letters.items())]


def _texts(scores: Scores, **facts: object) -> tuple[str, list[str]]:
    """Caption (meaning of the numbers) and notes (setting)."""
    facts |= {"scores": scores, "statistics": statistics, "show": display}
    text = render("table.txt.jinja", **facts)
    caption, *notes = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return caption, notes
