"""Small panels side by side."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
        panel.locator_params(axis="x", nbins=4)
        panel.locator_params(axis="y", nbins=5)
    return axes


__all__ = ["COLUMNS", "panel_grid", "panel_rows"]
