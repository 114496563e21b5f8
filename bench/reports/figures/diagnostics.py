"""What methods tell of themselves, read with care: its form is the method's own affair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.records import Record


def groups(record: Record) -> dict[int, frozenset[str]]:
    """The sources in the group by training step; empty if the method tells of none."""
    found: dict[int, frozenset[str]] = {}
    for point in _history(record):
        step, group = point.get("step"), point.get("group")
        if isinstance(step, int) and isinstance(group, list):
            found[step] = frozenset(map(str, group))
    return found


def cosines(record: Record) -> tuple[int, dict[str, dict[str, float]]] | None:
    """Cosines of the target with each source, and the training step they were taken at.

    The first step that is told: 0, before the method changed the target's own prompt.

    Returns:
        By what was compared (``prompts``, ``task_vectors``), then by source; None if the method
        tells of none.
    """
    for point in _history(record):
        step, told = point.get("step"), point.get("cosines")
        if isinstance(step, int) and isinstance(told, Mapping):
            return step, {
                str(kind): {
                    str(source): float(value)
                    for source, value in by_source.items()
                    if isinstance(value, (int, float))
                }
                for kind, by_source in told.items()
                if isinstance(by_source, Mapping)
            }
    return None


def _history(record: Record) -> list[Mapping[str, Any]]:
    history = record.diagnostics.get("history")
    points = history if isinstance(history, list) else []
    return [point for point in points if isinstance(point, Mapping)]


__all__ = ["cosines", "groups"]
