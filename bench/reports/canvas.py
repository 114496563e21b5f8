"""What all figures share: the runs they show, the empty panels, and the files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.record import Record
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import display
from bench.reports.scores import MAJORITY, METHODS, Scores
from bench.reports.tables import ordered_tasks

STYLE = ["default", str(Path(__file__).with_name("house.mplstyle"))]
"""Look of all figures, whatever the user's settings; needed to draw and to save."""

WIDTH = 7.2
"""Inches of a figure with title and caption, so that font sizes are those in print."""


FOOT = 0.14
"""Inches of a line of the caption."""


@dataclass(frozen=True)
class Part:
    """Finished runs of one setting, by row, without records that contradict each other.

    Attributes:
        paper: inches of a paper's text: a figure has this width, and no title and caption; or 0.
    """

    number: int
    folder: Path
    scores: Scores
    rows: dict[str, list[Record]]
    tasks: list[str]
    shots: list[float]
    paper: float = 0.0

    @property
    def looks(self) -> dict[str, dict[str, Any]]:
        """Colour, marker and dashes by row; a method looks alike in all figures."""
        cycle = list(mpl.rcParams["axes.prop_cycle"])
        order = list(dict.fromkeys([*METHODS, *self.rows]))
        return {row: cycle[order.index(row) % len(cycle)] for row in self.rows}


def make_parts(results: Results, by_shots: bool = False, paper: float = 0.0) -> Iterator[Part]:
    """The settings that have finished runs; with ``by_shots`` a setting holds several shots."""
    for number, section in enumerate(make_sections(results, results.frame, by_shots), 1):
        scores = Scores(section, results.bootstrap)
        frame = section.frame.dropna(subset="metric")
        places = zip(frame["row"], frame["task"], frame["shots"], strict=True)
        frame = frame[np.array([place not in scores.conflicts for place in places], bool)]
        ids = frame.groupby("row")["id"].unique()
        rows = {row: [section.records[id] for id in ids[row]] for row in scores.rows if row in ids}
        rows.pop(MAJORITY, None)
        if rows:
            tasks, shots = ordered_tasks(frame["task"]), sorted(frame["shots"].unique())
            yield Part(number, results.folder, scores, rows, tasks, shots, paper)


@dataclass(frozen=True)
class Shape:
    """Panels of a figure and the inches around them."""

    panels: Sequence[str]
    axes: tuple[str, str] = ("", "")
    height: float = 1.0
    across: int = 5
    left: float = 0.5
    below: float = 0.45
    right: float = 0.1
    gaps: tuple[float, float] = (0.38, 0.45)
    legend: bool = True


def make_figure(part: Part, name: str, title: str, reading: str, shape: Shape) -> Figure:
    """A figure with empty panels; without titles, a panel per task."""
    width = part.paper or WIDTH
    facts = part.scores.facts()
    setting = "; ".join(f"{key.replace('_', ' ')} {own!s:.24}" for key, own in facts.items())
    toy = part.scores.model.bundled or facts["data_kind"] == "bundled"
    reading = ("Bundled model or data: not a benchmark result. " if toy else "") + reading
    notes = [] if part.paper else textwrap.wrap(f"{reading} Setting: {setting}.", 120)
    looks = part.looks if shape.legend else {}
    heads = [f" {display(row)}" for row in looks]  # A name with "_" in front would be hidden.
    longest = 8 + max(map(len, heads), default=0)
    columns = max(1, min(len(heads), int(15 * width) // longest))
    across = min(shape.across, len(shape.panels))
    lines, (wide, high) = math.ceil(len(shape.panels) / across), shape.gaps
    above = 0.05 + (0 if part.paper else 0.22) + 0.17 * math.ceil(len(heads) / columns)
    above += 0.3 if any(shape.panels) else 0.05
    foot = shape.below + (FOOT * len(notes) if notes else 0)
    total = above + lines * shape.height + (lines - 1) * high + foot
    figure = Figure(figsize=(width, total))
    own = (width - shape.left - shape.right - (across - 1) * wide) / across
    grid = figure.add_gridspec(
        nrows=lines,
        ncols=across,
        left=shape.left / width,
        right=1 - shape.right / width,
        bottom=foot / total,
        top=1 - above / total,
        wspace=wide / own,
        hspace=high / shape.height,
    )
    figure.set_label(f"{name}-{part.number}")
    figure.text(0, 1, "" if part.paper else title, size=11, weight="bold", va="top")
    figure.text(0, 0.02 / total, "\n".join(notes), size=7, va="bottom")
    if heads:
        handles = [Line2D([], [], **look) for look in looks.values()]
        place = (0, 1 - (0.02 if part.paper else 0.24) / total)
        options = {"bbox_to_anchor": place, "ncols": columns, "borderaxespad": 0}
        figure.legend(handles, heads, loc="upper left", **options)
    for number, head in enumerate(shape.panels):
        panel = figure.add_subplot(grid[divmod(number, across)], title=head)
        panel.set_xlabel(shape.axes[0] if number + across >= len(shape.panels) else "")
        panel.set_ylabel(shape.axes[1] if number % across == 0 else "")
        for axis in (panel.xaxis, panel.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)  # Its place would be searched in each drawing.
    return figure


def image(figure: Figure, form: str, dpi: int = 200) -> bytes:
    """The file of a figure, without the time of writing: equal figures give equal bytes."""
    dates = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}}
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        metadata = dates.get(form, {"Software": None})
        figure.savefig(data, format=form, metadata=metadata, dpi=dpi, transparent=form == "svg")
    return data.getvalue()
