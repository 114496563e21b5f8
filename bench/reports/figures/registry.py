"""The figures by name: every module of :mod:`bench.reports.figures.catalog` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from bench.errors import UnknownNameError
from bench.reports.figures import catalog
from bench.reports.figures.drawing import Drawing
from bench.reports.figures.style import house_style
from bench.reports.results import Results


def figure_names() -> tuple[str, ...]:
    """All figures by name; imports none."""
    found = pkgutil.iter_modules(catalog.__path__)
    return tuple(sorted(module.name.replace("_", "-") for module in found))


def draw_figure(name: str, results: Results, method_order: Sequence[str] = ()) -> list[Drawing]:
    """All pictures of one figure.

    Args:
        name: of the figure.
        results: the records.
        method_order: names of methods in the order of legends; others follow by name.

    Raises:
        UnknownNameError: there is no such figure.
        RecordError: there is no record.
        MissingDataError: the records hold nothing that the figure shows.
    """
    if name not in figure_names():
        raise UnknownNameError("figure", name, figure_names())
    module = importlib.import_module(f"{catalog.__name__}.{name.replace('-', '_')}")
    with house_style():
        drawings: list[Drawing] = module.draw(results, method_order)
    return drawings


__all__ = ["draw_figure", "figure_names"]
