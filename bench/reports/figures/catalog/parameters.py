"""Score against trainable parameters: what a method gets out of what it trains.

One point per row of the table: the test score as a mean over the tasks that every row finished with
every seed of the section, and the trainable parameters as a mean over the same cells.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.records import Record
from bench.reports.figures.data import (
    Rows,
    drawings_by_section,
    metrics_of,
    rows_of,
    styles_of,
)
from bench.reports.figures.drawing import Drawing, frame, setting_line
from bench.reports.results import Results, table_score
from bench.reports.sections import Section
from bench.reports.statistics import mean_and_std

_READING = (
    "Score: mean over {tasks}, those that every method finished with every seed. Bars: ± one "
    "sample standard deviation over seeds, none for a single seed."
)


def draw(results: Results, method_order: Sequence[str]) -> list[Drawing]:
    """One picture per section in which at least one task was finished by all."""
    return drawings_by_section(
        results,
        lambda section: _of_section(section, rows_of(section, method_order), method_order),
        "no table in which all methods finished a common task with all seeds: finish it with "
        "`bench run --overwrite failed`",
    )


def _of_section(section: Section, rows: Rows, method_order: Sequence[str]) -> Iterator[Drawing]:
    seeds = section.seeds
    cells = {
        (label, record.cell.task, record.cell.seed): record
        for label, records in rows.items()
        for record in records
    }
    tasks = [
        task
        for task in metrics_of(rows)
        if all((label, task, seed) in cells for label in rows for seed in seeds)
    ]
    if not tasks:
        return
    styles = styles_of(rows, method_order)
    title = "Test score against trainable parameters"
    setting = setting_line(section, seeds)
    common = f"the {len(tasks)} tasks {', '.join(tasks)}" if len(tasks) > 1 else tasks[0]
    figure = frame(title, f"{setting} {_READING.format(tasks=common)}", 3.2, styles)
    axes = figure.add_subplot()
    told, amounts = [], []
    for label in rows:
        by_seed = [[cells[label, task, seed] for task in tasks] for seed in seeds]
        parameters = statistics.fmean(_parameters(record) for own in by_seed for record in own)
        score, deviation = mean_and_std(
            [mean_and_std([table_score(r) for r in own])[0] for own in by_seed]
        )
        amounts.append(parameters)
        style = styles[label]
        axes.errorbar(
            parameters, score, yerr=deviation or 0.0, color=style.color, marker=style.marker,
            markersize=7, capsize=3, elinewidth=1, linestyle="none",
        )  # fmt: skip
        told.append(f"{label} {score:.1f} % with {parameters:,.0f}")
    axes.set_xscale("log")
    # Wide enough to hold one of the numbers 1, 2 and 5 times a power of ten.
    axes.set_xlim(min(amounts) / 1.7, max(amounts) * 1.7)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(y=0.2)
    axes.set_xlabel("trainable parameters (logarithmic)")
    axes.set_ylabel(
        f"mean test score over {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} (%)"
    )
    alt = f"{title}: {'; '.join(told)} trainable parameters."
    yield Drawing(f"parameters-{section.number}", title, setting, alt, figure)


def _parameters(record: Record) -> float:
    assert record.training is not None
    return float(record.training.trainable_parameters)
