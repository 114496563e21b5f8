"""One look for all figures, whatever the reader's own matplotlib settings are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def line_styles(labels: Sequence[str]) -> dict[str, LineStyle]:
    """A look for each label, by place."""
    return {
        label: LineStyle(
            _COLOURS[place % len(_COLOURS)],
            _MARKERS[place % len(_MARKERS)],
            _LINES[place % len(_LINES)],
        )
        for place, label in enumerate(labels)
    }


__all__ = ["DIVERGING", "SEQUENTIAL", "LineStyle", "house_style", "line_styles"]
