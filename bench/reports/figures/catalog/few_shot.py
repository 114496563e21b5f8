"""Few-shot curves: test score against the number of training examples.

One panel per task; mean over seeds, with a bar of one sample standard deviation to either side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from bench.records import Record
from bench.reports.figures.data import Rows, metrics_of, rows_of, seeds_of, styles_of
from bench.reports.figures.drawing import Drawing, MissingDataError, frame, setting_line
from bench.reports.figures.panels import panel_grid, panel_rows, widen
from bench.reports.figures.style import LineStyle
from bench.reports.results import Results, table_score
from bench.reports.sections import Section, make_sections
from bench.reports.settings import Setting
from bench.reports.statistics import mean_and_std

Shots = tuple[int | None, ...]

_READING = (
    "Mean over seeds; bars: ± one sample standard deviation over seeds, none for a single seed."
)


def draw(results: Results, method_order: Sequence[str]) -> list[Drawing]:
    """One picture per setting with at least two numbers of shots."""
    sections = make_sections(results, setting=_without_shots)
    found = [
        drawing
        for section in sections
        for drawing in _of_section(section, rows_of(section, method_order), method_order)
    ]
    if not found:
        raise MissingDataError(
            f"{results.folder} holds no setting with finished cells of two numbers of shots: run "
            "`bench run --shots 4,16,32,full`"
        )
    return found


def _without_shots(record: Record) -> Setting:
    return replace(Setting.of(record), shots=None)


def _of_section(section: Section, rows: Rows, method_order: Sequence[str]) -> Iterator[Drawing]:
    known = {record.cell.shots for records in rows.values() for record in records}
    if len(known) < 2:
        return
    shots = tuple(sorted(known, key=lambda number: (number is None, number or 0)))
    metrics = metrics_of(rows)
    setting = setting_line(section, seeds_of(rows), shots)
    title = "Test score (%) against number of training examples"
    styles = styles_of(rows, method_order)
    figure = frame(title, f"{setting} {_READING}", 1.35 * panel_rows(len(metrics)) + 0.2, styles)
    panels = panel_grid(figure, len(metrics), "shots", "score (%)")
    for (task, metric), axes in zip(metrics.items(), panels, strict=True):
        axes.set_title(f"{task}\n{metric}")
        for place, (label, records) in enumerate(rows.items()):
            # Bars that stand on one another could not be told apart.
            shift = 0.3 * ((place + 0.5) / len(rows) - 0.5)
            own = [record for record in records if record.cell.task == task]
            _line(axes, own, shots, styles[label], shift)
        axes.set_xticks(
            range(len(shots)), ["full" if number is None else str(number) for number in shots]
        )
        widen(axes)
        axes.set_xlim(-0.4, len(shots) - 0.6)
    alt = f"{title} on {len(metrics)} tasks for {', '.join(rows)}."
    yield Drawing(f"few-shot-{section.number}", title, setting, alt, figure)


def _line(
    axes: Axes, records: Sequence[Record], shots: Shots, style: LineStyle, shift: float
) -> None:
    by_shots = [[table_score(r) for r in records if r.cell.shots == number] for number in shots]
    there = [(place, *_mean_and_bar(scores)) for place, scores in enumerate(by_shots) if scores]
    if not there:
        return
    places, means, deviations = zip(*there, strict=True)
    axes.errorbar(
        [place + shift for place in places], means, yerr=deviations, color=style.color,
        marker=style.marker, linestyle=style.linestyle, markersize=3, linewidth=1, capsize=2,
        elinewidth=0.8,
    )  # fmt: skip


def _mean_and_bar(scores: Sequence[float]) -> tuple[float, float]:
    mean, deviation = mean_and_std(scores)
    return mean, deviation or 0.0
