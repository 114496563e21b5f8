"""What figures share: the runs they show, empty panels, matrices as colours, and the files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.record import Record
from bench.reports import render
from bench.reports.frame import Results, make_sections
from bench.reports.layouts import display
from bench.reports.scores import METHODS, Scores
from bench.reports.tables import ordered_tasks

STYLE = ["default", str(Path(__file__).with_name("house.mplstyle"))]
"""Look of all figures, whatever the user's settings; needed to draw and to save."""

WIDTH = 7.2
"""Inches of a figure with title and caption, so that font sizes are those in print."""

FOOT = 0.14
"""Inches of a line of the caption."""

REFERENCE = "pt"
"""Row that figures compare with."""


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
        places = frame.set_index(["row", "task", "shots"]).index
        frame = frame[~places.isin([*scores.conflicts])]
        ids = frame.groupby("row")["id"].unique()
        rows = {row: [section.records[id] for id in ids[row]] for row in scores.rows if row in ids}
        if rows:
            tasks, shots = ordered_tasks(frame["task"]), sorted(frame["shots"].unique())
            yield Part(number, results.folder, scores, rows, tasks, shots, paper)


def make_figure(
    part: Part,
    name: str,
    panels: Sequence[str],
    axes: tuple[str, str] = ("", ""),
    height: float = 1.0,
    across: int = 5,
    left: float = 0.5,
    right: float = 0.1,
    below: float = 0.45,
    gaps: tuple[float, float] = (0.38, 0.45),
    legend: bool = True,
    **facts: Any,
) -> Figure:
    """A figure with empty panels: their heads, labels of axes, and inches of panels and gaps.

    The template tells title and caption from the facts.
    """
    width, looks = part.paper or WIDTH, part.looks if legend else {}
    facts |= {"model": part.scores.model, "setting": part.scores.facts()}
    text = render("figure.txt.jinja", name=name, reference=display(REFERENCE), **facts)
    title, caption = ("", "") if part.paper else text.strip().split("\n\n", 1)
    notes = textwrap.wrap(" ".join(caption.split()), 120)
    heads = [f" {display(row)}" for row in looks]  # A name with "_" in front would be hidden.
    columns = max(1, int(15 * width) // (8 + max(map(len, heads), default=0)))
    across = min(across, len(panels))
    lines, (wide, high) = math.ceil(len(panels) / across), gaps
    top = 0.27 if title else 0.05
    above = top + 0.17 * math.ceil(len(heads) / columns) + (0.3 if any(panels) else 0.05)
    foot = below + FOOT * len(notes)
    total = above + lines * height + (lines - 1) * high + foot
    own = (width - left - right - (across - 1) * wide) / across
    sides = {"left": left / width, "right": 1 - right / width, "wspace": wide / own}
    ends = {"bottom": foot / total, "top": 1 - above / total, "hspace": high / height}
    figure = Figure(figsize=(width, total), label=f"{name}-{part.number}")
    grid = figure.add_gridspec(lines, across, **sides, **ends)
    figure.text(0, 1, title, size=11, weight="bold", va="top")
    figure.text(0, 0.02 / total, "\n".join(notes), size=7, va="bottom")
    if heads:
        handles = [Line2D([], [], **look) for look in looks.values()]
        place = (0, 1 - (top - 0.03) / total)
        options = {"bbox_to_anchor": place, "ncols": columns, "borderaxespad": 0}
        figure.legend(handles, heads, loc="upper left", **options)
    for number, head in enumerate(panels):
        panel = figure.add_subplot(grid[divmod(number, across)], title=head)
        panel.set_xlabel(axes[0] if number + across >= len(panels) else "")
        panel.set_ylabel(axes[1] if number % across == 0 else "")
        for axis in (panel.xaxis, panel.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)  # Its place would be searched in each drawing.
    return figure


def draw_map(
    part: Part,
    name: str,
    panels: Mapping[str, pd.DataFrame],
    bar: str,
    colours: str,
    form: str = "",
    marks: pd.DataFrame | None = None,
    **facts: Any,
) -> Figure:
    """Matrices as colours, with numbers in a format and marks; columns are names, or steps."""
    frames = [*panels.values()]
    rows, columns = frames[0].index, frames[0].columns
    steps, turned = pd.api.types.is_numeric_dtype(columns), len(columns) > 8
    across = 5 if steps else 2
    figure = make_figure(
        *(part, name, [*panels]),
        ("training steps" if steps else "", ""),
        height=0.1 + 0.16 * len(rows),
        across=across,
        left=0.3 + 0.065 * max(len(display(row)) for row in rows),
        right=0.8,
        below=0.9 if turned and not steps else 0.45,
        gaps=(0.12, 0.45),
        legend=False,
        **facts,
    )
    most = max(float(np.nanmax(np.abs(own.to_numpy(float)))) for own in frames) or 1.0
    size = min(6, 160 * figure.axes[0].get_position().width / len(columns))
    sides = np.arange(len(rows) + 1) - 0.5
    for place, (panel, frame) in enumerate(zip([*figure.axes], frames, strict=True)):
        ends = np.arange(len(frame.columns) + 1) - 0.5
        if steps:
            at = frame.columns.to_numpy(float)
            ends = np.append(at, at[-1] + (np.diff(at)[-1:].sum() or 1))
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        else:
            turn: dict[str, Any] = {"rotation": 60, "ha": "right"} if turned else {}
            panel.set_xticks(range(len(frame.columns)), [*map(display, frame.columns)], **turn)
        low = 0 if steps else -most
        mesh = panel.pcolormesh(ends, sides, frame, cmap=colours, vmin=low, vmax=most)
        panel.set(xlim=(0 if steps else None, None), ylim=(len(rows) - 0.5, -0.5))
        names = [*map(display, rows)] if place % across == 0 else [""] * len(rows)
        panel.set_yticks(range(len(rows)), names)
        panel.grid(False)
        for (row, column), value in np.ndenumerate(frame) if form else ():
            text = "" if np.isnan(value) else f"{round(value, 2) + 0.0:{form}}"
            text += marks.iloc[row, column] if marks is not None else ""
            dark = "white" if abs(value) > 0.6 * most else "#111111"
            panel.text(column, row, text, ha="center", va="center", size=size, color=dark)
    boxes = [panel.get_position() for panel in figure.axes]
    bottom, width = min(box.y0 for box in boxes), figure.get_figwidth()
    place_of_bar = (1 - 0.65 / width, bottom, 0.08 / width, boxes[0].y1 - bottom)
    figure.colorbar(mesh, cax=figure.add_axes(place_of_bar), label=bar)
    return figure


def image(figure: Figure, form: str, dpi: int = 200) -> bytes:
    """The file of a figure, without the time of writing: equal figures give equal bytes."""
    none = {"pdf": ("CreationDate", "ModDate"), "svg": ("Date", "Creator", "Format", "Type")}
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        metadata = dict.fromkeys(none.get(form, ["Software"]))
        figure.savefig(data, format=form, metadata=metadata, dpi=dpi, transparent=form == "svg")
    return data.getvalue()
