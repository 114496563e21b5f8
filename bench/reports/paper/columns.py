"""The columns of a layout, as far as there are records for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bench.records import Record
from bench.reports.paper.layouts import Group, Layout
from bench.reports.sections import Section


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        kind: scores of a task; their mean over tasks; numbers of parameters; their share.
        group: head above it; for averages also the suite.
        title: its own head.
        tasks: that it shows, one unless it is an average.
        shots: of its cells; None: the full data.
        metric: that it shows; None: the one of tables.
        test_rows: of its task; None for averages, or if unknown.
    """

    kind: Literal["score", "average", "parameters", "share"]
    group: str
    title: str
    tasks: tuple[str, ...]
    shots: int | None
    metric: str | None = None
    test_rows: int | None = None


def make_columns(layout: Layout, section: Section) -> list[Column]:
    """The columns of a section in the order of the layout.

    A group without any record is left out. Within a group all tasks stay, so that gaps are seen.
    """
    shots = section.setting.shots
    columns = []
    if layout.parameters:
        columns += [
            Column("parameters", "", "trainable parameters", layout.tasks, shots),
            Column("share", "", "share", layout.tasks, shots),
        ]
    found = {record.cell.task for record in section.records}
    for group in layout.groups:
        if found & set(group.tasks):
            columns += _group(layout, group, section)
    return columns


def section_shots(section: Section) -> tuple[int, ...]:
    """The numbers of shots among the records, in order."""
    return tuple(sorted({s for r in section.records if (s := r.cell.shots) is not None}))


def _group(layout: Layout, group: Group, section: Section) -> Iterator[Column]:
    shots: tuple[int | None, ...] = (
        section_shots(section) if layout.by_shots else (section.setting.shots,)
    )
    for task in group.tasks if group.details else ():
        known = _known(section, task)
        rows = known.rows.test if known and known.rows else None
        usual = known.scores.table_metric if known and known.scores else None
        for number in shots:
            for metric in layout.metrics or (usual,):
                title = task
                if layout.by_shots:
                    title = str(number)
                elif layout.metrics:
                    title = str(metric)
                yield Column("score", group.title, title, (task,), number, metric, rows)
    if group.average:
        for number in shots:
            yield Column("average", group.title, "average", group.tasks, number)


def _known(section: Section, task: str) -> Record | None:
    """A finished record of the task; all of a section agree in metric and test rows."""
    return next(
        (r for r in section.records if r.cell.task == task and r.status == "finished"), None
    )


__all__ = ["Column", "make_columns", "section_shots"]
