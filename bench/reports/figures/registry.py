"""The figures by name: every module of :mod:`bench.reports.figures.catalog` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UnknownNameError
from bench.reports.figures import catalog
from bench.reports.figures.drawing import Drawing, MissingDataError
from bench.reports.figures.style import house_style
from bench.reports.results import Results


@dataclass(frozen=True)
class Figures:
    """What can be drawn of some results.

    Attributes:
        drawings: in the order of the figures' names.
        absent: what is missing for the other figures, by name.
    """

    drawings: tuple[Drawing, ...]
    absent: Mapping[str, MissingDataError]


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
        for drawing in drawings:  # Laid out once: a figure looks the same in every file.
            drawing.figure.draw_without_rendering()
            drawing.figure.set_layout_engine("none")
    return drawings


def draw_figures(
    results: Results, method_order: Sequence[str] = (), names: Sequence[str] | None = None
) -> Figures:
    """Several figures, as far as the records suffice for them.

    Args:
        results: the records.
        method_order: as :func:`draw_figure`.
        names: of the figures; None: all.

    Raises:
        UnknownNameError: there is no such figure.
        RecordError: there is no record.
    """
    drawings: list[Drawing] = []
    absent: dict[str, MissingDataError] = {}
    for name in figure_names() if names is None else names:
        try:
            drawings += draw_figure(name, results, method_order)
        except MissingDataError as error:
            absent[name] = error
    return Figures(tuple(drawings), absent)


__all__ = ["Figures", "draw_figure", "draw_figures", "figure_names"]
