"""Colour maps of what DTVG tells of its sources: groups and similarity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.record import Record
from bench.reports.figures.style import COLUMNS, Part, make_figure, make_parts
from bench.reports.frame import Results
from bench.reports.tables import ordered_tasks


def groups(results: Results) -> Iterator[Figure]:
    """Sources in the group at each evaluation, by task; a figure per setting and row."""
    reading = "Colour: share of the seeds with the source in the group at that evaluation."
    for part in make_parts(results):
        for place, (row, records) in enumerate(part.rows.items(), 1):
            told = [(r.run.task, *own) for r in records for own in _history(r, "group", list)]
            named = [source.task for record in records for source in record.sources]
            grouped = sorted({str(source) for *_, group in told for source in group})
            sources = list(dict.fromkeys([*named, *grouped]))
            lines = [(task, at, name, name in own) for task, at, own in told for name in sources]
            frame = pd.DataFrame(lines, columns=["head", "column", "row", "value"])
            frame, tasks = frame.sort_values("column", kind="stable"), ordered_tasks(frame["head"])
            if tasks:
                title, axes = f"Sources in the group of {row}", ("training steps", "share of seeds")
                yield _figure(part, f"groups-{place}", title, reading, axes, frame, tasks, sources)


def similarity(results: Results) -> Iterator[Figure]:
    """Cosines of targets and sources at the first evaluation; a figure per setting.

    Prompts share their initial prompt and are alike; task vectors are what training added to it
    (Zhang et al. 2025). Variants of DTVG start from equal prompts and count once per seed.
    """
    title = "Cosine similarity of targets (rows) and sources (columns)"
    for part in make_parts(results):
        told = [
            (kind.replace("_", " "), str(source), record.run.task, value, record.run.seed, step)
            for records in part.rows.values()
            for record in records
            for step, kinds in _history(record, "cosines", dict)[:1]
            for kind, cosines in kinds.items()
            for source, value in (cosines.items() if isinstance(cosines, dict) else ())
            if isinstance(value, float)
        ]
        frame = pd.DataFrame(told, columns=["head", "column", "row", "value", "seed", "step"])
        frame = frame.drop_duplicates(["head", "column", "row", "seed"])
        if len(frame):
            steps = ", ".join(map(str, sorted(frame["step"].unique())))
            reading = f"Means over seeds, of the means over tokens, at step {steps}."
            heads, rows = ["prompts", "task vectors"], ordered_tasks(frame["row"])
            axes = ("", "cosine")
            yield _figure(part, "similarity", title, reading, axes, frame, heads, rows)


def _history(record: Record, key: str, kind: type) -> list[tuple[int, Any]]:
    """Steps at which the method told of ``key``, and its value; a plugin may tell anything."""
    told = record.diagnostics.get("history")
    points = [point for point in told if isinstance(point, dict)] if isinstance(told, list) else []
    found = [(point.get("step"), point.get(key)) for point in points]
    return [(step, own) for step, own in found if isinstance(step, int) and isinstance(own, kind)]


def _figure(
    part: Part,
    name: str,
    title: str,
    reading: str,
    axes: tuple[str, str],
    frame: pd.DataFrame,
    heads: list[str],
    rows: list[str],
) -> Figure:
    """A panel per head with the means of ``value`` by row and column; cosines with numbers."""
    cosines, height = axes[1] == "cosine", max(1.2, 0.45 + 0.15 * len(rows))
    figure = make_figure(part, name, title, reading, (axes[0], ""), heads, height, legend=False)
    panels = list(figure.axes)
    for place, (panel, head) in enumerate(zip(panels, heads, strict=True)):
        values = frame[frame["head"] == head].pivot_table("value", "row", "column", sort=False)
        grid = values.reindex(rows).to_numpy()
        colours, low = ("PuOr_r", -1) if cosines else ("Blues", 0)
        image = panel.imshow(grid, aspect="auto", cmap=colours, vmin=low, vmax=1)
        for (line, column), value in np.ndenumerate(grid):
            if cosines and not np.isnan(value):
                colour = "white" if abs(value) > 0.6 else "black"
                text = f"{round(value, 2) + 0.0:.2f}"
                panel.text(column, line, text, ha="center", va="center", size=6, color=colour)
        step = 1 if cosines else max(1, len(values.columns) // 2)
        panel.set_xticks(range(0, len(values.columns), step), values.columns[::step])
        panel.set_yticks(range(len(rows)), [""] * len(rows) if place % COLUMNS else rows)
        panel.grid(False)
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label(axes[1])
    return figure
