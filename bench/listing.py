"""What ``bench list`` shows; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.registry import METHODS
from bench.tasks import SUITES, list_tasks

Rows = list[dict[str, Any]]


def tasks() -> Rows:
    """All tasks with hub id, pinned revision, metrics, expected rows and suites."""
    return [
        {
            "task": task.name,
            "hub": " ".join(filter(None, (task.hub.path, task.hub.config))),
            "revision": task.hub.revision,
            "metrics": list(task.metrics),
            "split": task.split_rule,
            "input_length": task.input_length,
            "rows": [f"{split} {count}" for split, count in task.hub.rows.items()],
            "suites": [suite for suite, names in SUITES.items() if task.name in names],
        }
        for task in list_tasks()
    ]


def suites() -> Rows:
    """All suites with their tasks."""
    return [{"suite": name, "tasks": list(names)} for name, names in SUITES.items()]


def methods() -> Rows:
    """All methods."""
    return [{"method": name, "title": entry.title} for name, entry in METHODS.items()]


def models() -> Rows:
    """The bundled models; any T5 by folder or hub id works too."""
    from bench.models.catalog import BUNDLED

    return [
        {"model": name, "architecture": model.architecture, "note": model.note}
        for name, model in BUNDLED.items()
    ]


LISTINGS: Mapping[str, Callable[[], Rows]] = {
    "tasks": tasks,
    "suites": suites,
    "methods": methods,
    "models": models,
}
