"""Registry of tasks and suites; for scores see :mod:`bench.tasks.metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.errors import lookup
from bench.files import read_yaml
from bench.plugins import Plugin, discover
from bench.tasks.base import Row as Row
from bench.tasks.base import Task as Task
from bench.tasks.base import TextPair as TextPair
from bench.tasks.declared import declare

TASKS: tuple[Task, ...] = tuple(
    declare(name, keys) for name, keys in read_yaml(Path(__file__).parent / "tasks.yaml").items()
)
"""Built-in tasks, suite by suite."""

_BY_NAME = {task.name: task for task in TASKS}

SUITES: Mapping[str, tuple[str, ...]] = {
    **{
        suite: tuple(task.name for task in TASKS if suite in task.suites)
        for suite in ("glue", "superglue", "mrqa", "others", "nlg")
    },
    # Methods depend on the order of the source tasks.
    "sources": ("mnli", "qnli", "qqp", "sst2", "squad", "record"),
    "paper": tuple(_BY_NAME),
}
"""Built-in tasks by suite; ``sources`` are the source tasks of the transfer methods, in order."""

SOURCE_ONLY = frozenset(task.name for task in TASKS if task.source_only)
"""Tasks that the papers never use as a target; averages over a suite leave them out."""


def list_tasks() -> list[Task]:
    """All tasks: the built-in ones, then those of plugins."""
    return [get_task(name) for name in _entries()]


def list_suites() -> dict[str, tuple[str, ...]]:
    """Task names by suite; plugins extend suites or add their own."""
    suites = dict(SUITES)
    for task in list_tasks()[len(TASKS) :]:
        for suite in task.suites:
            suites[suite] = (*suites.get(suite, ()), task.name)
    return suites


def get_suite(name: str) -> tuple[str, ...]:
    """Names of a suite's tasks; UnknownNameError if there is no such suite."""
    return lookup("suite", name, list_suites())


def get_task(name: str) -> Task:
    """Task by name; UnknownNameError if there is none."""
    entry = lookup("task", name, _entries())
    if isinstance(entry, Task):
        return entry
    task = entry.load()
    if not isinstance(task, Task):
        raise entry.fault(f"is a {type(task).__name__}, not a bench.tasks.Task; give a task")
    if task.name != name:
        raise entry.fault(f"has a Task named {task.name!r}; use one name in both places")
    return task


def task_plugin(name: str) -> Plugin | None:
    """Plugin of a task, or None if the task is built in."""
    return discover("task", _BY_NAME).get(name)


def _entries() -> dict[str, Task | Plugin]:
    """All tasks by name; those of plugins are not loaded."""
    return {**_BY_NAME, **discover("task", _BY_NAME)}
