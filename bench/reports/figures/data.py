"""What several figures read from records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bench.records import Record
from bench.reports.figures.drawing import Drawing, MissingDataError
from bench.reports.figures.style import LineStyle, line_styles
from bench.reports.order import row_key, tasks_in_order
from bench.reports.results import Results
from bench.reports.sections import Section, make_sections
from bench.reports.settings import row_labels

Rows = dict[str, list[Record]]
"""Finished records by row label, in the order of legends."""


def drawings_by_section(
    results: Results, draw: Callable[[Section], Iterable[Drawing]], missing: str
) -> list[Drawing]:
    """The pictures of every section that has any.

    Args:
        results: the records.
        draw: the pictures of one section.
        missing: what it means if there is none at all, and what to do.

    Raises:
        MissingDataError: there is no picture.
    """
    found = [drawing for section in make_sections(results) for drawing in draw(section)]
    if not found:
        raise MissingDataError(f"{results.folder} holds {missing}")
    return found


def rows_of(section: Section, method_order: Sequence[str]) -> Rows:
    """The finished records of a section as its table's rows.

    Records that contradict each other (the same row, task, shots and seed, but other prompts to
    start from) are left out, as they are in tables.
    """
    labels = row_labels(section.records)
    found: dict[tuple[str, str, int | None, int], list[Record]] = defaultdict(list)
    for record in section.records:
        cell = record.cell
        found[labels[record.digest], cell.task, cell.shots, cell.seed].append(record)
    key = row_key(method_order)
    rows: Rows = defaultdict(list)
    for (label, *_), records in found.items():
        if len(records) == 1 and records[0].status == "finished":
            rows[label].append(records[0])

    order = sorted(rows, key=lambda label: key(rows[label][0].cell.method.name, label))
    return {label: rows[label] for label in order}


def styles_of(rows: Rows, method_order: Sequence[str]) -> dict[str, LineStyle]:
    """How each row looks."""
    methods = {label: records[0].cell.method.name for label, records in rows.items()}
    return line_styles(methods, method_order)


def metrics_of(rows: Rows) -> dict[str, str]:
    """The table metric of each task, in the order of the suites; other tasks follow by name."""
    metrics = {
        record.cell.task: record.scores.table_metric
        for records in rows.values()
        for record in records
        if record.scores is not None
    }
    return {task: metrics[task] for task in tasks_in_order(metrics)}


def seeds_of(rows: Rows) -> tuple[int, ...]:
    """All seeds of some rows, in order."""
    return tuple(sorted({r.cell.seed for records in rows.values() for r in records}))


__all__ = [
    "Rows",
    "drawings_by_section",
    "metrics_of",
    "rows_of",
    "seeds_of",
    "styles_of",
]
