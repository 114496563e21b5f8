"""Registry of tasks and suites; for scores see :mod:`bench.tasks.metrics`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.errors import UnknownNameError
from bench.plugins import Plugin, discover
from bench.tasks import glue, mrqa, nlg, others, superglue
from bench.tasks.base import PARQUET_BRANCH as PARQUET_BRANCH
from bench.tasks.base import RULE_SPLITS
from bench.tasks.base import HubSource as HubSource
from bench.tasks.base import Row as Row
from bench.tasks.base import Task as Task
from bench.tasks.base import TextPair as TextPair
from bench.tasks.metrics import METRICS

TASKS: tuple[Task, ...] = glue.TASKS + superglue.TASKS + mrqa.TASKS + others.TASKS + nlg.TASKS
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
    return [get_task(name) for name in task_names()]


def list_suites() -> dict[str, tuple[str, ...]]:
    """Task names by suite; plugins extend suites or add their own."""
    suites = dict(SUITES)
    for task in list_tasks()[len(TASKS) :]:
        for suite in task.suites:
            suites[suite] = (*suites.get(suite, ()), task.name)
    return suites


def get_suite(name: str) -> tuple[str, ...]:
    """Names of a suite's tasks; UnknownNameError if there is no such suite."""
    if name not in (suites := list_suites()):
        raise UnknownNameError("suite", name, suites)
    return suites[name]


def get_task(name: str) -> Task:
    """Task by name; UnknownNameError if there is none."""
    if plugin := task_plugin(name):
        return _load(plugin)
    if name not in _BY_NAME:
        raise UnknownNameError("task", name, task_names())
    return _BY_NAME[name]


def task_names() -> list[str]:
    """Names of all tasks; loads no plugin."""
    return [*_BY_NAME, *discover("task", _BY_NAME)]


def task_plugin(name: str) -> Plugin | None:
    """Plugin of a task, or None if the task is built in."""
    return discover("task", _BY_NAME).get(name)


def _load(plugin: Plugin) -> Task:
    """Load the task of a plugin and check its declaration."""
    task = plugin.load()
    if not isinstance(task, Task):
        raise plugin.fault(f"is a {type(task).__name__}, not a bench.tasks.Task; give a task")
    unknown = ", ".join(name for name in task.scorers if name not in METRICS)
    scores = [score for name in task.scorers if name in METRICS for score in METRICS[name].outputs]
    foreign = ", ".join(name for name in task.selection_metrics if name not in task.metrics)
    hub = task.hub
    pinned = hub.files or re.fullmatch(f"[0-9a-f]{{40}}|{PARQUET_BRANCH}", hub.revision)
    checks = (
        (task.name == "sources", "that name means all source tasks together; rename it"),
        (task.name != plugin.name, f"calls itself {task.name!r}; use one name in both places"),
        (unknown, f"unknown metric {unknown}; choose from {', '.join(METRICS)}"),
        (not task.metrics, f"has no metrics; choose from {', '.join(scores or METRICS)}"),
        ({*task.metrics} - {*scores}, f"its scorers compute {', '.join(scores)}; name only those"),
        (foreign, f"selects by {foreign}, which is none of its metrics {', '.join(task.metrics)}"),
        (task.split_rule not in RULE_SPLITS, f"split rule: choose from {', '.join(RULE_SPLITS)}"),
        (not pinned, f"its hub revision may change; pin a 40-digit commit, or {PARQUET_BRANCH}"),
        ({"sources", "paper"} & {*task.suites}, "suites sources and paper are fixed; name another"),
    )
    for failed, reason in checks:
        if failed:
            raise plugin.fault(reason)
    return task
