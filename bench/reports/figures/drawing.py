"""A picture with what must be said about it, and the frame around every picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from bench.errors import RecordError
from bench.reports.figures.style import LineStyle
from bench.reports.sections import Section

WIDTH = 7.2
"""Inches: the text width of an A4 or letter page, so that font sizes are those in print."""

TITLE_SIZE = 11
LEGEND_SIZE = 8
FOOTER_SIZE = 7

_LINE = 1.35  # Of a font's size.
_INCH = 72  # Points.


class MissingDataError(RecordError):
    """A figure has nothing to show; says what is missing and what to run."""


@dataclass(frozen=True)
class Drawing:
    """One picture.

    Attributes:
        name: of its file, without suffix.
        title: what it shows.
        setting: model, data, shots and seeds behind it.
        alt: what can be seen, for those who cannot see it.
        figure: the picture.
    """

    name: str
    title: str
    setting: str
    alt: str
    figure: Figure


def frame(
    title: str, footer: str, height: float, styles: Mapping[str, LineStyle] | None = None
) -> Figure:
    """An empty figure with title, legend and footer; what is drawn into it goes in between.

    Args:
        title: one line.
        footer: is wrapped.
        height: of what lies between, in inches.
        styles: what the legend explains; None: no legend.
    """
    # Pixels round the letters of small pictures up by some hundredths.
    lines = _wrapped(footer, FOOTER_SIZE, 0.93 * WIDTH * _INCH)
    columns = _legend_columns(styles or {})
    legend = LEGEND_SIZE * 1.9 / _INCH * math.ceil(len(styles) / columns) if styles else 0.0
    above = TITLE_SIZE * 1.9 / _INCH + legend
    below = FOOTER_SIZE * _LINE * (len(lines) + 1) / _INCH
    total = height + above + below
    layout = ConstrainedLayoutEngine(rect=(0, below / total, 1, height / total))
    figure = Figure(figsize=(WIDTH, total), layout=layout)
    edge = 0.06 / WIDTH
    figure.text(edge, 1 - 0.05 / total, title, size=TITLE_SIZE, weight="bold", va="top")
    if styles:
        _legend(figure, styles, columns, (0, 1 - (above - legend) / total))
    figure.text(
        edge, 0.04 / total, "\n".join(lines), size=FOOTER_SIZE, va="bottom", linespacing=_LINE
    )
    return figure


def _legend(
    figure: Figure, styles: Mapping[str, LineStyle], columns: int, place: tuple[float, float]
) -> None:
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle=style.linestyle)
        for style in styles.values()
    ]
    # matplotlib hides names that start with an underscore; a space before them shows them.
    labels = [f" {label}" if label.startswith("_") else label for label in styles]
    legend = figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=place, ncols=columns,
        handlelength=3, fontsize=LEGEND_SIZE, borderaxespad=0,
    )  # fmt: skip
    legend.set_in_layout(False)


def _legend_columns(styles: Mapping[str, LineStyle]) -> int:
    """As many as the longest label allows, with its line of three letters' width and a gap."""
    widest = max((_width(label, LEGEND_SIZE) for label in styles), default=0.0)
    return max(1, min(len(styles), int(WIDTH * _INCH // (widest + 6 * LEGEND_SIZE))))


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """Text as lines that are no wider than ``width``, in points."""
    characters = len(text)
    lines = [text]
    while characters > 1 and any(_width(line, size) > width for line in lines):
        characters = min(characters - 1, int(0.97 * characters))
        lines = textwrap.wrap(text, characters)
    return lines


def _width(text: str, size: float) -> float:
    """In points."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width)


def setting_line(
    section: Section, seeds: tuple[int, ...], shots: tuple[int | None, ...] | None = None
) -> str:
    """Model, data, shots and seeds in short; says of bundled ones that they give no results.

    Args:
        section: that is shown.
        seeds: that occur.
        shots: that occur; None: those of the section's setting.
    """
    setting = section.setting
    toy = " (bundled with the package: its scores are no results)" if setting.model.bundled else ""
    data = {"bundled": "bundled samples (generated)", "hub": "Hugging Face hub"}.get(
        setting.data_kind, f"local folder {setting.data_name}"
    )
    numbers = [str(n or "full data") for n in (shots or (setting.shots,))]
    line = (
        f"Model: {setting.model.name}{toy}. Data: {data}. Shots: {', '.join(numbers)}. "
        f"{'Seed' if len(seeds) == 1 else 'Seeds'}: {', '.join(map(str, seeds))}. "
        f"Preset: {setting.preset}."
    )
    if section.differences:
        line += f" Unlike the other pictures: {'; '.join(section.differences)}."
    return line


__all__ = ["WIDTH", "Drawing", "MissingDataError", "frame", "setting_line"]
