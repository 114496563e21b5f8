"""Result tables: records by setting, laid out as one of the layouts, as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bench.errors import RecordError, UnknownNameError
from bench.reports import render, statistics
from bench.reports.forms import FORMS, Table
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import DASH, Layout, display, get_layout
from bench.reports.scores import (
    BETTER,
    MAJORITY,
    WORSE,
    Cell,
    Column,
    Line,
    Scores,
    adjust,
    differences,
    interval_text,
    number,
)
from bench.tasks import SUITES, TASKS
from bench.tasks.metrics import METRICS


def render_tables(
    results: Results, form: str, layout: str | None = None, **options: Any
) -> tuple[str, list[str]]:
    """All tables of a results folder as text, and warnings about unusable predictions.

    ``form`` is a key of ``FORMS``: ``csv`` is the table itself, ``tidy-csv`` has a line per field,
    ``latex`` is to be input and ``latex-document`` compiles. Options: see :func:`make_tables`.
    """
    if form not in FORMS:
        raise UnknownNameError("format", form, FORMS)
    tables, warnings = make_tables(results, layout, **options)
    return FORMS[form](tables), warnings


def make_tables(
    results: Results,
    layout: str | None = None,
    spread: Literal["std", "ci"] = "std",
    published: bool = False,
    marks: bool | None = None,
    against: str | None = None,
) -> tuple[list[Table], list[str]]:
    """All tables of a results folder, one per setting, and warnings about unusable predictions.

    Args:
        results: the records.
        layout: its name; None: one table of all tasks.
        spread: behind a mean: deviation over seeds, or interval over test rows.
        published: whether published numbers stand beside ours.
        marks: whether differences to the reference are tested; None: if there is a layout.
        against: label of the reference row; None: that of the layout.

    Raises:
        RecordError: there is no record to show, or nothing to compare with.
    """
    frame, shape = results.frame, get_layout(layout) if layout else Layout()
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
        scores = Scores(section, bootstrap, shape.labels)
        if shape.transfer:
            tables += _transfer(scores, reference)
        else:
            own = shape if layout else Layout("", _suites(section.frame["task"]))
            compared = reference if marks or shape.ranks else ""
            tables.append(_table(scores, layout or "all-tasks", own, spread, published, compared))
    if not tables:
        rows = sorted({row for section in sections for row in section.frame["row"]})
        raise RecordError(
            f"nothing to compare with {reference!r} in {results.folder}: choose one of the rows "
            f"{', '.join(rows)}"
        )
    return tables, bootstrap.warnings if bootstrap else []


def ordered_tasks(names: Iterable[str]) -> list[str]:
    """Tasks in the order of the suites; others follow by name."""
    place = {task.name: number for number, task in enumerate(TASKS)}
    return sorted(set(names), key=lambda name: (place.get(name, len(place)), name))


def _suites(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Tasks by suite, those of no suite at the end."""
    left, groups = ordered_tasks(names), {}
    for suite in ("glue", "superglue", "mrqa", "others", "nlg"):
        groups[display(suite)] = tuple(name for name in left if name in SUITES[suite])
        left = [name for name in left if name not in SUITES[suite]]
    return {head: own for head, own in (groups | {"": tuple(left)}).items() if own}


def _table(
    scores: Scores, name: str, layout: Layout, spread: str, published: bool, against: str
) -> Table:
    columns = list(_columns(scores, layout))
    kinds = dict.fromkeys(scores.constant, "constant") | {MAJORITY: "majority"}
    lines = [Line(row, [], kinds.get(row, "method")) for row in scores.rows]
    for column in columns:
        cells = [_cell(scores, row, column, spread == "ci") for row in scores.rows]
        means = [round(cell.get("mean", math.nan), 1) for cell in cells]
        own = [m for line, m in zip(lines, means, strict=True) if line.kind != "majority"]
        top = max((mean for mean in own if not math.isnan(mean)), default=math.inf)
        for line, cell, mean in zip(lines, cells, means, strict=True):
            cell["best"] = mean == top and line.kind != "majority"
            if column.kind == "score" and against in scores.rows:
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
    facts["total"] = len(runs) * len(scores.seeds)
    facts["failed"] = sum(scores.failed.get(place, 0) for place in runs)
    facts["missing"] = facts["total"] - sum(scores.recorded.get(place, 0) for place in runs)
    facts["conflicts"] = len(runs & scores.conflicts)
    facts["rows"] = _by_value({task: f"{own:g}" for task, own in scores.test_rows.items()}, tasks)
    metrics = {c.tasks[0]: c.metric for c in columns if c.kind == "score" and c.metric != c.title}
    rules = {task: display(own) + _rule(scores, task, own) for task, own in metrics.items() if own}
    facts["metrics"] = _by_value(rules, tasks)
    facts["shown"] = {column.metric for column in columns}
    texts = _texts(scores, places, spread=spread, against=against, **facts)
    return Table(name, layout.title, *texts, scores.facts(), columns, lines)


def _rule(scores: Scores, task: str, metric: str) -> str:
    """How a metric of a task is computed, if others of that name are computed otherwise."""
    records = (own for own in scores.section.records.values() if own.run.task == task)
    names = {name for own in records if own.predictions for name in own.predictions.scorers}
    known = (METRICS[name] for name in names if name in METRICS)
    return " or".join(sorted({own.rule for own in known if metric in own.outputs}))


def _by_value(facts: Mapping[str, Any], tasks: Iterable[str]) -> str:
    """Facts about tasks in few words: the exceptions, then the most frequent value."""
    known = {task: facts[task] for task in tasks if task in facts}
    groups = {value: [t for t in known if known[t] == value] for value in known.values()}
    if not groups:
        return ""
    usual = max(groups, key=lambda value: len(groups[value]))
    parts = [
        f"{', '.join(map(display, own))}: {value}"
        for value, own in groups.items()
        if value != usual
    ]
    return "; ".join([*parts, f"{'others' if parts else 'All tasks'}: {usual}"])


def _add_ranks(
    scores: Scores, columns: list[Column], lines: list[Line], tasks: Iterable[str], against: str
) -> int:
    """Columns of mean rank and of outcomes against a row; returns the number of tasks."""
    means = scores.means(dict.fromkeys(tasks), columns[-1].shots)
    ranks = means.rank(ascending=False).mean(axis=1)
    columns += [Column("rank", "", "rank"), Column("outcomes", "", "W/T/L")]
    for line in lines:
        cells: list[Cell] = [{}, {}]
        if len(means.columns) and line.label in means.index:
            rank = float(ranks[line.label])
            best = line.label in ranks.index[ranks == ranks.min()]
            cells[0] = {"number": f"{rank:.2f}", "value": rank, "best": best}
            if against in means.index and against != line.label:
                steps = (means.loc[line.label] - means.loc[against]).round(1)
                counts = [(steps > 0).sum(), (steps == 0).sum(), (steps < 0).sum()]
                cells[1] = {"number": "/".join(map(str, counts))}
        line.cells.extend(cells)
    return len(means.columns)


def _columns(scores: Scores, layout: Layout) -> Iterator[Column]:
    """Columns in the order of the layout; in a group all tasks stay, so that gaps are seen."""
    frame = scores.section.frame
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
        if layout.average and (len(tasks) > 1 or not layout.details):
            yield Column("average", group, "average", tuple(tasks), shots[0])


def _cell(scores: Scores, row: str, column: Column, interval: bool) -> Cell:
    if column.kind in ("parameters", "share"):
        frame = scores.section.frame
        counts = sorted(frame.loc[frame["row"] == row, "parameters"].dropna())
        percent, share = 100 / scores.model.parameters, column.kind == "share"
        ends = [f"{end * percent:.2g}" if share else _compact(end) for end in counts]
        text = DASH.join(dict.fromkeys([*ends[:1], *ends[-1:]])) or DASH
        return {"number": text, "value": counts[-1] * (percent if share else 1) if counts else None}
    cell = scores.cell(row, column, interval)
    if "mean" not in cell:
        return cell | ({} if cell["status"] == "missing" else {"number": cell["status"]})
    constant = row in scores.constant
    after = interval_text(cell)
    if not interval and "std" in cell and not (constant and cell["std"] < 1e-9):
        after = f"± {number(cell['std'])}"
    if cell["n_seeds"] < len(scores.seeds) and not constant:
        failed = f", {cell['n_failed']} failed" if cell["n_failed"] else ""
        cell["note"] = f"(n={cell['n_seeds']}{failed})"
    return cell | {"number": number(cell["mean"]), "after": after}


def _compact(count: float) -> str:
    """A number of parameters with a unit."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def _transfer(scores: Scores, against: str) -> Iterator[Table]:
    """Differences to a row over all targets, and per target."""
    tasks = ordered_tasks(scores.section.frame["task"])
    if not (found := differences(scores, against, tasks)):
        return
    cells = [cell for own in found.values() for cell in own.values()]
    tested = sum("p_value" in cell for cell in cells)
    targets = [
        Line(task, [own.get(task, {}) for own in found.values()], "target")
        for task in tasks
        if any(task in own for own in found.values())
    ]
    heads = [Column("difference", "", row) for row in found]
    facts = scores.facts() | {"against": against}
    for kind, about, corner, (columns, lines) in (
        ("summary", "over all targets", "method", _summary(scores, found)),
        ("target", "per target", "target", (heads, targets)),
    ):
        title = f"Transfer {about}, each method minus {display(against)}"
        marked = cells if kind == "target" else []
        texts = _texts(scores, marked, transfer=kind, against=against, tested=tested)
        yield Table("transfer", title, *texts, facts, columns, lines, corner)


def _summary(
    scores: Scores, found: Mapping[str, dict[str, Cell]]
) -> tuple[list[Column], list[Line]]:
    """Outcomes over all targets, a line per row."""
    means = {row: [cell["difference"] for cell in own.values()] for row, own in found.items()}
    tests = [statistics.wilcoxon_p_value(own) for own in means.values()]
    ids = scores.section.frame.groupby("row")["id"].unique()
    columns, lines = [], []
    for (row, own), p_value, adjusted in zip(
        means.items(), tests, statistics.holm(tests), strict=True
    ):
        first: Cell = {"difference": math.fsum(own) / len(own)}
        if len(own) > 1:
            groups = [list(cell["by_seed"].values()) for cell in found[row].values()]
            first["ci_low"], first["ci_high"] = statistics.two_level_interval(
                groups, statistics.seeded(row)
            )
        first |= {"number": number(first["difference"], "+"), "after": interval_text(first)}
        shown = [round(value, 1) for value in own]  # Outcomes by the digits that tables show.
        marks = Counter(cell.get("mark") for cell in found[row].values())
        sources = [source.task for id in ids[row] for source in scores.section.records[id].sources]
        cells: dict[tuple[str, str], Cell] = {
            ("", "targets"): {"number": str(len(own))},
            ("", "mean difference"): first,
            ("targets with a", "win"): {"number": str(sum(value > 0 for value in shown))},
            ("targets with a", "tie"): {"number": str(sum(value == 0 for value in shown))},
            ("targets with a", "loss"): {"number": str(sum(value < 0 for value in shown))},
            ("significant", "wins"): {"number": str(marks[BETTER])},
            ("significant", "losses"): {"number": str(marks[WORSE])},
            ("Wilcoxon over targets", "p"): {"number": f"{p_value:.3f}", "p_value": p_value},
            ("Wilcoxon over targets", "p (Holm)"): {
                "number": f"{adjusted:.3f}",
                "p_value": adjusted,
            },
            ("", "sources"): {"number": ", ".join(map(display, dict.fromkeys(sources))) or DASH},
        }
        columns = [
            Column("text" if head[1] == "sources" else "difference", *head) for head in cells
        ]
        lines.append(Line(row, [*cells.values()], "summary"))
    return columns, lines


def _add_published(scores: Scores, columns: Sequence[Column], lines: list[Line]) -> list[str]:
    """Lines of published numbers behind those of their method; returns how they are known."""
    known = pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})
    letters: dict[str, str] = {}
    added: dict[str, Line] = {}
    for place, column in enumerate(columns):
        wanted = {"task": column.tasks[:1], "metric": [column.metric]}
        if column.kind == "average":
            wanted = {"task": ["average"], "suite": [column.group.lower()]}
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


def _texts(scores: Scores, cells: Iterable[Cell], **facts: object) -> tuple[str, list[str]]:
    """The caption, which says what the numbers are, and the notes, which say the setting."""
    cells, against = list(cells), display(str(facts.pop("against")))
    text = render(
        "table.txt.jinja",
        scores=scores,
        statistics=statistics,
        show=display,
        against=against,
        partial=any("note" in cell for cell in cells),
        marked=sorted({cell["mark"] for cell in cells if "mark" in cell}),
        **facts,
    )
    caption, *notes = (" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return caption, notes
