"""Shared drawing code of figures: selected runs, empty panels, heat maps and image files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.reports import render
from bench.reports.frame import METHODS, Results, Scores, make_sections, ordered_tasks
from bench.reports.layouts import display

STYLE = ["default", str(Path(__file__).with_name("house.mplstyle"))]
"""Matplotlib style of all figures, independent of user settings; for drawing and saving."""

WIDTH = 7.2
"""Width in inches of a figure with title and caption; font sizes are as in print."""

FOOT = 0.14
"""Height in inches of a caption line."""

LIGHT, DARK = "#fefefe", "#111111"
"""Text colours of numbers in heat maps; the page does not replace them."""

REFERENCE = "pt"
"""Reference row of comparisons in figures."""


class Part:
    """Finished runs of one setting.

    Attributes:
        paper: text width of a paper in inches, for figures without title and caption; 0: none.
        runs, shown: (row, record) pairs, and frame lines with the metrics that tables show.
        looks: colour, marker and dashes by row; equal for a method in all figures.
    """

    def __init__(self, number: int, folder: Path, scores: Scores, paper: float) -> None:
        self.number, self.folder, self.scores, self.paper = number, folder, scores, paper
        finished = scores.finished
        self.shown = finished[finished["shown"]]
        pairs = dict.fromkeys(zip(finished["row"], finished["id"], strict=True))
        self.runs = [(row, scores.records[id]) for row, id in pairs]
        self.rows = [row for row in scores.rows if row in dict(self.runs)]
        self.tasks = ordered_tasks(finished["task"])
        self.shots: list[float] = sorted(finished["shots"].unique())
        cycle = list(mpl.rcParams["axes.prop_cycle"])
        order = list(dict.fromkeys([*METHODS, *self.rows]))
        self.looks = {row: cycle[order.index(row) % len(cycle)] for row in self.rows}


def make_parts(results: Results, by_shots: bool, paper: float) -> list[Part]:
    """One part per setting with finished runs; with ``by_shots``, a setting spans all shots."""
    sections = make_sections(results, results.frame, by_shots) if by_shots else results.sections
    pairs = [(number, scores) for number, scores in enumerate(sections, 1) if len(scores.finished)]
    return [Part(number, results.folder, scores, paper) for number, scores in pairs]


def make_figure(
    part: Part,
    name: str,
    panels: Sequence[str],
    axes: tuple[str, str] = ("", ""),
    rows: Sequence[str] = (),
    height: float = 1.0,
    across: int = 5,
    right: float = 0.1,
    below: float = 0.45,
    **facts: Any,
) -> Figure:
    """Figure with empty panels; ``height`` of a panel and the margins are in inches.

    With ``rows``, each panel has one line per name, from the top, and there is no legend. The
    template makes title and caption from ``facts``.
    """
    width = part.paper or WIDTH
    looks = {} if rows else part.looks
    facts |= {"scores": part.scores, "reference": display(REFERENCE)}
    text = render("figure.txt.jinja", name=name, **facts)
    title, caption = ("", "") if part.paper else text.strip().split("\n\n", 1)
    notes = textwrap.wrap(" ".join(caption.split()), 120)
    heads = [f" {display(row)}" for row in looks]  # Labels that begin with "_" are hidden.
    columns = max(1, int(15 * width) // (8 + max(map(len, heads), default=0)))
    across = min(across, len(panels))
    lines = math.ceil(len(panels) / across)
    left, column_gap, row_gap = 0.5, 0.38, 0.45
    if rows:
        left, column_gap = 0.3 + 0.065 * max(map(len, rows)), 0.12
        height = 0.1 + 0.16 * len(rows)
    top = 0.27 if title else 0.05
    above = top + 0.17 * math.ceil(len(heads) / columns) + (0.3 if any(panels) else 0.05)
    foot = below + FOOT * len(notes)
    total = above + lines * height + (lines - 1) * row_gap + foot
    panel_width = (width - left - right - (across - 1) * column_gap) / across
    sides = {"left": left / width, "right": 1 - right / width, "wspace": column_gap / panel_width}
    ends = {"bottom": foot / total, "top": 1 - above / total, "hspace": row_gap / height}
    figure = Figure(figsize=(width, total), label=f"{name}-{part.number}")
    grid = figure.add_gridspec(lines, across, **sides, **ends)
    figure.text(0, 1 - 0.03 / total, title, size=11, weight="bold", va="top")
    figure.text(0, 0.02 / total, "\n".join(notes), size=7, va="bottom")
    if heads:
        handles = [Line2D([], [], **look) for look in looks.values()]
        anchor = (0, 1 - (top - 0.03) / total)
        options = {"bbox_to_anchor": anchor, "ncols": columns, "borderaxespad": 0}
        figure.legend(handles, heads, loc="upper left", **options)
    for number, head in enumerate(panels):
        panel = figure.add_subplot(grid[divmod(number, across)], title=head)
        panel.set_xlabel(axes[0] if number + across >= len(panels) else "")
        panel.set_ylabel(axes[1] if number % across == 0 else "")
        for axis in (panel.xaxis, panel.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)  # Saves the search for its position.
        if rows:
            labels = rows if number % across == 0 else ()
            panel.set_yticks(range(len(labels)), labels)
            panel.set_ylim(len(rows) - 0.5, -0.5)
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
    """Heat maps with formatted numbers and marks; columns are names, or training steps."""
    frames = [*panels.values()]
    rows, columns = frames[0].index, frames[0].columns
    steps = pd.api.types.is_numeric_dtype(columns)
    turned = len(columns) > 8 and not steps
    axes = ("steps" if steps else "", "")
    sizes: Any = {"across": 6 if steps else 2, "right": 0.8, "below": 0.9 if turned else 0.45}
    figure = make_figure(part, name, [*panels], axes, [*map(display, rows)], **sizes, **facts)
    largest = max(float(np.nanmax(np.abs(frame.to_numpy(float)))) for frame in frames) or 1.0
    size = min(6, 160 * figure.axes[0].get_position().width / len(columns))
    y_edges = np.arange(len(rows) + 1) - 0.5
    for panel, frame in zip([*figure.axes], frames, strict=True):
        x_edges = np.arange(len(frame.columns) + 1) - 0.5
        if steps:
            starts = frame.columns.to_numpy(float)
            x_edges = np.append(starts, starts[-1] + (np.diff(starts)[-1:].sum() or 1))
            panel.set_xticks([0, starts[-1]])  # The end would touch the next panel's 0.
        else:
            turn: dict[str, Any] = {"rotation": 60, "ha": "right"} if turned else {}
            panel.set_xticks(range(len(frame.columns)), [*map(display, frame.columns)], **turn)
        low = 0 if steps else -largest
        mesh = panel.pcolormesh(x_edges, y_edges, frame, cmap=colours, vmin=low, vmax=largest)
        panel.set_xlim(0 if steps else None)
        panel.grid(False)
        for (row, column), value in np.ndenumerate(frame) if form else ():
            text = "" if np.isnan(value) else f"{round(value, 2) + 0.0:{form}}"
            text += marks.iloc[row, column] if marks is not None else ""
            ink = LIGHT if abs(value) > 0.6 * largest else DARK
            panel.text(column, row, text, ha="center", va="center", size=size, color=ink)
    boxes = [panel.get_position() for panel in figure.axes]
    bottom = min(box.y0 for box in boxes)
    width = figure.get_figwidth()
    box = (1 - 0.65 / width, bottom, 0.08 / width, boxes[0].y1 - bottom)
    figure.colorbar(mesh, cax=figure.add_axes(box), label=bar)
    return figure


def image(figure: Figure, form: str) -> bytes:
    """Image file of a figure without timestamps, so that equal figures give equal bytes."""
    fields = {"pdf": ("CreationDate", "ModDate"), "svg": ("Date", "Creator", "Format", "Type")}
    metadata: Any = dict.fromkeys(fields.get(form, ["Software"]))
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(data, format=form, dpi=200, transparent=form == "svg", metadata=metadata)
    return data.getvalue()
