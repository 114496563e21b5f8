"""Builds result tables from records: one table per setting, in a layout."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import ConfigError, RecordError, UnknownNameError, lookup
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
from bench.reports.layouts import DASH, LAYOUTS, Layout, display
from bench.tasks import SOURCE_ONLY, SUITES
from bench.tasks.metrics import METRICS


def render_tables(results: Results, form: str, layout: str | None = None, **options: Any) -> str:
    """All tables of a result folder as text.

    ``form`` is a key of ``FORMS``: ``csv`` has a line per table row, ``tidy-csv`` one per field;
    ``latex-document`` is a complete document. Options: see :func:`make_tables`.
    """
    write = lookup("format", form, FORMS)
    return write(make_tables(results, layout, **options))


def make_tables(
    results: Results,
    layout: str | None = None,
    published: bool = False,
    marks: bool | None = None,
    against: str | None = None,
) -> list[Table]:
    """All tables of a result folder, one per setting.

    Without a layout, all tasks share a table. ``published`` adds published numbers; ``marks`` tests
    differences to the row ``against`` (defaults: if one of the two is given; the layout's).
    RecordError if there is no record to show, or nothing to compare with; ConfigError if an option
    does not fit the layout.
    """
    spec = Layout() if layout is None else lookup("layout", layout, LAYOUTS)
    _check_options(spec, layout, published=published or None, marks=marks, against=against)
    frame, sections = results.frame, results.sections
    if sections and spec.groups:
        selected = frame["task"].isin([task for tasks in spec.groups.values() for task in tasks])
        if spec.methods:
            selected &= frame["method"].isin(spec.methods)
        if spec.by_shots:
            few = frame["shots"] < math.inf
            selected &= few | (frame["untrained"] & bool(few.any()))
        sections = make_sections(results, frame[selected], spec.by_shots, spec.labels)
    if not sections:
        tasks = [task for names in spec.groups.values() for task in names]
        purpose = f"for layout {layout} ({', '.join(tasks)}) " if tasks else ""
        raise RecordError(
            f"no readable record {purpose}in {results.folder}: run `bench run` with this folder as "
            "--out first"
        )
    rows = {row for scores in sections for row in scores.rows if row != MAJORITY}
    if against is not None:
        against = {display(row): row for row in rows}.get(against, against)
        if against not in rows:
            raise UnknownNameError("row", against, rows)
    if marks is None:
        marks = bool(layout or against)
    reference = against or spec.reference
    compared = reference if (marks and spec.details) or spec.ranks else ""
    tables: list[Table] = []
    for scores in sections:
        if spec.transfer:
            tables += _transfer(scores, reference)
        else:
            if not layout:
                spec = Layout(groups=_suites(scores.tasks))
            tables.append(_table(scores, layout or "all-tasks", spec, published, compared))
    if not tables:
        rows = {row for scores in sections for row in scores.finished["row"]}
        raise RecordError(
            f"nothing to compare with {reference!r} in {results.folder}: no other finished row has "
            f"its settings; choose --against from {', '.join(sorted(rows)) or 'finished rows'}"
        )
    return tables


def _check_options(spec: Layout, layout: str | None, **options: object) -> None:
    """Raise ConfigError for an option that a layout does not use."""
    used = {
        "published": not spec.transfer,
        "marks": spec.details and not spec.transfer,
        "against": spec.details or spec.ranks,
    }
    for name, value in options.items():
        if value is not None and not used[name]:
            option = f"--no-{name}" if value is False else f"--{name}"
            raise ConfigError(f"{option} has no effect in layout {layout}: leave it out")


def _suites(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Tasks by suite; tasks without a suite and those that are only sources come last."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        suites = (suite for suite in SUITES if name in {*SUITES[suite]} - SOURCE_ONLY)
        groups[next(suites, "")].append(name)
    return {display(suite): groups[suite] for suite in (*SUITES, "") if suite in groups}


def _table(scores: Scores, name: str, layout: Layout, published: bool, against: str) -> Table:
    columns = list(_columns(scores, layout))
    kinds = dict.fromkeys(scores.untrained, "untrained") | {MAJORITY: "majority"}
    lines = [Line(row, [], kinds.get(row, "method")) for row in scores.rows]
    for column in columns:
        make_cell = scores.cell if column.tasks else partial(_amount, scores)
        cells = [make_cell(row, column) for row in scores.rows]
        means = [round(cell.get("mean", -math.inf), 1) for cell in cells]
        others = [m for line, m in zip(lines, means, strict=True) if line.kind != "majority"]
        # Only the table metric of a task is tested.
        tested = column.kind == "score" and column.metric == scores.metrics.get(column.tasks[0])
        for line, cell, mean in zip(lines, cells, means, strict=True):
            cell["best"] = math.isfinite(mean) and mean == max(others) and line.kind != "majority"
            if tested and against in scores.rows:
                difference = scores.difference(line.label, against, column)
                cell |= {k: v for k, v in difference.items() if k in ("difference", "p_value")}
            line.cells.append(cell)
    cells = [line.cells[index] for index in range(len(columns)) for line in lines]
    tasks = dict.fromkeys(task for column in columns for task in column.tasks)
    trained = [row for row in scores.rows if row not in scores.untrained]
    metrics = {c.tasks[0]: c.metric for c in columns if c.kind == "score" and c.metric != c.title}
    caption, notes = _texts(
        scores,
        cells=cells,
        tasks=tasks,
        against=against,
        tested=adjust(cells) if against and layout.details else None,
        ranked=_add_ranks(scores, columns, lines, tasks, against) if layout.ranks else None,
        published=_add_published(columns, lines) if published else [],
        runs={(row, task, c.shots) for row in trained for c in columns for task in c.tasks},
        several=layout.metrics,
        metrics={t: display(m) + _rule(scores, t, m) for t, m in metrics.items() if m},
        shown={column.metric for column in columns},
    )
    return Table(name, layout.title, caption, notes, scores.facts(), columns, lines)


def _rule(scores: Scores, task: str, metric: str) -> str:
    """Suffix that tells apart metrics of equal names."""
    stored = [r.predictions for r in scores.records.values() if r.run.task == task]
    names = {name for predictions in stored if predictions for name in predictions.scorers}
    scorers = [METRICS[name] for name in names if name in METRICS]
    return " or".join(sorted({scorer.rule for scorer in scorers if metric in scorer.outputs}))


def _add_ranks(
    scores: Scores, columns: list[Column], lines: list[Line], tasks: Iterable[str], against: str
) -> int:
    """Add columns of mean rank and of outcomes against a row; returns the number of tasks."""
    means = scores.means(tasks, columns[-1].shots).map(partial(round, ndigits=1))
    ranks = means.rank(ascending=False).mean(axis=1)
    differences = means - means.loc[against] if against in means.index else means[:0]
    columns += [Column("rank", "", "rank"), Column("outcomes", "", "W/T/L")]
    for line in lines:
        line.cells.extend([{}, {}])
        if len(means.columns) and line.label in means.index:
            rank = float(ranks[line.label])
            best = bool(rank == ranks.min())
            line.cells[-2] = {"number": f"{rank:.2f}", "value": rank, "best": best}
            if line.label in differences.index and line.label != against:
                counts = wins_ties_losses(differences.loc[line.label])
                line.cells[-1] = {"number": "/".join(map(str, counts))}
    return len(means.columns)


def wins_ties_losses(differences: Iterable[float]) -> list[int]:
    """Numbers of differences above, at and below 0, rounded as in tables."""
    rounded = [round(value, 1) for value in differences]
    return [sum(v > 0 for v in rounded), sum(v == 0 for v in rounded), sum(v < 0 for v in rounded)]


def _columns(scores: Scores, layout: Layout) -> Iterator[Column]:
    """Columns in the order of the layout; a group keeps tasks without runs, to show gaps."""
    shots = sorted(scores.frame["shots"].unique())
    if layout.average:
        yield Column("parameters", "", "parameters")
    if layout.parameters:
        yield Column("share", "", "share (%)")
    for group, tasks in layout.groups.items():
        if not set(tasks) & set(scores.tasks):
            continue
        for task in tasks if layout.details else ():
            for count in shots:
                title = f"{count:g}" if layout.by_shots else task
                for metric in layout.metrics or (scores.metrics.get(task, ""),):
                    head = metric if layout.metrics else title
                    yield Column("score", group, head, (task,), count, metric)
        if layout.average and group and (len(tasks) > 1 or not layout.details):
            yield Column("average", group, "average", tuple(tasks), shots[0])


def _amount(scores: Scores, row: str, column: Column) -> Cell:
    """Trained parameters of a row, as a number or as a share of the model."""
    counts = sorted(scores.frame.loc[scores.frame["row"] == row, "parameters"].dropna())
    share = column.kind == "share"
    factor = 100 / scores.model.parameters if share else 1.0
    values = [count * factor for count in counts]
    texts = [f"{value:.2g}" if share else _compact(value) for value in values]
    text = DASH.join(dict.fromkeys([*texts[:1], *texts[-1:]])) or DASH
    return {"number": text, "value": values[-1] if values else None}


def _compact(count: float) -> str:
    """A number of parameters with a unit."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def _transfer(scores: Scores, against: str) -> Iterator[Table]:
    """Differences to a row over all targets, and per target."""
    if not (differences := scores.differences(against)):
        return
    cells = [cell for by_task in differences.values() for cell in by_task.values()]
    tested = sum("p_value" in cell for cell in cells)
    heads = [Column("difference", "", row) for row in differences]
    by_target = {t: [row.get(t, {}) for row in differences.values()] for t in scores.tasks}
    targets = [Line(task, row, "target") for task, row in by_target.items() if any(row)]
    facts = scores.facts() | {"against": against}
    for kind, scope, corner, (columns, lines) in (
        ("summary", "over all targets", "method", _summary(scores, differences)),
        ("target", "per target", "target", (heads, targets)),
    ):
        title = f"Transfer {scope}, each method minus {display(against)}"
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
    scores: Scores, differences: Mapping[str, dict[str, Cell]]
) -> tuple[list[Column], list[Line]]:
    """Columns and lines of the transfer summary, one line per row."""
    means = [[cell["difference"] for cell in cells.values()] for cells in differences.values()]
    p_values = [statistics.wilcoxon_p_value(values) for values in means]
    tests = zip(p_values, statistics.holm(p_values), strict=True)
    ids = scores.frame.groupby("row")["id"].unique()
    lines = []
    for (row, by_task), values, tested in zip(differences.items(), means, tests, strict=True):
        mean: Cell = {"difference": math.fsum(values) / len(values)}
        if len(values) > 1:
            groups = [list(cell["by_seed"].values()) for cell in by_task.values()]
            interval = statistics.two_level_interval(groups, row)
            mean["ci_low"], mean["ci_high"] = interval
        mean |= {"number": number(mean["difference"], "+"), "after": interval_text(mean)}
        marks = Counter(cell.get("mark") for cell in by_task.values())
        untested = not any("p_value" in cell for cell in by_task.values())
        significant = [DASH, DASH] if untested else [marks[BETTER], marks[WORSE]]
        counts = [*wins_ties_losses(values), *significant]
        sources = [source.task for id in ids[row] for source in scores.records[id].sources]
        cells = [
            {"number": str(len(values))},
            mean,
            *({"number": str(count)} for count in counts),
            *({"number": p_text(p_value), "p_value": p_value} for p_value in tested),
            {"number": ", ".join(map(display, dict.fromkeys(sources))) or DASH},
        ]
        lines.append(Line(row, cells, "summary"))
    kinds = {"sources": "text"}
    return [Column(kinds.get(t, "difference"), head, t) for t, head in SUMMARY.items()], lines


def _add_published(columns: Sequence[Column], lines: list[Line]) -> list[str]:
    """Insert published numbers after the rows of their method; returns notes on their origin."""
    numbers = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})
    letters: dict[str, str] = {}
    added: dict[str, Line] = {}
    for index, column in enumerate(columns):
        filters = {"task": column.tasks[:1], "metric": [column.metric]}
        if column.kind == "average":
            suite = column.group.lower()  # The papers average over the whole suite.
            complete = {*column.tasks} == {*SUITES.get(suite, ())} - SOURCE_ONLY
            filters = {"task": ["average"], "suite": [suite] if complete else []}
        matching = numbers[[*filters]].isin(filters).all(axis=1) & math.isinf(column.shots)
        for entry in numbers[matching].to_dict("records"):
            label = f"{entry['method']}, published: {entry['paper']}, table {entry['table']}"
            letter = letters.setdefault(entry["provenance"], chr(ord("a") + len(letters)))
            cells = added.setdefault(label, Line(label, [{} for _ in columns], "published")).cells
            value = entry["value"]
            cells[index] = {"number": number(value), "published": value, "after": f"({letter})"}
    order = {line.label: index for index, line in enumerate(lines)}
    lines += added.values()
    lines.sort(key=lambda line: order.get(line.label.split(", published: ")[0], len(order)))
    if not letters:
        return ["No published number fits this table; they are on the full training data."]
    note = "Published numbers are of the paper's model and datasets."
    return [note, *(f"({letter}) {text}." for text, letter in letters.items())]


def _texts(scores: Scores, **facts: object) -> tuple[str, list[str]]:
    """Caption (meaning of the numbers) and notes (setting)."""
    text = render("table.txt.jinja", scores=scores, statistics=statistics, display=display, **facts)
    caption, *notes = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return caption, notes
