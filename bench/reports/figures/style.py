"""One look for all figures, whatever the reader's own matplotlib settings are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style

Dashes = tuple[float, tuple[float, ...]]
"""Offset, then lengths of dashes and gaps in turns."""

_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7")
"""Okabe and Ito (2008), told apart with all kinds of colour blindness; without their yellow, which
is too pale on paper."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LINES: tuple[Dashes, ...] = (
    (0, ()),
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (7, 2)),
)

SEQUENTIAL = "Blues"
"""Colour map for amounts: of one hue, so that lightness alone tells them, white for nothing."""

DIVERGING = "PuOr_r"
"""Colour map for amounts around zero."""

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # Comes with matplotlib: the same on every machine.
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "text.parse_math": False,  # A name with a dollar sign is no formula.
    "axes.formatter.use_mathtext": False,
    "pdf.fonttype": 42,  # Text that can be searched and edited.
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class LineStyle:
    """How one row of a table looks in all figures: colour, marker and dashes all differ."""

    color: str
    marker: str
    linestyle: Dashes


@contextmanager
def house_style() -> Iterator[None]:
    """The look of all figures; both drawing and saving need it."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


def line_styles(labels: Mapping[str, str], method_order: Sequence[str]) -> dict[str, LineStyle]:
    """A look for each row of a table.

    The first row of a method has the same look in every figure, whatever else is in it; other rows
    take the looks that are left.

    Args:
        labels: method by row label.
        method_order: all methods that have a look of their own.
    """
    places: dict[str, int] = {}
    for place, method in enumerate(method_order):
        label = next((label for label, own in labels.items() if own == method), None)
        if label is not None:
            places[label] = place
    free = itertools.count(len(method_order))
    return {label: _look(places[label] if label in places else next(free)) for label in labels}


def _look(place: int) -> LineStyle:
    return LineStyle(
        _COLOURS[place % len(_COLOURS)],
        _MARKERS[place % len(_MARKERS)],
        _LINES[place % len(_LINES)],
    )


__all__ = ["DIVERGING", "SEQUENTIAL", "LineStyle", "house_style", "line_styles"]
