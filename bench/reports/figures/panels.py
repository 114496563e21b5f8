"""Small panels side by side."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLUMNS = 5
"""Panels next to each other at most."""


def panel_rows(number: int) -> int:
    """Into how many lines so many panels are laid out."""
    return math.ceil(number / COLUMNS)


def panel_grid(figure: Figure, number: int, x_label: str, y_label: str) -> list[Axes]:
    """Panels from left to right and top to bottom; outer ones alone carry the labels."""
    columns = min(number, COLUMNS)
    axes = [figure.add_subplot(panel_rows(number), columns, place + 1) for place in range(number)]
    for place, panel in enumerate(axes):
        if place % columns == 0:
            panel.set_ylabel(y_label)
        if place + columns >= number:
            panel.set_xlabel(x_label)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return axes


def widen(panel: Axes, least: float = 1.0) -> None:
    """Let the y axis span at least so much: equal scores look equal, not like noise."""
    low, high = panel.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        panel.set_ylim(middle - least / 2, middle + least / 2)


__all__ = ["COLUMNS", "panel_grid", "panel_rows", "widen"]
