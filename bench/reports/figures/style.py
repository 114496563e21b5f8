"""Frame of all figures, and the finished runs they show."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.record import Record
from bench.reports.frame import Results, make_sections
from bench.reports.scores import MAJORITY, METHODS, Scores
from bench.reports.tables import ordered_tasks

STYLE = ["default", str(Path(__file__).with_name("house.mplstyle"))]
"""Look of all figures, whatever the user's settings; needed to draw and to save."""

WIDTH, COLUMNS = 7.2, 5
"""Inches of a page's text, so that font sizes are those in print; most panels side by side."""


@dataclass(frozen=True)
class Part:
    """Finished runs of one setting, by row, without records that contradict each other."""

    number: int
    scores: Scores
    rows: dict[str, list[Record]]
    tasks: list[str]
    shots: list[float]

    @property
    def looks(self) -> dict[str, dict[str, Any]]:
        """Colour, marker and dashes by row; a method looks alike in all figures."""
        cycle = list(mpl.rcParams["axes.prop_cycle"])
        order = list(dict.fromkeys([*METHODS, *self.rows]))
        return {row: cycle[order.index(row) % len(cycle)] for row in self.rows}


def make_parts(results: Results, by_shots: bool = False) -> Iterator[Part]:
    """The settings that have finished runs; with ``by_shots`` a setting holds several shots."""
    for number, section in enumerate(make_sections(results, results.frame, by_shots), 1):
        scores, frame = Scores(section), section.frame.dropna(subset="metric")
        places = zip(frame["row"], frame["task"], frame["shots"], strict=True)
        frame = frame[np.array([place not in scores.conflicts for place in places], bool)]
        ids = frame.groupby("row")["id"].unique()
        rows = {row: [section.records[id] for id in ids[row]] for row in scores.rows if row in ids}
        rows.pop(MAJORITY, None)
        if rows:
            shots = sorted(frame["shots"].unique())
            yield Part(number, scores, rows, ordered_tasks(frame["task"]), shots)


def make_figure(
    part: Part,
    name: str,
    title: str,
    reading: str,
    axes: tuple[str, str],
    panels: Sequence[str] = (),
    height: float = 1.35,
    legend: bool = True,
) -> Figure:
    """A figure with empty panels of a height in inches; without titles, a panel per task."""
    panels = panels or [f"{task}\n{part.scores.metrics[task]}" for task in part.tasks]
    facts = "; ".join(
        f"{key.replace('_', ' ')} {own!s:.40}" for key, own in part.scores.facts().items()
    )
    toy = part.scores.model.bundled or part.scores.facts()["data_kind"] == "bundled"
    reading = ("Bundled model or data: not a benchmark result. " if toy else "") + reading
    notes = textwrap.wrap(f"{reading} Setting: {facts}.", 145)
    looks = part.looks if legend else {}
    heads = [f" {row}" for row in looks]  # A name with "_" in front would be hidden.
    columns = max(1, min(len(heads), 110 // (8 + max(map(len, heads), default=0))))
    lines, across = math.ceil(len(panels) / COLUMNS), min(len(panels), COLUMNS)
    above, below = 0.3 + 0.2 * math.ceil(len(heads) / columns), 0.13 * (len(notes) + 1)
    total = above + 0.2 + lines * height + below
    layout = ConstrainedLayoutEngine(rect=(0, below / total, 1, 1 - (above + below) / total))
    figure = Figure(figsize=(WIDTH, total), layout=layout)
    figure.set_label(f"{name}-{part.number}")
    figure.text(0, 1, title, size=11, weight="bold", va="top")
    figure.text(0, 0, "\n".join(notes), size=7, va="bottom")
    handles, place = [Line2D([], [], **look) for look in looks.values()], (0, 1 - 0.25 / total)
    key = figure.legend(handles, heads, loc="upper left", bbox_to_anchor=place, ncols=columns)
    key.set_in_layout(False)
    for number, head in enumerate(panels):
        panel = figure.add_subplot(lines, across, number + 1, title=head)
        panel.set_xlabel(axes[0] if number + across >= len(panels) else "")
        panel.set_ylabel(axes[1] if number % across == 0 else "")
    return figure
