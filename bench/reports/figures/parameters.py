"""Test score against trainable parameters: a point per row of the table."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from bench.reports.figures.style import make_figure, make_parts
from bench.reports.frame import Results
from bench.reports.scores import Column

READING = (
    "Score: mean over {}, which every method finished with every seed. Bars: ± sample standard "
    "deviation over seeds, none for a single seed. Horizontal lines: nothing is trained."
)


def parameters(results: Results) -> Iterator[Figure]:
    """A figure per setting in which all rows finished at least one task with all seeds."""
    for part in make_parts(results):
        scores, tasks = part.scores, []
        for task in part.tasks:
            column = Column("score", "", task, (task,), part.shots[0])
            cells = [scores.cell(row, column, interval=False) for row in part.rows]
            if min(cell["n_seeds"] for cell in cells) == len(scores.seeds):
                tasks.append(task)
        frame = scores.section.frame
        amounts = frame[frame["task"].isin(tasks)].groupby("row")["parameters"].mean()
        trained = amounts[amounts > 0]
        if trained.empty:
            continue
        title, reading = "Test score against trainable parameters", READING.format(", ".join(tasks))
        axes = "trainable parameters", f"mean test score (%), tasks: {len(tasks)}"
        figure = make_figure(part, "parameters", title, reading, axes, [""], height=3)
        (panel,) = figure.axes
        average = Column("average", "", "", tuple(tasks), part.shots[0])
        for row, look in part.looks.items():
            cell = scores.cell(row, average, interval=False)
            if amounts[row]:
                point = look | {"linestyle": "none", "markersize": 7}
                panel.errorbar(amounts[row], cell["mean"], cell.get("std", 0), **point)
            else:
                panel.axhline(cell["mean"], color=look["color"])
        panel.set(xscale="log", xlim=(trained.min() / 1.7, trained.max() * 1.7))
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.minorticks_off()
        yield figure
