"""Figures that show a matrix as colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.record import Record
from bench.reports.canvas import Part, Shape, make_figure
from bench.reports.layouts import display
from bench.reports.scores import Cell, differences
from bench.reports.show import history
from bench.reports.tables import ordered_tasks

REFERENCE = "pt"
"""Row that figures compare with."""


def _maps(
    part: Part,
    name: str,
    title: str,
    reading: str,
    panels: Mapping[str, pd.DataFrame],
    bar: str,
    looks: Mapping[str, Any],
    ends: tuple[float, float] = (-math.inf, math.inf),
) -> Figure:
    """Matrices as colours, with the numbers where a format says how; columns may be steps."""
    frames, steps = [*panels.values()], looks.get("steps", False)
    rows, form, marks = frames[0].index, looks.get("text", ""), looks.get("marks")
    most = max(float(np.nanmax(np.abs(frame.to_numpy(float)))) for frame in frames) or 1.0
    low, high = max(ends[0], -most), min(ends[1], most)
    left = 0.3 + 0.065 * max(len(display(row)) for row in rows)
    turned = not steps and len(frames[0].columns) > 8
    shape = Shape(
        [*panels],
        ("training steps" if steps else "", ""),
        *(0.1 + 0.16 * len(rows), 5 if steps else 2, left, 0.9 if turned else 0.45, 0.8),
        gaps=(0.12, 0.45),
        legend=False,
    )
    figure = make_figure(part, name, title, reading, shape)
    size = min(6, 160 * figure.axes[0].get_position().width / len(frames[0].columns))
    for place, (panel, frame) in enumerate(zip([*figure.axes], frames, strict=True)):
        values, sides = frame.to_numpy(float), np.arange(len(frame.columns) + 1) - 0.5
        if steps:
            sides = np.append(
                frame.columns,
                frame.columns[-1] + np.diff(frame.columns)[-1:].sum() + (len(frame.columns) == 1),
            )
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        else:
            turn: dict[str, Any] = {"rotation": 60, "ha": "right"} if turned else {}
            panel.set_xticks(range(len(frame.columns)), [*map(display, frame.columns)], **turn)
        mesh = panel.pcolormesh(
            *(sides, np.arange(len(rows) + 1) - 0.5, values),
            **{"cmap": looks["colours"], "vmin": low, "vmax": high},
        )
        panel.set(xlim=(0 if steps else None, None), ylim=(len(rows) - 0.5, -0.5))
        names = [*map(display, rows)] if place % shape.across == 0 else [""] * len(rows)
        panel.set_yticks(range(len(rows)), names)
        panel.grid(False)
        for (row, at), value in np.ndenumerate(values) if form else ():
            dark = "white" if abs(value) > 0.6 * high else "#111111"
            text = "" if np.isnan(value) else f"{round(value, 2) + 0.0:{form}}"
            text += marks.iloc[row, at] if marks is not None else ""
            panel.text(at, row, text, ha="center", va="center", size=size, color=dark)
    boxes = [panel.get_position() for panel in figure.axes]
    top, bottom = max(box.y1 for box in boxes), min(box.y0 for box in boxes)
    width = figure.get_figwidth()
    place_of_bar = (1 - 0.65 / width, bottom, 0.08 / width, top - bottom)
    figure.colorbar(mesh, cax=figure.add_axes(place_of_bar), label=bar)
    return figure


def all_differences(part: Part) -> dict[str, dict[str, Cell]]:
    """Differences to PT by row and task."""
    found = differences(part.scores, REFERENCE, part.tasks)
    return {row: own for row, own in found.items() if row in part.rows}


def difference_map(part: Part) -> Iterator[Figure]:
    """Difference to PT by task and method, with what is significant."""
    if found := all_differences(part):
        reading = (
            "Mean difference over seeds. †, ‡: significant (paired bootstrap over rows, Holm)."
        )
        title = f"Difference to {display(REFERENCE)} in percentage points"
        cells = [[own.get(task, {}) for task in part.tasks] for own in found.values()]
        values, marks = (
            pd.DataFrame([[c.get(key, none) for c in line] for line in cells], [*found], part.tasks)
            for key, none in (("difference", math.nan), ("mark", ""))
        )
        looks = {"colours": "RdBu", "text": "+.0f", "marks": marks}
        yield _maps(part, "differences", title, reading, {"": values}, "points", looks)


def transfer(part: Part) -> Iterator[Figure]:
    """Score of SPoT from each source minus that of PT, by source and target."""
    found = all_differences(part)
    rows = {
        str(source): row
        for row, records in part.rows.items()
        if records[0].run.method == "spot" and (source := records[0].run.settings.get("source"))
    }
    if sources := [own for own in ordered_tasks(rows) if rows[own] in found]:
        values = pd.DataFrame(
            {
                source: {task: cell["difference"] for task, cell in found[rows[source]].items()}
                for source in sources
            }
        ).T
        values = values[ordered_tasks(values.columns)]
        reading = (
            "Rows: sources. Columns: targets. Test score of SPoT minus that of PT, over seeds."
        )
        title = "Gain of SPoT over PT in percentage points, by source and target"
        panels, looks = {"": values}, {"colours": "RdBu", "text": "+.1f"}
        yield _maps(part, "transfer", title, reading, panels, "points", looks)


def similarity(part: Part) -> Iterator[Figure]:
    """Cosines of targets and sources at the first evaluation.

    Prompts share their initial prompt and are alike; task vectors are what training added to it
    (Zhang et al. 2025). Variants of DTVG start from equal prompts and count once per seed.
    """
    told = [
        (kind.replace("_", " "), str(source), record.run.task, value, record.run.seed)
        for records in part.rows.values()
        for record in records
        for _, kinds in history(record, "cosines", dict)[:1]
        for kind, cosines in kinds.items()
        for source, value in (cosines.items() if isinstance(cosines, dict) else ())
        if isinstance(value, float)
    ]
    frame = pd.DataFrame(told, columns=["head", "source", "task", "value", "seed"])
    frame = frame.drop_duplicates(["head", "source", "task", "seed"])
    panels = {
        head: own.pivot_table("value", "task", "source", sort=False).reindex(
            ordered_tasks(frame["task"])
        )
        for head, own in frame.groupby("head")
    }
    if panels:
        reading = "Means over seeds, of the means over tokens, before the method's own training."
        title = "Cosine similarity of targets (rows) and sources (columns)"
        looks = {"colours": "PuOr_r", "text": ".2f"}
        yield _maps(part, "similarity", title, reading, panels, "cosine", looks, (-1, 1))


def groups(part: Part) -> Iterator[Figure]:
    """Sources in the group by step and task; a figure per row."""
    for place, (row, records) in enumerate(part.rows.items(), 1):
        frame = pd.concat(_trace(part.folder, record) for record in records)
        named = [source.task for record in records for source in record.sources]
        sources = [*dict.fromkeys([*named, *sorted(frame["source"].unique())])]
        panels = {
            display(task): own.pivot_table("member", "source", "step").reindex(sources)
            for task in ordered_tasks(frame["task"])
            if len(own := frame[frame["task"] == task])
        }
        if panels:
            reading = "Colour: share of the seeds with the source in the group."
            title, looks = (
                f"Sources in the group of {display(row)}",
                {"colours": "Blues", "steps": True},
            )
            name, bar = f"groups-{place}", "share of seeds"
            yield _maps(part, name, title, reading, panels, bar, looks, (0, 1))


def _trace(folder: Path, record: Record) -> pd.DataFrame:
    """Task, step, source and membership: of each step if they were logged, else of evaluations."""
    prompt = record.training.prompt[:12] if record.training else ""
    path = folder / "groups" / f"{record.run.file_stem}-{prompt}.parquet"
    trace: pd.DataFrame
    if path.is_file():
        trace = pd.read_parquet(path, columns=["step", "source", "member"])
        trace = trace[trace["source"] != "target"].astype({"member": float})
    else:
        told = history(record, "group", list)
        named = [*(own.task for own in record.sources), *(str(s) for _, own in told for s in own)]
        lines = [(step, s, float(s in own)) for step, own in told for s in dict.fromkeys(named)]
        trace = pd.DataFrame(lines, columns=["step", "source", "member"])
    trace = trace.assign(task=record.run.task)
    return trace
