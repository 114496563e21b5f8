"""Learning curves: validation score, and training loss, against training steps.

One panel per task, one line per row of the table: the mean over seeds, with a band from the lowest
to the highest seed. Where seeds ended at different steps, a point rests on those that came so far.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes

from bench.records import CurvePoint, Record
from bench.reports.figures.data import (
    Rows,
    drawings_by_section,
    metrics_of,
    rows_of,
    seeds_of,
    styles_of,
)
from bench.reports.figures.drawing import Drawing, frame, setting_line
from bench.reports.figures.panels import panel_grid, panel_rows, widen
from bench.reports.figures.style import LineStyle
from bench.reports.results import Results
from bench.reports.sections import Section

Value = Callable[[Record, CurvePoint], float | None]

_READING = (
    "Line: mean over the seeds that came so far; it may jump where one stops early. Band: lowest "
    "to highest seed."
)


def draw(results: Results, method_order: Sequence[str]) -> list[Drawing]:
    """Two pictures per section: validation score and training loss."""
    return drawings_by_section(
        results,
        lambda section: _of_section(section, rows_of(section, method_order), method_order),
        "no learning curve, as no cell in it finished: run `bench run` again and see "
        "`bench table` for what failed",
    )


def _of_section(section: Section, rows: Rows, method_order: Sequence[str]) -> Iterator[Drawing]:
    if not rows:
        return
    name = f"learning-curves-{section.number}"
    styles = styles_of(rows, method_order)
    title = "Learning curves: validation score (%)"
    yield _picture(section, rows, styles, f"{name}-score", title, "score (%)", _score)
    title = "Learning curves: training loss"
    yield _picture(section, rows, styles, f"{name}-loss", title, "loss", _loss)


def _score(record: Record, point: CurvePoint) -> float | None:
    assert record.scores is not None
    return point.validation.get(record.scores.table_metric)


def _loss(record: Record, point: CurvePoint) -> float:
    return point.loss


def _picture(
    section: Section,
    rows: Rows,
    styles: Mapping[str, LineStyle],
    name: str,
    title: str,
    axis: str,
    value: Value,
) -> Drawing:
    metrics = metrics_of(rows)
    setting = setting_line(section, seeds_of(rows))
    figure = frame(title, f"{setting} {_READING}", 1.35 * panel_rows(len(metrics)) + 0.2, styles)
    panels = panel_grid(figure, len(metrics), "training steps", axis)
    for (task, metric), axes in zip(metrics.items(), panels, strict=True):
        axes.set_title(f"{task}\n{metric}")
        for label, records in rows.items():
            _line(axes, [r for r in records if r.cell.task == task], styles[label], value)
        if value is _score:
            widen(axes)
    alt = f"{title} over training steps on {len(metrics)} tasks for {', '.join(rows)}."
    return Drawing(name, title, setting, alt, figure)


def _line(axes: Axes, records: Sequence[Record], style: LineStyle, value: Value) -> None:
    by_step: dict[int, list[float]] = defaultdict(list)
    for record in records:
        assert record.training is not None
        for point in record.training.curve:
            known = value(record, point)
            if known is not None:
                by_step[point.step].append(known)
    steps = sorted(by_step)
    if not steps:
        return
    values = [by_step[step] for step in steps]
    means = [math.fsum(v) / len(v) for v in values]
    axes.plot(
        steps, means, color=style.color, linestyle=style.linestyle, marker=style.marker,
        markevery=max(1, len(steps) // 4), markersize=2.5, linewidth=1,
    )  # fmt: skip
    lows, highs = [min(v) for v in values], [max(v) for v in values]
    axes.fill_between(steps, lows, highs, color=style.color, alpha=0.15, linewidth=0)
