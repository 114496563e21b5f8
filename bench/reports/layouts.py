"""The tables of the papers (``layouts.yaml``) and the names they show (``names.csv``)."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.errors import UnknownNameError

DASH = "\N{EN DASH}"
"""Stands for a value that is missing."""


@dataclass(frozen=True)
class Layout:
    """One kind of table.

    Attributes:
        groups: tasks by the head above them; a group without any record is left out.
        average, details: whether the mean over a group, and its tasks, are shown.
        ranks: whether mean rank, and wins, ties and losses against the reference, are shown.
        by_shots: a column per task and number of shots, without the full data.
        metrics: a column per task and metric; empty: the task's table metric.
        parameters: whether the share of trainable parameters is shown.
        transfer: differences to the reference instead of scores.
        methods: whose rows are shown; empty: all.
        labels: of rows that stand first.
        reference: label of the row that others are compared with.
    """

    title: str = ""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    average: bool = True
    details: bool = True
    ranks: bool = False
    by_shots: bool = False
    metrics: Sequence[str] = ()
    parameters: bool = False
    transfer: bool = False
    methods: Sequence[str] = ()
    labels: Sequence[str] = ()
    reference: str = "pt"


with Path(__file__).with_name("names.csv").open(encoding="utf-8") as _file:
    NAMES: Mapping[str, str] = dict(csv.reader(_file))
"""Names of methods, tasks and metrics in tables and figures; others are shown as they are."""


def display(name: str) -> str:
    """The name that people read, of a method, a row with its settings, a task or a metric."""
    if name in NAMES:
        return NAMES[name]
    return re.sub(r"^\w+(?=[:, ])", lambda found: NAMES.get(found[0], found[0]), name)


LAYOUTS: Mapping[str, Layout] = {
    name: Layout(**values)
    for name, values in yaml.safe_load(Path(__file__).with_name("layouts.yaml").read_text()).items()
}
"""Kinds of tables by name."""


def get_layout(name: str) -> Layout:
    """The layout of that name."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return LAYOUTS[name]
