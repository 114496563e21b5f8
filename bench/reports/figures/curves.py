"""Curves by task with a line per row: few-shot curves and learning curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean
from typing import TypeAlias

from matplotlib.figure import Figure

from bench.reports.figures.style import Part, make_figure, make_parts
from bench.reports.frame import Results
from bench.reports.scores import Column

Points: TypeAlias = Sequence[tuple[float, float, float, float]]
"""Position, mean, and lower and upper end of the band."""

SHOTS = "Line: mean over seeds. Band: ± sample standard deviation over seeds, none for one seed."
STEPS = (
    "Line: mean over the seeds that came so far; it may jump where one stops early. Band: lowest "
    "to highest seed."
)


def few_shot(results: Results) -> Iterator[Figure]:
    """Test score against the number of training examples; a figure per setting."""
    title, axes = "Test score (%) against number of training examples", ("shots", "score (%)")
    for part in make_parts(results, by_shots=True):
        if len(part.shots) > 1:
            figure = make_figure(part, "few-shot", title, SHOTS, axes)
            _draw_lines(figure, part, partial(_by_shots, part))
            names = [f"{count:g}".replace("inf", "full") for count in part.shots]
            for panel in figure.axes:
                panel.set_xticks(range(len(names)), names)
            yield figure


def _by_shots(part: Part, row: str, task: str) -> Points:
    columns = [Column("score", "", task, (task,), shots) for shots in part.shots]
    cells = enumerate(part.scores.cell(row, column, interval=False) for column in columns)
    known = [(at, cell["mean"], cell.get("std", 0.0)) for at, cell in cells if "mean" in cell]
    return [(at, mean, mean - spread, mean + spread) for at, mean, spread in known]


def learning_curves(results: Results) -> Iterator[Figure]:
    """Validation score, and training loss, against training steps; two figures per setting."""
    for part in make_parts(results):
        for what in ("validation score (%)", "training loss"):
            axes, name = (
                ("training steps", what.split(" ", 1)[1]),
                f"learning-curves-{what.split()[1]}",
            )
            title = f"Learning curves: {what}"
            figure = make_figure(part, name, title, STEPS, axes)
            _draw_lines(figure, part, partial(_by_step, part, what == "training loss"))
            yield figure


def _by_step(part: Part, loss: bool, row: str, task: str) -> Points:
    found: dict[int, list[float]] = defaultdict(list)
    for record in part.rows[row]:
        for point in record.training.curve if record.training and record.run.task == task else ():
            value = point.loss if loss else point.validation.get(part.scores.metrics[task])
            if value is not None:
                found[point.step].append(value)
    return [(step, fmean(own), min(own), max(own)) for step, own in sorted(found.items())]


def _draw_lines(figure: Figure, part: Part, points: Callable[[str, str], Points]) -> None:
    for task, panel in zip(part.tasks, figure.axes, strict=True):
        for row, look in part.looks.items():
            if known := points(row, task):
                at, means, lows, highs = zip(*known, strict=True)
                panel.plot(at, means, markevery=max(1, len(at) // 4), **look)
                panel.fill_between(at, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        panel.locator_params(nbins=4)
