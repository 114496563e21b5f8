"""What stands first: the same in all tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from bench.tasks import TASKS

DECIMALS = 1
"""Digits after the point that tables show; means that agree in them are equally good."""


def tasks_in_order(names: Iterable[str]) -> list[str]:
    """Tasks, each once, in the order of the suites; others, also those of plugins, by name."""
    place = {task.name: index for index, task in enumerate(TASKS)}
    return sorted(set(names), key=lambda name: (place.get(name, len(place)), name))


def row_key(method_order: Sequence[str]) -> Callable[[str, str], tuple[int, str, str]]:
    """Sorts rows by method, in the order given and others by name, then by label.

    Args:
        method_order: names of methods.

    Returns:
        From method and label to a key.
    """
    place = {name: index for index, name in enumerate(method_order)}
    return lambda method, label: (place.get(method, len(place)), method, label)


def highest(values: Iterable[float | None]) -> float:
    """The highest of the values that are there; NaN, which nothing reaches, if none is."""
    return max((value for value in values if value is not None), default=math.nan)


def reaches(value: float | None, top: float) -> bool:
    """Whether a value shows as the same figure as the highest."""
    return value is not None and round(value, DECIMALS) == round(top, DECIMALS)


__all__ = ["DECIMALS", "highest", "reaches", "row_key", "tasks_in_order"]
