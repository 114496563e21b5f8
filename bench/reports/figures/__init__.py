"""Figures of result records, for print and for pages."""

from __future__ import annotations

from bench.reports.figures.drawing import Drawing, MissingDataError
from bench.reports.figures.files import FILE_FORMATS, FileFormat, save_drawing, small_png
from bench.reports.figures.registry import Figures, draw_figure, draw_figures, figure_names

__all__ = [
    "FILE_FORMATS",
    "Drawing",
    "Figures",
    "FileFormat",
    "MissingDataError",
    "draw_figure",
    "draw_figures",
    "figure_names",
    "save_drawing",
    "small_png",
]
