"""The numbers that papers published, each with its paper and how we come to know it.

They lie in ``results/published/published.csv`` and are part of the package. They are shown beside
our numbers and never mixed with them.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import math
from dataclasses import dataclass

from bench.errors import RecordError

AVERAGE = "average"
"""Stands for a task where the value is a paper's own mean over the tasks of a suite."""

_TEXTS = ("paper", "table", "method", "suite", "task", "metric", "provenance")


@dataclass(frozen=True)
class PublishedScore:
    """One number of a paper; all are of T5-base on the full training data.

    Attributes:
        paper: with the model in brackets.
        table: its number in the paper.
        method: as the project names it.
        suite: of the task.
        task: as the project names it, or :data:`AVERAGE`.
        metric: of the value; ``mean`` for averages.
        provenance: how we come to know it, and what speaks for it.
        value: percent.
    """

    paper: str
    table: str
    method: str
    suite: str
    task: str
    metric: str
    provenance: str
    value: float


@functools.cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published numbers, in the order of the file.

    Raises:
        RecordError: the file of the package is missing or damaged.
    """
    file = importlib.resources.files("bench.reports.paper") / "published.csv"
    try:
        lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        scores = tuple(
            PublishedScore(**{name: line[name] for name in _TEXTS}, value=_value(line))
            for line in lines
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"cannot read the published numbers in {file} ({error!r}): install the package again"
        ) from error
    if not scores:
        raise RecordError(f"no published numbers in {file}: install the package again")
    return scores


def _value(line: dict[str, str]) -> float:
    value = float(line["value"])
    if not math.isfinite(value):
        raise ValueError(f"value {value}")
    return value


__all__ = ["AVERAGE", "PublishedScore", "published_scores"]
