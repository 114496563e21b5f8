"""What is measured: the tasks, their suites and, in :mod:`bench.tasks.metrics`, their scores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.errors import UnknownNameError
from bench.plugins import Plugin
from bench.tasks.catalog import TASKS
from bench.tasks.external import external_tasks, load_task, task_plugins
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
"""Built-in tasks by suite; ``sources`` are the source tasks of the transfer methods, in order."""


def list_tasks() -> list[Task]:
    """All tasks, suite by suite; those of plugins follow.

    Raises:
        PluginError: a plugin cannot be used.
    """
    return [*TASKS, *external_tasks()]


def list_suites() -> dict[str, tuple[str, ...]]:
    """Task names by suite; tasks of plugins follow the built-in ones, or make suites of their own.

    Raises:
        PluginError: a plugin cannot be used.
    """
    suites = dict(SUITES)
    for task in external_tasks():
        for suite in task.suites:
            suites[suite] = (*suites.get(suite, ()), task.name)
    return suites


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownNameError: there is none; the nearest names are offered.
        PluginError: the plugin that has it cannot be used.
    """
    plugins = task_plugins()
    if name in plugins:
        return load_task(plugins[name])
    if name not in _BY_NAME:
        raise UnknownNameError("task", name, task_names())
    return _BY_NAME[name]


def task_names() -> list[str]:
    """The names of all tasks; loads no plugin."""
    return [*_BY_NAME, *task_plugins()]


def task_plugin(name: str) -> Plugin | None:
    """The plugin that a task comes from; None if it is built in."""
    return task_plugins().get(name)


def get_suite(name: str) -> tuple[str, ...]:
    """The names of the tasks of a suite.

    Raises:
        UnknownNameError: there is no such suite; the nearest names are offered.
        PluginError: a plugin cannot be used.
    """
    suites = list_suites()
    if name not in suites:
        raise UnknownNameError("suite", name, suites)
    return suites[name]


__all__ = [
    "PARQUET_BRANCH",
    "SUITES",
    "TASKS",
    "HubSource",
    "Row",
    "SplitRule",
    "Task",
    "TextPair",
    "get_suite",
    "get_task",
    "list_suites",
    "list_tasks",
    "task_names",
    "task_plugin",
]
