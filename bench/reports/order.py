"""What stands first: the same in all tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.tasks import TASKS

DECIMALS = 1
"""Digits after the point that tables show; means that agree in them are equally good."""


def tasks_in_order(names: Iterable[str]) -> list[str]:
    """Tasks, each once, in the order of the suites; others, also those of plugins, by name."""
    place = {task.name: index for index, task in enumerate(TASKS)}
    return sorted(set(names), key=lambda name: (place.get(name, len(place)), name))


def highest(values: Iterable[float | None]) -> float:
    """The highest of the values that are there; NaN, which nothing reaches, if none is."""
    return max((value for value in values if value is not None), default=math.nan)


def reaches(value: float | None, top: float) -> bool:
    """Whether a value shows as the same figure as the highest."""
    return value is not None and round(value, DECIMALS) == round(top, DECIMALS)


__all__ = ["DECIMALS", "highest", "reaches", "tasks_in_order"]
