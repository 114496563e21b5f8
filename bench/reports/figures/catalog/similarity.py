"""Which source is like which target: cosines of prompts and of task vectors, side by side.

Prompts share the initial prompt ``P_init``, which makes them alike; task vectors are what training
added to it (Zhang et al. 2025, arXiv:2503.18063). Both are compared by their means over tokens.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from bench.records import Record
from bench.reports.figures.data import Rows, drawings_by_section, metrics_of, rows_of
from bench.reports.figures.diagnostics import cosines
from bench.reports.figures.drawing import Drawing, frame, setting_line
from bench.reports.figures.style import DIVERGING
from bench.reports.results import Results
from bench.reports.sections import Section

_KINDS = {"prompts": "prompts", "task_vectors": "task vectors"}
_DARK = 0.6
"""Cosines beyond it stand on a dark ground."""

Values = dict[tuple[str, str, str], list[float]]
"""Cosines of all seeds by kind, target and source."""


def draw(results: Results, method_order: Sequence[str]) -> list[Drawing]:
    """One picture per section with cosines."""
    return drawings_by_section(
        results,
        lambda section: _of_section(section, rows_of(section, method_order)),
        "no cosines of prompts and task vectors, which records of DTVG hold: run "
        "`bench run --method dtvg`, with `--overwrite always` if the records are of an older "
        "version",
    )


def _of_section(section: Section, rows: Rows) -> Iterator[Drawing]:
    values: Values = defaultdict(list)
    chosen = _one_per_seed(rows)
    steps = set()
    for record in chosen:
        told = cosines(record)
        if told is None:
            continue
        steps.add(told[0])
        for kind, by_source in told[1].items():
            for source, value in by_source.items():
                values[kind, record.cell.task, source].append(value)
    if not values:
        return
    targets = list(metrics_of({"": chosen}))
    sources = list(dict.fromkeys(source for _, _, source in values))
    seeds = tuple(sorted({record.cell.seed for record in chosen}))
    title = "Cosine similarity of targets (rows) and sources (columns)"
    setting = setting_line(section, seeds)
    at = " and ".join(map(str, sorted(steps)))
    reading = f"Means over seeds, of the means over tokens, at step {at} of DTVG's training."
    figure = frame(title, f"{setting} {reading}", 0.9 + 0.19 * len(targets))
    panels = [figure.add_subplot(1, len(_KINDS), place + 1) for place in range(len(_KINDS))]
    for axes, (kind, name) in zip(panels, _KINDS.items(), strict=True):
        axes.set_title(name)
        image = _heat_map(axes, kind, values, targets, sources)
    panels[1].set_yticklabels([])
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label("cosine")
    alt = f"{title}: {_in_words(values)}."
    yield Drawing(f"similarity-{section.number}", title, setting, alt, figure)


def _one_per_seed(rows: Rows) -> list[Record]:
    """A record with cosines per task and seed: variants of DTVG all start from the same prompts."""
    found: dict[tuple[str, int], Record] = {}
    for records in rows.values():
        for record in records:
            if cosines(record) is not None:
                found.setdefault((record.cell.task, record.cell.seed), record)
    return list(found.values())


def _heat_map(
    axes: Axes, kind: str, values: Values, targets: list[str], sources: list[str]
) -> AxesImage:
    means: Any = np.full((len(targets), len(sources)), np.nan)
    for line, target in enumerate(targets):
        for column, source in enumerate(sources):
            if known := values.get((kind, target, source)):
                means[line, column] = mean = statistics.fmean(known)
                colour = "white" if abs(mean) > _DARK else "black"
                axes.text(
                    column,
                    line,
                    f"{round(mean, 2) + 0.0:.2f}",
                    ha="center",
                    va="center",
                    size=6,
                    color=colour,
                )
    image = axes.imshow(means, aspect="auto", cmap=DIVERGING, vmin=-1, vmax=1)
    axes.set_facecolor("#cccccc")  # Of cells without a value.
    axes.grid(False)
    axes.set_xticks(range(len(sources)), sources, rotation=30, ha="right")
    axes.set_yticks(range(len(targets)), targets)
    return image


def _in_words(values: Values) -> str:
    parts = []
    for kind, name in _KINDS.items():
        means = [statistics.fmean(known) for (of, _, _), known in values.items() if of == kind]
        if means:
            parts.append(f"of {name} between {min(means):.2f} and {max(means):.2f}")
    return ", ".join(parts)
