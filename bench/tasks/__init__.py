"""What is measured: the tasks, their suites and, in :mod:`bench.tasks.metrics`, their scores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.errors import UnknownNameError
from bench.tasks.catalog import TASKS
from bench.tasks.task import (
    PARQUET_BRANCH,
    HubSource,
    Row,
    SplitRule,
    Task,
    TextPair,
)

_BY_NAME: Mapping[str, Task] = MappingProxyType({task.name: task for task in TASKS})


def _members(suite: str) -> tuple[str, ...]:
    return tuple(task.name for task in TASKS if suite in task.suites)


SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{suite: _members(suite) for suite in ("glue", "superglue", "mrqa", "others", "nlg")},
        # The order of the sources is part of the methods: the first one is a starting point.
        "sources": ("mnli", "qnli", "qqp", "sst2", "squad", "record"),
        "paper": tuple(_BY_NAME),
    }
)
"""Task names by suite; ``sources`` are the source tasks of the transfer methods, in order."""


def list_tasks() -> list[Task]:
    """All tasks, suite by suite."""
    return list(TASKS)


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownNameError: there is none; the nearest names are offered.
    """
    if name not in _BY_NAME:
        raise UnknownNameError("task", name, _BY_NAME)
    return _BY_NAME[name]


def get_suite(name: str) -> tuple[str, ...]:
    """The names of the tasks of a suite.

    Raises:
        UnknownNameError: there is no such suite; the nearest names are offered.
    """
    if name not in SUITES:
        raise UnknownNameError("suite", name, SUITES)
    return SUITES[name]


__all__ = [
    "PARQUET_BRANCH",
    "SUITES",
    "HubSource",
    "Row",
    "SplitRule",
    "Task",
    "TextPair",
    "get_suite",
    "get_task",
    "list_tasks",
]
