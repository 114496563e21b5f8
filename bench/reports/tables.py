"""Result tables: records by setting, laid out as one of the layouts, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pandas as pd

from bench.errors import RecordError, UnknownNameError
from bench.reports import render
from bench.reports.forms import FORMS, Table
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import DASH, Layout, get_layout
from bench.reports.scores import (
    MAJORITY,
    SUMMARY,
    Cell,
    Column,
    Line,
    Scores,
    adjust,
    differences,
    interval_text,
    number,
    summary_lines,
)
from bench.reports.statistics import ALPHA, LEVEL, RESAMPLES
from bench.tasks import TASKS


def render_tables(
    results: Results,
    form: Literal["markdown", "latex", "csv", "json", "tidy-csv"],
    layout: str | None = None,
    spread: Literal["std", "ci"] = "std",
    published: bool = False,
    marks: bool | None = None,
    against: str | None = None,
) -> tuple[str, list[str]]:
    """All tables of a results folder, one per setting, and warnings about unusable predictions.

    Args:
        results: the records.
        form: ``csv`` is the table itself, ``tidy-csv`` has a line per field.
        layout: its name; None: one table of all tasks.
        spread: behind a mean: deviation over seeds, or interval over test rows.
        published: whether published numbers stand beside ours.
        marks: whether differences to the reference are tested; None: if there is a layout.
        against: label of the reference row; None: that of the layout.

    Raises:
        RecordError: there is no record to show, or nothing to compare with.
    """
    if form not in FORMS:
        raise UnknownNameError("format", form, FORMS)
    frame = results.frame
    shape = get_layout(layout) if layout else Layout("", {})
    if len(frame) and shape.groups:
        kept = frame["task"].isin([task for tasks in shape.groups.values() for task in tasks])
        kept &= frame["method"].isin(shape.methods) | (not shape.methods)
        kept &= frame["constant"] | (frame["shots"] < math.inf) | (not shape.by_shots)
        frame = frame[kept]
    sections = make_sections(results, frame, shape.by_shots)
    if not sections:
        shown = f"for layout {layout} " if layout else ""
        raise RecordError(
            f"no readable record {shown}in {results.folder}: run `bench run` with this folder as "
            "--out first"
        )
    marks = shape.details and (layout is not None if marks is None else marks)
    bootstrap = results.bootstrap if marks or shape.transfer or spread == "ci" else None
    reference = against or shape.reference
    tables: list[Table] = []
    for section in sections:
        if layout is None:
            shape = Layout("", {"": tuple(ordered_tasks(section.frame["task"]))})
        scores = Scores(section, bootstrap, shape.labels)
        if shape.transfer:
            tables += _transfer(scores, reference)
        else:
            tables.append(_table(scores, shape, spread, published, reference if marks else ""))
    if not tables:
        rows = sorted({row for section in sections for row in section.frame["row"]})
        raise RecordError(
            f"nothing to compare with {reference!r} in {results.folder}: choose one of the rows "
            f"{', '.join(rows)}"
        )
    return FORMS[form](tables), bootstrap.warnings if bootstrap else []


def ordered_tasks(names: Iterable[str]) -> list[str]:
    """Tasks in the order of the suites; others follow by name."""
    place = {task.name: number for number, task in enumerate(TASKS)}
    return sorted(set(names), key=lambda name: (place.get(name, len(place)), name))


def _table(scores: Scores, layout: Layout, spread: str, published: bool, against: str) -> Table:
    columns = list(_columns(scores, layout))
    lines = [Line(row, [], "majority" if row == MAJORITY else "method") for row in scores.rows]
    for column in columns:
        cells = [_cell(scores, row, column, spread == "ci") for row in scores.rows]
        top = max(round(cell.get("mean", -math.inf), 1) for cell in cells)
        for line, cell in zip(lines, cells, strict=True):
            cell["best"] = "mean" in cell and round(cell["mean"], 1) == top
            if column.kind == "score" and against in scores.rows:
                found = scores.difference(line.label, against, column)
                cell |= {k: v for k, v in found.items() if k in ("difference", "p_value")}
            line.cells.append(cell)
    places = [line.cells[at] for at in range(len(columns)) for line in lines]
    tested = adjust(places) if against else None
    notes: list[str] = []
    if published:
        more, notes = _published(scores, columns)
        order = {line.label: at for at, line in enumerate(lines)}
        lines += more
        lines.sort(key=lambda line: order.get(line.label.split(", published: ")[0], len(order)))
    shown, reasons = {column.metric for column in columns}, dict[str, str]()
    for record in scores.section.records.values():
        reasons |= record.scores.left_out if record.scores else {}
    notes += [f"{name} is left out: {why}." for name, why in reasons.items() if name in shown]
    at = {(task, column.shots) for column in columns for task in column.tasks}
    runs = {(row, *place) for row in scores.rows if row not in scores.constant for place in at}
    total, failed, recorded = (
        len(runs) * len(scores.seeds),
        *(sum(n.get(place, 0) for place in runs) for n in (scores.failed, scores.recorded)),
    )
    counts = {"total": total, "failed": failed, "missing": total - recorded}
    counts |= {"conflicts": len(runs & scores.conflicts)}
    about = {"against": against, "tested": tested, "notes": notes, **counts}
    texts = _texts(scores, spread=spread, **about)
    return Table(layout.title, *texts, scores.facts(), columns, lines)


def _columns(scores: Scores, layout: Layout) -> Iterator[Column]:
    """Columns in the order of the layout; in a group all tasks stay, so that gaps are seen."""
    frame = scores.section.frame
    shots = sorted(frame["shots"].unique())
    if layout.parameters:
        yield Column("parameters", "", "trainable parameters", units="number")
        yield Column("share", "", "share", units="% of the model")
    for group, tasks in layout.groups.items():
        if not set(tasks) & set(frame["task"]):
            continue
        for task in tasks if layout.details else ():
            usual = scores.metrics.get(task, "")
            for count in shots:
                for metric in layout.metrics or (usual,):
                    title = metric if layout.metrics else f"{count:g}" if layout.by_shots else task
                    units = f"{metric} ({scores.test_rows[task]:g})" if usual else DASH
                    yield Column("score", group, title, (task,), count, metric, units)
        if layout.average:
            yield Column("average", group, "average", tasks, shots[0])


def _cell(scores: Scores, row: str, column: Column, interval: bool) -> Cell:
    if column.kind in ("parameters", "share"):
        frame = scores.section.frame
        counts = sorted(frame.loc[frame["row"] == row, "parameters"].dropna())
        percent, share = 100 / scores.model.parameters, column.kind == "share"
        ends = [f"{end * percent:.2g}" if share else f"{end:,.0f}" for end in counts]
        return {"number": f" {DASH} ".join(dict.fromkeys([*ends[:1], *ends[-1:]])) or DASH}
    cell = scores.cell(row, column, interval)
    if "mean" not in cell:
        return cell | ({} if cell["status"] == "missing" else {"number": cell["status"]})
    constant = row in scores.constant
    after = interval_text(cell)
    if not interval and "std" in cell and not (constant and cell["std"] < 1e-9):
        after = f"± {number(cell['std'])}"
    if cell["n_seeds"] < len(scores.seeds) and not constant:
        failed = f", {cell['n_failed']} failed" if cell["n_failed"] else ""
        after += f" (n={cell['n_seeds']}{failed})"
    return cell | {"number": number(cell["mean"]), "after": after.strip()}


def _transfer(scores: Scores, against: str) -> Iterator[Table]:
    tasks = ordered_tasks(scores.section.frame["task"])
    found = differences(scores, against, tasks)
    if not found:
        return
    tested = sum("p_value" in cell for own in found.values() for cell in own.values())
    facts = scores.facts() | {"against": against}
    heads = [Column("difference", "", row) for row in found]
    cells = {task: [own.get(task, {}) for own in found.values()] for task in tasks}
    targets = [Line(task, own, "target") for task, own in cells.items() if any(own)]
    for kind, about, columns, lines in (
        ("summary", "over all targets", SUMMARY, [*summary_lines(found)]),
        ("target", "per target", heads, targets),
    ):
        title = f"Transfer {about}: each method minus {against}"
        texts = _texts(scores, transfer=kind, against=against, tested=tested)
        corner = "target" if kind == "target" else "method"
        yield Table(title, *texts, facts, columns, lines, corner)


def _published(scores: Scores, columns: list[Column]) -> tuple[list[Line], list[str]]:
    """Published numbers by method and paper, and how they are known."""
    known = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})
    provenance: dict[str, str] = {}
    rows: dict[str, list[Cell]] = {}
    for place, column in enumerate(columns):
        wanted = {"task": column.tasks[:1], "metric": [column.metric]}
        if column.kind == "average":
            wanted = {"task": ["average"], "suite": [column.group.lower()]}
        fits = known[[*wanted]].isin(wanted).all(axis=1) & math.isinf(column.shots)
        for line in known[fits].to_dict("records"):
            name = f"{line['method']}, published: {line['paper']}, table {line['table']}"
            letter = provenance.setdefault(line["provenance"], chr(ord("a") + len(provenance)))
            value, cells = line["value"], rows.setdefault(name, [{} for _ in columns])
            cells[place] = {"number": number(value), "published": value, "after": f"({letter})"}
    if not provenance:
        return [], ["No published number fits this table; they are on the full training data."]
    letters = [f"({letter}) {text}." for text, letter in provenance.items()]
    note = "Published numbers are of the paper's model and datasets."
    return [Line(name, cells, "published") for name, cells in rows.items()], [note, *letters]


def _texts(scores: Scores, **values: object) -> tuple[str, list[str]]:
    """The caption, which says the setting and what the numbers are, and the notes of a table."""
    frame = scores.section.frame
    text = render(
        "table.txt.jinja",
        scores=scores,
        setting=scores.section.setting,
        model=scores.model,
        infinity=math.inf,
        shots=[f"{count:g}" for count in sorted(frame["shots"].unique())],
        commits=sorted(frame["commit"].unique()),
        level=f"{LEVEL:.0%}",
        alpha=f"{ALPHA:g}",
        resamples=f"{RESAMPLES:,}",
        **values,
    )
    caption, *notes = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return caption, notes
