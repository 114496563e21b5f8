"""Tables of any shape, and how they are written in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bench.reports.sheets import latex, machine, markdown
from bench.reports.sheets.types import Entry, Head, Line, Scalar, Sheet

Format = Literal["markdown", "latex", "csv", "json"]

_RENDERERS: Mapping[Format, Callable[[Sequence[Sheet]], str]] = {
    "markdown": markdown.render,
    "latex": latex.render,
    "csv": machine.render_csv,
    "json": machine.render_json,
}

FORMATS: tuple[Format, ...] = tuple(_RENDERERS)


def render_sheets(sheets: Sequence[Sheet], format: Format = "markdown") -> str:
    """Sheets as text that ends with a newline; equal sheets give equal text."""
    return _RENDERERS[format](sheets)


__all__ = ["FORMATS", "Entry", "Format", "Head", "Line", "Scalar", "Sheet", "render_sheets"]
