"""Layouts of tables (``layouts.yaml``) and display names (``names.yaml``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.files import read_yaml

DASH = "\N{EN DASH}"
"""Text of a missing value."""


@dataclass(frozen=True)
class Layout:
    """Layout of a table: its rows, columns and comparisons."""

    title: str = ""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # Tasks by group heading.
    average: bool = True  # A column with the mean over each group.
    details: bool = True  # A column per task.
    ranks: bool = False  # Mean rank, and wins, ties and losses against the reference.
    by_shots: bool = False  # A column per task and number of shots, without the full data.
    metrics: Sequence[str] = ()  # A column per task and metric; empty: the task's table metric.
    parameters: bool = False  # The share of trainable parameters.
    transfer: bool = False  # Differences to the reference instead of scores.
    methods: Sequence[str] = ()  # Methods to show; empty: all.
    labels: Sequence[str] = ()  # Rows to put first.
    reference: str = "pt"  # Label of the row that others are compared with.


NAMES: Mapping[str, str] = read_yaml(Path(__file__).with_name("names.yaml"))
"""Display names of methods, tasks and metrics; other names are shown unchanged."""


def display(name: str) -> str:
    """Display name of a method, a row with its settings, a task or a metric."""
    if name in NAMES:
        return NAMES[name]
    return re.sub(r"^\w+(?=[:, ])", lambda word: NAMES.get(word[0], word[0]), name)


LAYOUTS: Mapping[str, Layout] = {
    name: Layout(**values)
    for name, values in read_yaml(Path(__file__).with_name("layouts.yaml")).items()
}
