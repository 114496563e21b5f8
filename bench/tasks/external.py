"""Tasks from plugins: found by name, loaded and checked when they are used."""

from __future__ import annotations

import re
from collections.abc import Collection

from bench.plugins import Plugin, discover
from bench.tasks.catalog import TASKS
from bench.tasks.catalog.common import RULE_SPLITS
from bench.tasks.metrics.definitions import METRICS
from bench.tasks.task import PARQUET_BRANCH, Task

RESERVED = ("sources", "paper")
"""Suites that stay as the papers have them; no task has their name."""

COMMIT = re.compile("[0-9a-f]{40}")

_BUILTIN = frozenset(task.name for task in TASKS)


def task_plugins() -> dict[str, Plugin]:
    """The plugins that are tasks, by name; loads none.

    Raises:
        PluginError: a name is taken.
    """
    return discover("task", _BUILTIN)


def external_tasks() -> list[Task]:
    """All tasks of plugins.

    Raises:
        PluginError: one of them cannot be loaded, or is no complete task.
    """
    return [load_task(plugin) for plugin in task_plugins().values()]


def load_task(plugin: Plugin) -> Task:
    """The task of a plugin.

    Raises:
        PluginError: it cannot be loaded, or is no complete task.
    """
    task = plugin.load()
    if not isinstance(task, Task):
        raise plugin.fault(f"is a {type(task).__name__}, not a bench.tasks.Task; give a task")
    for fault in _faults(task, plugin.name):
        raise plugin.fault(fault)
    return task


def _faults(task: Task, name: str) -> Collection[str]:
    """What is wrong with a declaration, before any row is read."""
    faults = []
    if task.name != name:
        faults.append(f"calls itself {task.name!r}; use one name in both places")
    scorers = task.scorers or task.metrics
    unknown = [scorer for scorer in scorers if scorer not in METRICS]
    if unknown or not scorers:
        known = ", ".join(METRICS)
        faults.append(f"unknown metric {', '.join(unknown) or '(none given)'}; choose from {known}")
    else:
        computed = {output for scorer in scorers for output in METRICS[scorer].outputs}
        if not task.metrics or not computed.issuperset(task.metrics):
            faults.append(
                f"its scorers compute {', '.join(sorted(computed))}; name those as metrics"
            )
    if task.split_rule not in RULE_SPLITS:
        faults.append(
            f"unknown split rule {task.split_rule!r}; choose from {', '.join(RULE_SPLITS)}"
        )
    if not task.hub.columns:
        faults.append("its hub source names no columns; name those that it reads")
    revision = task.hub.revision
    if revision != PARQUET_BRANCH and not COMMIT.fullmatch(revision):
        faults.append(
            f"its hub revision {revision!r} may come to mean other rows; pin a commit (40 "
            f"hexadecimal digits), or {PARQUET_BRANCH}"
        )
    if name in RESERVED:
        faults.append("its name is that of a suite; rename it")
    for suite in RESERVED:
        if suite in task.suites:
            faults.append(f"suite {suite!r} is fixed; name another suite")
    return faults


__all__ = ["external_tasks", "load_task", "task_plugins"]
