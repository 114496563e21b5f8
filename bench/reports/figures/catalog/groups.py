"""DTVG's groups: which sources were in the group at each evaluation of the training.

One panel per task; the darker, the more seeds had the source in the group at that step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.records import Record
from bench.reports.figures.data import Rows, drawings_by_section, metrics_of, rows_of, seeds_of
from bench.reports.figures.diagnostics import groups
from bench.reports.figures.drawing import Drawing, frame, setting_line
from bench.reports.figures.panels import COLUMNS, panel_grid, panel_rows
from bench.reports.figures.style import SEQUENTIAL
from bench.reports.results import Results
from bench.reports.sections import Section

_READING = "Colour: share of the seeds with the source in the group at that evaluation."


def draw(results: Results, method_order: Sequence[str]) -> list[Drawing]:
    """One picture per section and row that has groups."""
    return drawings_by_section(
        results,
        lambda section: _of_section(section, rows_of(section, method_order)),
        "no finished cell of a method that groups sources: run `bench run --method dtvg`",
    )


def _of_section(section: Section, rows: Rows) -> Iterator[Drawing]:
    grouping = {
        label: [record for record in records if groups(record)] for label, records in rows.items()
    }
    grouping = {label: records for label, records in grouping.items() if records}
    for place, (label, records) in enumerate(grouping.items(), start=1):
        name = f"groups-{section.number}" + (f"-{place}" if len(grouping) > 1 else "")
        yield _picture(section, label, records, name)


def _picture(section: Section, label: str, records: list[Record], name: str) -> Drawing:
    tasks = list(metrics_of({label: records}))
    sources = _sources(records)
    title = f"Sources in the group of {label} during training"
    setting = setting_line(section, seeds_of({label: records}))
    height = (0.45 + 0.13 * len(sources)) * panel_rows(len(tasks)) + 0.5
    figure = frame(title, f"{setting} {_READING}", height)
    panels = panel_grid(figure, len(tasks), "training steps", "")
    for place, (task, axes) in enumerate(zip(tasks, panels, strict=True)):
        axes.set_title(task)
        image = _panel(axes, [r for r in records if r.cell.task == task], sources)
        axes.set_yticks(
            range(len(sources)), sources if place % COLUMNS == 0 else [""] * len(sources)
        )
    # In parts of the height of all panels, which hold labels of the axes too.
    pad = 0.12 / panel_rows(len(tasks))
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.4, aspect=40, pad=pad)
    bar.set_label("share of seeds")
    alt = (
        f"{title}: one panel for each of {len(tasks)} tasks, training steps from left to right, "
        f"a row for each of the sources {', '.join(sources)}."
    )
    return Drawing(name, title, setting, alt, figure)


def _sources(records: list[Record]) -> list[str]:
    """Every source that a record names; those that a method started from come first, in order."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(source.task for source in record.sources or ())
    for record in records:
        names |= dict.fromkeys(sorted(frozenset().union(*groups(record).values())))
    return list(names)


def _panel(axes: Axes, records: list[Record], sources: list[str]) -> Any:
    told = [groups(record) for record in records]
    steps = sorted({step for one in told for step in one})
    shares = np.full((len(sources), len(steps)), np.nan)
    for column, step in enumerate(steps):
        there = [one[step] for one in told if step in one]
        for line, source in enumerate(sources):
            shares[line, column] = sum(source in group for group in there) / len(there)
    image = axes.imshow(
        shares, aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest"
    )
    axes.spines[:].set_visible(True)
    axes.grid(False)
    shown = sorted({0, len(steps) // 2, len(steps) - 1})
    axes.set_xticks(shown, [str(steps[place]) for place in shown])
    return image
