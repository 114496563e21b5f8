"""Figures of records, for print and for the page. A new figure is one more entry in FIGURES."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.errors import RecordError, UnknownNameError
from bench.files import atomic_write
from bench.reports.canvas import (
    STYLE,
    Part,
    Shape,
    image,
    make_figure,
    make_parts,
)
from bench.reports.frame import Results
from bench.reports.layouts import display
from bench.reports.maps import (
    REFERENCE,
    all_differences,
    difference_map,
    groups,
    similarity,
    transfer,
)
from bench.reports.scores import Column
from bench.reports.statistics import critical_difference, seeded, two_level_interval

Points: TypeAlias = Sequence[tuple[float, float, float, float]]
"""Position, mean, and lower and upper end of the band."""


def _lines(
    part: Part,
    name: str,
    title: str,
    reading: str,
    axes: tuple[str, str],
    points: Callable[..., Points],
) -> Figure:
    """A panel per task with a line and a band per row."""
    metrics = part.scores.metrics if "score" in axes[1] else {}
    heads = [
        f"{display(task)} ({display(metric)})"
        if (metric := metrics.get(task, "accuracy")) != "accuracy"
        else display(task)
        for task in part.tasks
    ]
    figure = make_figure(part, name, title, reading, Shape(heads, axes))
    for task, panel in zip(part.tasks, figure.axes, strict=True):
        for row, look in part.looks.items():
            if known := points(row, task):
                at, means, lows, highs = zip(*known, strict=True)
                panel.plot(at, means, markevery=max(1, len(at) // 4), **look)
                panel.fill_between(at, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        panel.yaxis.set_major_locator(MaxNLocator(3))
    return figure


def few_shot(part: Part) -> Iterator[Figure]:
    """Test score by number of training examples."""
    if len(part.shots) > 1:
        reading = "Line: mean over seeds. Band: ± standard deviation over seeds, none for one seed."
        title, axes = "Test score by number of training examples", ("shots", "score (%)")
        figure = _lines(part, "few-shot", title, reading, axes, partial(_by_shots, part))
        names = [f"{count:g}".replace("inf", "full") for count in part.shots]
        for panel in figure.axes:
            panel.set_xticks(range(len(names)), names)
        yield figure


def _by_shots(part: Part, row: str, task: str) -> Points:
    columns = [Column("score", "", task, (task,), shots) for shots in part.shots]
    cells = enumerate(part.scores.cell(row, column, interval=False) for column in columns)
    known = [(at, cell["mean"], cell.get("std", 0.0)) for at, cell in cells if "mean" in cell]
    return [(at, mean, mean - spread, min(mean + spread, 100)) for at, mean, spread in known]


def learning_curves(part: Part) -> Iterator[Figure]:
    """Validation score, and training loss, by step."""
    reading = "Line: mean over the seeds that came so far. Band: lowest to highest seed."
    for what, axis in (("score", "validation score (%)"), ("loss", "training loss")):
        axes, points = ("training steps", axis), partial(_by_step, part, what == "loss")
        title = f"Learning curves: {axis}"
        figure = _lines(part, f"learning-curves-{what}", title, reading, axes, points)
        for panel in figure.axes:
            panel.set_xlim(left=0)
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        yield figure


def _by_step(part: Part, loss: bool, row: str, task: str) -> Points:
    found: dict[int, list[float]] = defaultdict(list)
    for record in part.rows[row]:
        for point in record.training.curve if record.training and record.run.task == task else ():
            value = point.loss if loss else point.validation.get(part.scores.metrics[task])
            if value is not None:
                found[point.step].append(value)
    return [(step, fmean(own), min(own), max(own)) for step, own in sorted(found.items())]


def seeds(part: Part) -> Iterator[Figure]:
    """Test scores of single seeds by task and method."""
    reading = "Point: one seed. Bar: their mean."
    size = math.ceil(len(part.tasks) / math.ceil(len(part.tasks) / 9))
    chunks = [part.tasks[at : at + size] for at in range(0, len(part.tasks), size)]
    shape = Shape([""] * len(chunks), ("", "test score (%)"), 1.6, across=1, gaps=(0, 0.3))
    figure = make_figure(part, "seeds", "Test scores of single seeds", reading, shape)
    for tasks, panel in zip(chunks, figure.axes, strict=True):
        for place, (row, look) in enumerate(part.looks.items()):
            step = (place - (len(part.rows) - 1) / 2) * 0.8 / len(part.rows)
            for at, task in enumerate(tasks):
                values = part.scores.by_seed(row, task, part.shots[0])
                point = look | {"linestyle": "none", "alpha": 0.8}
                panel.plot([at + step] * len(values), values, **point)
                if values:
                    ends = at + step - 0.06, at + step + 0.06
                    panel.hlines(fmean(values), *ends, color=look["color"], linewidth=1.5)
        panel.set_xlim(-0.6, size - 0.4)
        panel.set_xticks(range(len(tasks)), [*map(display, tasks)], rotation=12, ha="right")
        panel.grid(False, axis="x")
    yield figure


def ranks(part: Part) -> Iterator[Figure]:
    """Critical-difference diagram of mean ranks (Demšar 2006)."""
    from scipy.stats import friedmanchisquare

    means = part.scores.means(part.tasks, part.shots[0])
    if min(means.shape) < 3:
        return
    mean = means.rank(ascending=False).mean(axis=1).sort_values()
    p_value = friedmanchisquare(*means.to_numpy()).pvalue
    gap = critical_difference(*means.shape)
    reading = (
        f"Ranks over {len(means.columns)} tasks, 1 is best; Friedman p = {p_value:.3f}. Thick "
        f"lines join rows that differ by less than the critical difference {gap:.2f} (Nemenyi)."
    )
    shape = Shape(
        [""], ("mean rank", ""), 0.25 + 0.17 * len(mean), left=1.2, right=0.3, legend=False
    )
    figure = make_figure(part, "ranks", "Mean ranks over tasks", reading, shape)
    (panel,) = figure.axes
    for place, (row, rank) in enumerate(mean.items()):
        look = part.looks[str(row)] | {"linestyle": "none", "markersize": 6}
        panel.plot([rank], [place], **look)
        end = max(own for own in mean if own - rank < gap)
        panel.plot([rank, end], [place, place], "-", color=look["color"], linewidth=2.5, alpha=0.35)
    panel.set_yticks(
        range(len(mean)), [f"{display(str(r))} ({own:.2f})" for r, own in mean.items()]
    )
    panel.set(ylim=(len(mean) - 0.5, -0.5), xlim=(mean.min() - 0.2, mean.max() + 0.2))
    yield figure


def forest(part: Part) -> Iterator[Figure]:
    """Differences to PT by target, and their mean, with intervals."""
    found, tasks = all_differences(part), part.tasks
    if not found:
        return
    reading = (
        "Point: mean difference over seeds. Bar: 95 % interval over test rows; of the mean over "
        "targets, of a bootstrap over targets and seeds. Filled: significant after Holm."
    )
    axes = (f"difference to {display(REFERENCE)} (points)", "")
    heads = [*map(display, found)]
    shape = Shape(
        heads,
        axes,
        0.13 * (len(tasks) + 2),
        max(1, min(5, len(found))),
        0.85,
        gaps=(0.12, 0.5),
        legend=False,
    )
    figure = make_figure(part, "forest", f"D{axes[0][1:]}", reading, shape)
    for place, (panel, (row, own)) in enumerate(zip(figure.axes, found.items(), strict=True)):
        colour = part.looks[row]["color"]
        for at, task in enumerate(tasks):
            if cell := own.get(task):
                ends = cell.get("ci_low", math.nan), cell.get("ci_high", math.nan)
                panel.plot(ends, [at, at], "-", color=colour, linewidth=1)
                fill = colour if "mark" in cell else "white"
                panel.plot(cell["difference"], at, "o", color=colour, markerfacecolor=fill)
        cells = list(own.values())
        mean = fmean(cell["difference"] for cell in cells)
        if len(cells) > 1:
            groups = [list(cell["by_seed"].values()) for cell in cells]
            ends = two_level_interval(groups, seeded(row))
            panel.plot(ends, [len(tasks) + 0.5] * 2, "-", color=colour, linewidth=2.5)
        panel.plot(mean, len(tasks) + 0.5, "D", color=colour, markersize=5)
        panel.axvline(0, color="#888888", linewidth=0.8)
        names = [*map(display, tasks), "mean"]
        panel.set_yticks(
            [*range(len(tasks)), len(tasks) + 0.5],
            [""] * len(names) if place % shape.across else names,
        )
        panel.set_ylim(len(tasks) + 1, -0.7)
        panel.xaxis.set_major_locator(MaxNLocator(4))
    yield figure


def cost(part: Part) -> Iterator[Figure]:
    """Mean score against trainable parameters and against training time."""
    scores, means = part.scores, part.scores.means(part.tasks, part.shots[0], complete=True)
    tasks = tuple(means.columns)
    runs = [
        (row, r.training.trainable_parameters, r.timing.training_seconds)
        for row, records in part.rows.items()
        for r in records
        if r.training and r.run.task in tasks
    ]
    amounts = pd.DataFrame(runs, columns=["row", "count", "seconds"]).groupby("row").mean()
    trained = amounts[amounts["count"] > 0]
    if trained.empty:
        return
    reading = (
        f"Score: mean over {', '.join(map(display, tasks))}, which every method finished with "
        "every seed. Bars: ± standard deviation over seeds. Time: of a run, without the source "
        "prompts it starts from. Horizontal lines: nothing is trained."
    )
    axes = ("", f"mean test score (%), tasks: {len(tasks)}")
    shape = Shape(["trainable parameters", "seconds of training"], axes, 2.2, 2)
    figure = make_figure(part, "cost", "Test score against cost", reading, shape)
    average = Column("average", "", "", tasks, part.shots[0])
    for panel, name in zip(figure.axes, amounts.columns, strict=True):
        for place, (row, look) in enumerate(part.looks.items()):
            cell = scores.cell(row, average, interval=False)
            if row not in trained.index:
                panel.axhline(cell["mean"], color=look["color"])
                continue
            # Equal amounts stand beside each other; no bar passes 100.
            at = float(trained.loc[row, name]) * 1.04 ** (place - len(part.rows) / 2)
            spread = cell.get("std", 0.0)
            bars = [[spread], [min(spread, 100 - cell["mean"])]]
            panel.errorbar(at, cell["mean"], bars, **look | {"linestyle": "none", "markersize": 6})
        ends = [float(f"{own:.2g}") for own in (trained[name].min(), trained[name].max())]
        panel.set(xscale="log", xlim=(ends[0] / 1.7 or None, ends[1] * 1.7 or None))
        panel.set_xticks(ends[: 2 if ends[1] > 1.3 * ends[0] else 1])
        panel.xaxis.set_major_formatter("{x:,g}")
        panel.minorticks_off()
    yield figure


@dataclass(frozen=True)
class Kind:
    """A kind of figure: how one setting is drawn, and what it needs."""

    draw: Callable[[Part], Iterator[Figure]]
    needs: str
    by_shots: bool = False


_PT = "finished runs of pt and of another method: run `bench run --method pt`"
_DTVG = "finished runs of DTVG: run `bench run --method dtvg`"
FIGURES: Mapping[str, Kind] = {
    "differences": Kind(difference_map, _PT),
    "ranks": Kind(ranks, "three methods that finished three tasks: run `bench run --method dtvg`"),
    "seeds": Kind(seeds, "finished runs: see `bench status` for what failed"),
    "forest": Kind(forest, _PT),
    "transfer": Kind(transfer, "SPoT from one source: run `bench run --method spot:source=mnli`"),
    "few-shot": Kind(few_shot, "two numbers of shots: run `bench run --shots 4,16,full`", True),
    "cost": Kind(cost, "a task that all methods finished: `bench run --overwrite failed`"),
    "learning-curves": Kind(learning_curves, "finished runs: see `bench status` for what failed"),
    "similarity": Kind(similarity, _DTVG),
    "groups": Kind(groups, _DTVG),
}
"""Each draws figures labelled with a name for files, for one setting."""


def make_figures(
    results: Results,
    names: Sequence[str] | None = None,
    paper: float = 0.0,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[Figure], list[str]]:
    """Some or all figures, and a warning for each name without records for it.

    ``paper`` is the width of a paper's text in inches; its figures have no title and caption.
    """
    figures: list[Figure] = []
    warnings = []
    parts = {flag: [*make_parts(results, flag, paper)] for flag in (False, True)}
    for place, name in enumerate(chosen := names or [*FIGURES], 1):
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
        say(f"figures {place}/{len(chosen)}: {name}")
        kind = FIGURES[name]
        with matplotlib.style.context(STYLE):
            drawn = [figure for part in parts[kind.by_shots] for figure in kind.draw(part)]
        figures += drawn
        if not drawn:
            warnings.append(f"no figure {name}: {results.folder} lacks {kind.needs}")
    return figures, warnings


def draw(
    results: Results,
    names: Sequence[str] | None,
    folder: Path,
    formats: Sequence[str] = ("pdf", "png"),
    paper: float = 0.0,
) -> tuple[list[Path], list[str]]:
    """Write figures to files, all without names; RecordError if none of them can be drawn."""
    figures, warnings = make_figures(results, names, paper)
    if not figures:
        raise RecordError("; ".join(warnings))
    paths = []
    for figure in figures:
        for form in formats:
            paths.append(folder / f"{figure.get_label()}.{form}")
            atomic_write(paths[-1], image(figure, form))
    return paths, warnings
