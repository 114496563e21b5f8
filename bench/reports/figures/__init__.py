"""Figures of result records, for print and for pages."""

from __future__ import annotations

from bench.reports.figures.drawing import Drawing, MissingDataError
from bench.reports.figures.files import FILE_FORMATS, FileFormat, save_drawing, small_png
from bench.reports.figures.registry import draw_figure, figure_names

__all__ = [
    "FILE_FORMATS",
    "Drawing",
    "FileFormat",
    "MissingDataError",
    "draw_figure",
    "figure_names",
    "save_drawing",
    "small_png",
]
