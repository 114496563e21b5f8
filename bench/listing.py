"""What ``bench list`` shows; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.plugins import Plugin
from bench.registry import methods as all_methods
from bench.tasks import list_suites, list_tasks, task_plugin

Rows = list[dict[str, Any]]


def tasks() -> Rows:
    """All tasks with hub id, pinned revision, metrics, expected rows and suites."""
    suites = list_suites()
    return [
        {
            "task": task.name,
            "hub": " ".join(filter(None, (task.hub.path, task.hub.config))),
            "revision": task.hub.revision,
            "metrics": list(task.metrics),
            "split": task.split_rule,
            "input_length": task.input_length,
            "rows": [f"{split} {count}" for split, count in task.hub.rows.items()],
            "suites": [suite for suite, names in suites.items() if task.name in names],
            **_origin(task_plugin(task.name)),
        }
        for task in list_tasks()
    ]


def suites() -> Rows:
    """All suites with their tasks."""
    return [{"suite": name, "tasks": list(names)} for name, names in list_suites().items()]


def methods() -> Rows:
    """All methods."""
    return [
        {"method": name, "title": entry.title, **_origin(entry.plugin)}
        for name, entry in all_methods().items()
    ]


def models() -> Rows:
    """The bundled models; any T5 or causal language model by folder or hub id works too."""
    from bench.models.catalog import BUNDLED

    return [
        {"model": name, "architecture": model.architecture, "note": model.note}
        for name, model in BUNDLED.items()
    ]


def _origin(plugin: Plugin | None) -> dict[str, str]:
    """Where a plugin comes from; nothing for what is built in."""
    return {} if plugin is None else {"plugin": plugin.origin}


LISTINGS: Mapping[str, Callable[[], Rows]] = {
    "tasks": tasks,
    "suites": suites,
    "methods": methods,
    "models": models,
}
