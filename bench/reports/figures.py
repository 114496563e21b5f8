"""Figures for print and for the HTML page. A new figure is one more entry in FIGURES."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.errors import RecordError, lookup
from bench.files import atomic_write, read_trace
from bench.record import Record
from bench.reports.canvas import REFERENCE, STYLE, Part, draw_map, image, make_figure, make_parts
from bench.reports.frame import Column, Results, ordered_tasks, p_text
from bench.reports.layouts import display
from bench.reports.show import history
from bench.reports.statistics import critical_difference, two_level_interval


def _lines(part: Part, name: str, axes: tuple[str, str], points: pd.DataFrame) -> Figure:
    """One panel per task, with a line (mean) and a band (min to max) per row."""
    heads = [display(task) for task in part.tasks]
    for index, task in enumerate(part.tasks):
        if "score" in axes[1] and part.scores.metrics[task] != "accuracy":
            heads[index] += f" ({display(part.scores.metrics[task])})"
    figure = make_figure(part, name, heads, axes, axis=axes[1])
    groups = points.groupby(["task", "row"])[["x", "mean", "min", "max"]]
    lines = {key: group.to_numpy().T for key, group in groups}
    for task, panel in zip(part.tasks, figure.axes, strict=True):
        for row, look in part.looks.items():
            if (task, row) in lines:
                x, mean, low, high = lines[task, row]
                panel.plot(x, mean, markevery=max(1, len(x) // 4), **look)
                band = [*x, *x[::-1]], [*low, *high[::-1]]
                panel.fill(*band, color=look["color"], alpha=0.15, linewidth=0)
        panel.yaxis.set_major_locator(MaxNLocator(2))
    return figure


def _few_shot(part: Part) -> Iterator[Figure]:
    """Test score by number of training examples."""
    if sum(map(math.isfinite, part.shots)) < 2:
        return
    points = part.shown.groupby(["row", "task", "shots"])["score"].agg(["mean", "std"])
    points = points.fillna(0.0).reset_index()
    points["x"] = points["shots"].map(part.shots.index)
    points["min"] = points["mean"] - points["std"]
    points["max"] = (points["mean"] + points["std"]).clip(upper=100)
    figure = _lines(part, "few-shot", ("shots", "score (%)"), points)
    names = [f"{count:g}".replace("inf", "full") for count in part.shots]
    for panel in figure.axes:
        panel.set_xticks(range(len(names)), names)
    yield figure


def _curves(name: str, value: str, axis: str, part: Part) -> Iterator[Figure]:
    """Validation score or training loss by training step."""
    metrics = part.scores.metrics
    logged = [
        (row, r.run.task, point.step, point.loss, point.validation.get(metrics[r.run.task]))
        for row, r in part.runs
        for point in (r.training.curve if r.training else ())
    ]
    frame = pd.DataFrame(logged, columns=["row", "task", "x", "loss", "score"])
    points = frame.groupby(["row", "task", "x"])[value].agg(["mean", "min", "max"])
    figure = _lines(part, name, ("training steps", axis), points.dropna().reset_index())
    last_steps = frame.groupby("task")["x"].max()
    for panel, task in zip(figure.axes, part.tasks, strict=True):
        panel.set(xlim=(0, None), xticks=[0, last_steps.get(task, 1)])
    yield figure


def _seeds(part: Part) -> Iterator[Figure]:
    """Test scores of single seeds by task and method."""
    size = math.ceil(len(part.tasks) / math.ceil(len(part.tasks) / 9))
    chunks = [part.tasks[start : start + size] for start in range(0, len(part.tasks), size)]
    axes = ("", "test score (%)")
    figure = make_figure(part, "seeds", [""] * len(chunks), axes, height=1.6, across=1)
    for tasks, panel in zip(chunks, figure.axes, strict=True):
        for index, (row, look) in enumerate(part.looks.items()):
            shift = (index - (len(part.rows) - 1) / 2) * 0.8 / len(part.rows)
            scores = part.shown[(part.shown["row"] == row) & part.shown["task"].isin(tasks)]
            x = scores["task"].map(tasks.index) + shift
            panel.plot(x, scores["score"], **look | {"linestyle": "none", "alpha": 0.8})
            means = scores["score"].groupby(x).mean()
            left, right = means.index - 0.06, means.index + 0.06
            panel.hlines(means, left, right, color=look["color"], linewidth=1.5)
        panel.set_xlim(-0.6, size - 0.4)
        panel.set_xticks(range(len(tasks)), [*map(display, tasks)], rotation=12, ha="right")
        panel.grid(False, axis="x")
    yield figure


def _ranks(part: Part) -> Iterator[Figure]:
    """Critical-difference diagram of mean ranks (Demšar 2006)."""
    from scipy.stats import friedmanchisquare

    means = part.scores.means(part.tasks, part.shots[0])
    if min(means.shape) < 3:
        return
    ranks = means.rank(ascending=False).mean(axis=1).sort_values()
    gap = critical_difference(*means.shape)
    names = [f"{display(str(row))} ({rank:.2f})" for row, rank in ranks.items()]
    facts: dict[str, Any] = {"tasks": len(means.columns), "gap": gap}
    tied = bool((means.nunique() == 1).all())  # The statistic is then 0 / 0.
    facts["p_value"] = p_text(1 if tied else float(friedmanchisquare(*means.to_numpy()).pvalue))
    figure = make_figure(part, "ranks", [""], ("mean rank", ""), names, **facts)
    (panel,) = figure.axes
    for y, (row, rank) in enumerate(ranks.items()):
        look = part.looks[str(row)] | {"linestyle": "none", "markersize": 6}
        panel.plot([rank], [y], **look)
        end = max(other for other in ranks if other - rank < gap)
        panel.plot([rank, end], [y, y], "-", color=look["color"], linewidth=2.5, alpha=0.35)
    panel.set_xlim(ranks.min() - 0.2, ranks.max() + 0.2)
    yield figure


def _to_reference(part: Part) -> pd.DataFrame:
    """Differences of trained rows to PT (others are far below): a line per row and task."""
    lines = [
        {"row": row, "task": task, **cell}
        for row, cells in part.scores.differences(REFERENCE).items()
        if row not in part.scores.untrained
        for task, cell in cells.items()
    ]
    names = ["row", "task", "difference", "mark", "ci_low", "ci_high", "by_seed"]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=names)
    return frame


def _differences(part: Part) -> Iterator[Figure]:
    """Difference to PT by task and method, with marks of significance."""
    frame = _to_reference(part)
    if len(frame):
        order = {"index": frame["row"].unique(), "columns": part.tasks}
        values = frame.pivot(index="row", columns="task", values="difference").reindex(**order)
        marks = frame.pivot(index="row", columns="task", values="mark").reindex(**order).fillna("")
        yield draw_map(part, "differences", {"": values}, "points", "RdBu", "+.0f", marks)


def _transfer(part: Part) -> Iterator[Figure]:
    """Score of SPoT from each source minus that of PT, by source and target."""
    runs = [(row, r.run.settings.get("source")) for row, r in part.runs if r.run.method == "spot"]
    sources = {row: str(source) for row, source in runs if source}
    frame = _to_reference(part)
    frame["source"] = frame["row"].map(sources)
    values = frame.pivot_table("difference", "source", "task")
    if len(values):
        values = values.loc[ordered_tasks(values.index), ordered_tasks(values.columns)]
        yield draw_map(part, "transfer", {"": values}, "points", "RdBu", "+.1f")


def _forest(part: Part) -> Iterator[Figure]:
    """Differences to PT by target, and their mean, with intervals."""
    frame = _to_reference(part)
    if frame.empty:
        return
    rows, bottom = list(frame["row"].unique()), len(part.tasks)
    axis = f"difference to {display(REFERENCE)} (points)"
    names = [*map(display, part.tasks), "mean"]
    figure = make_figure(part, "forest", [*map(display, rows)], (axis, ""), names)
    for panel, row in zip(figure.axes, rows, strict=True):
        cells, colour = frame[frame["row"] == row], part.looks[row]["color"]
        for cell in cells.itertuples():
            y = part.tasks.index(cell.task)
            panel.plot([cell.ci_low, cell.ci_high], [y, y], "-", color=colour)
            fill = colour if isinstance(cell.mark, str) else "white"
            panel.plot(cell.difference, y, "o", color=colour, markerfacecolor=fill)
        if len(cells) > 1:
            groups = [[*by_seed.values()] for by_seed in cells["by_seed"]]
            interval = two_level_interval(groups, row)
            panel.plot(interval, [bottom, bottom], "-", color=colour, linewidth=2.5)
        panel.plot(cells["difference"].mean(), bottom, "D", color=colour, markersize=5)
        panel.axvline(0, color="#888888", linewidth=0.8)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        if not len(panel.get_yticks()):  # Draws grid lines in all panels.
            panel.set_yticks(range(len(names)), [""] * len(names))
    yield figure


def _cost(part: Part) -> Iterator[Figure]:
    """Mean score against trainable parameters and against training time."""
    tasks = tuple(part.scores.means(part.tasks, part.shots[0], complete=True).columns)
    runs = [
        (row, r.training.trainable_parameters, r.timing.training_seconds)
        for row, r in part.runs
        if r.training and r.run.task in tasks
    ]
    amounts = pd.DataFrame(runs, columns=["row", "count", "seconds"]).groupby("row").mean()
    trained = amounts[amounts["count"] > 0]
    if trained.empty:
        return
    axes = ("", f"mean test score (%), tasks: {len(tasks)}")
    heads = ["trainable parameters", "seconds of training"]
    names = [display(task) for task in tasks]
    figure = make_figure(part, "cost", heads, axes, height=2.2, across=2, tasks=names)
    average = Column("average", "", "", tasks, part.shots[0])
    for panel, name in zip(figure.axes, amounts.columns, strict=True):
        for index, (row, look) in enumerate(part.looks.items()):
            cell = part.scores.cell(row, average)
            if row not in trained.index:
                panel.axhline(cell["mean"], color=look["color"])
                continue
            # Equal amounts are placed side by side; error bars end at 100.
            x = float(trained.loc[row, name]) * 1.04 ** (index - len(part.rows) / 2)
            spread = cell.get("std", 0.0)
            bars = [[spread], [min(spread, 100 - cell["mean"])]]
            panel.errorbar(x, cell["mean"], bars, **look | {"linestyle": "none", "markersize": 6})
        low, high = (float(f"{end:.2g}") for end in (trained[name].min(), trained[name].max()))
        panel.set(xscale="log", xlim=(low / 1.7 or None, high * 1.7 or None))
        panel.set_xticks([low, high] if high > 1.3 * low else [low])
        panel.xaxis.set_major_formatter("{x:,g}")
        panel.minorticks_off()
    yield figure


def _similarity(part: Part) -> Iterator[Figure]:
    """Cosines of targets and sources at the first evaluation.

    Prompts share ``P_init`` and are similar; task vectors are their differences to it (Zhang et al.
    2025). Variants of DTVG start from equal prompts and count once per seed.
    """
    logged = [
        (kind.replace("_", " "), str(source), record.run.task, value, record.run.seed)
        for _, record in part.runs
        for _, kinds in history(record, "cosines", dict)[:1]
        for kind, cosines in kinds.items()
        for source, value in (cosines.items() if isinstance(cosines, dict) else ())
        if isinstance(value, float)
    ]
    frame = pd.DataFrame(logged, columns=["head", "source", "task", "value", "seed"])
    frame = frame.drop_duplicates(["head", "source", "task", "seed"])
    order = ordered_tasks(frame["task"])
    panels = {
        head: group.pivot_table("value", "task", "source", sort=False).reindex(order)
        for head, group in frame.groupby("head")
    }
    if panels:
        yield draw_map(part, "similarity", panels, "cosine", "PuOr_r", ".2f")


def _groups(part: Part) -> Iterator[Figure]:
    """Targets whose group holds a source, by step; a panel per source and a figure per row."""
    for number, row in enumerate(part.rows, 1):
        records = [record for label, record in part.runs if label == row]
        trace = [line for record in records for line in _trace(part.folder, record)]
        frame = pd.DataFrame(trace, columns=["task", "step", "source", "member"])
        order = ordered_tasks(frame["task"])
        # Between its evaluations, a group stays as it is.
        shares = frame.pivot_table("member", ["source", "task"], "step")
        shares = shares.ffill(axis=1, limit_area="inside")
        sources = dict.fromkeys(source.task for record in records for source in record.sources)
        panels = {
            display(source): shares.loc[source].reindex(order)
            for source in [*sources, *sorted({*frame["source"]} - {*sources})]
            if source in shares.index
        }
        if panels:
            name, bar = f"groups-{number}", "share of seeds"
            yield draw_map(part, name, panels, bar, "Blues", row=display(row))


def _trace(folder: Path, record: Record) -> Iterator[tuple[str, int, str, float]]:
    """Task, step, source and membership, for each logged step or else for each evaluation."""
    prompt = record.training.prompt[:12] if record.training else ""
    path = folder / "groups" / f"{record.run.file_stem}-{prompt}.parquet"
    names = ["step", "source", "member"]
    trace = read_trace(path) if path.is_file() else pd.DataFrame()
    if {*names} <= {*trace.columns}:  # Methods of plugins may log something else.
        trace = trace.loc[trace["source"] != "target", names]
        for step, source, member in trace.itertuples(index=False):
            yield record.run.task, step, source, float(member)
        return
    groups = history(record, "group", list)
    sources = [source.task for source in record.sources]
    sources += [str(source) for _, group in groups for source in group]
    for (step, group), source in product(groups, dict.fromkeys(sources)):
        yield record.run.task, step, source, float(source in group)


_PT = "finished runs of pt and of another method: run `bench run --method pt`"
_DTVG = "finished runs of DTVG: run `bench run --method dtvg`"
_SOURCE = "PT and SPoT from one source: run `bench run --method pt,spot:source=mnli`"
_COST = "a trained method, and a task that all methods finished: `bench run --overwrite failed`"
_ANY = "finished runs: see `bench status` for what failed"
FIGURES: Mapping[str, tuple[Callable[[Part], Iterator[Figure]], str]] = {
    "differences": (_differences, _PT),
    "ranks": (_ranks, "three methods that finished three tasks: run `bench run --method dtvg`"),
    "seeds": (_seeds, _ANY),
    "forest": (_forest, _PT),
    "transfer": (_transfer, _SOURCE),
    "few-shot": (_few_shot, "two few-shot sizes: run `bench run --shots 4,16,full`"),
    "cost": (_cost, _COST),
    "learning-curves": (partial(_curves, "learning-curves", "score", "validation score (%)"), _ANY),
    "losses": (partial(_curves, "losses", "loss", "training loss"), _ANY),
    "similarity": (_similarity, _DTVG),
    "groups": (_groups, _DTVG),
}
"""Drawing function of each figure, and the records that it needs (for warnings)."""


def make_figures(
    results: Results,
    names: Sequence[str] = (),
    paper: float = 0.0,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[Figure], list[str]]:
    """Draw the named figures, or all; returns a warning for each figure that lacks records.

    ``paper`` is the text width of a paper in inches; figures then have no title and caption.
    """
    figures: list[Figure] = []
    warnings = []
    with matplotlib.style.context(STYLE):
        names = names or [*FIGURES]
        for number, name in enumerate(names, 1):
            draw, needs = lookup("figure", name, FIGURES)
            say(f"figures {number}/{len(names)}: {name}")
            reason = f"{results.folder} lacks {needs}"
            try:
                parts = make_parts(results, name == "few-shot", paper)
                drawn = [figure for part in parts for figure in draw(part)]
            except RecordError as error:
                drawn, reason = [], str(error)
            figures += drawn
            if not drawn:
                warnings.append(f"no figure {name}: {reason}")
    return figures, warnings


def draw(
    results: Results,
    names: Sequence[str],
    folder: Path,
    formats: Sequence[str] = ("pdf", "png"),
    paper: float = 0.0,
) -> tuple[list[Path], list[str]]:
    """Write the named figures, or all, to files; RecordError if none can be drawn."""
    figures, warnings = make_figures(results, names, paper)
    if not figures:
        raise RecordError("; ".join(warnings))
    paths = []
    for figure, form in product(figures, formats):
        paths.append(folder / f"{figure.get_label()}.{form}")
        atomic_write(paths[-1], image(figure, form))
    return paths, warnings
