"""From records to tables: grouping and statistics, no text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.records import Record
from bench.reports.order import highest, reaches, row_key, tasks_in_order
from bench.reports.results import Results
from bench.reports.sections import make_sections
from bench.reports.settings import Setting, row_labels
from bench.reports.tables import MAJORITY_LABEL, Column, Table, TableCell, TableRow


def build_tables(
    results: Results, *, tasks: Sequence[str] | None = None, method_order: Sequence[str] = ()
) -> list[Table]:
    """All tables of a results folder: one per setting and version of the data.

    Args:
        results: the records.
        tasks: the columns to show; None: all tasks that have records.
        method_order: names of methods in the order of the rows; others follow by name.

    Raises:
        RecordError: there is no record to show.
    """
    return [
        replace(
            _table(section.setting, section.records, method_order),
            number=section.number,
            differences=section.differences,
        )
        for section in make_sections(results, tasks=tasks)
    ]


def record_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One line per record of one table; scores and majority scores in the table's metric."""
    labels = row_labels(records)
    frame: pd.DataFrame = pd.DataFrame([_line(record, labels[record.digest]) for record in records])
    # Columns of None alone would be objects and have no mean.
    frame[["score", "majority"]] = frame[["score", "majority"]].astype(float)
    return frame


def _line(record: Record, label: str) -> dict[str, str | int | float | bool | None]:
    line: dict[str, str | int | float | bool | None] = {
        "label": label,
        "method": record.cell.method.name,
        "task": record.cell.task,
        "seed": record.cell.seed,
        "finished": record.status == "finished",
        "test_rows": None if record.rows is None else record.rows.test,
        "metric": None,
        "score": None,
        "majority": None,
    }
    if record.status == "finished" and record.scores is not None:
        line["metric"] = metric = record.scores.table_metric
        line["score"] = record.scores.test[metric]
        if record.majority is not None:
            line["majority"] = record.majority.test.get(metric)
    return line


def _table(setting: Setting, records: Sequence[Record], method_order: Sequence[str]) -> Table:
    frame = record_frame(records)
    columns = _columns(frame)
    seeds = tuple(sorted(int(seed) for seed in frame["seed"].unique()))
    cells = _cells(frame)
    rows = [
        _row(label, method, [cells.get((label, c.task), TableCell("missing")) for c in columns])
        for method, label in _row_order(frame, method_order)
    ]
    majority = _majority_cells(frame)
    if majority:
        missing = TableCell("missing")
        rows.append(_row(MAJORITY_LABEL, None, [majority.get(c.task, missing) for c in columns]))
    distinct = frame.drop_duplicates(["label", "task", "seed"])
    table = Table(
        number=1,
        setting=setting,
        differences=(),
        seeds=seeds,
        columns=columns,
        rows=_mark_best(rows),
        failed=int((~distinct["finished"]).sum()),
        missing=0,
        conflicts=int(_contradictory(frame).groupby(["label", "task", "seed"]).ngroups),
    )
    return replace(table, missing=table.grid - len(distinct))


def _columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """The tasks in order, with what all their records agree in."""
    # All records of a task in one table agree here, except for failed ones that know nothing.
    known: Any = frame.groupby("task")[["metric", "test_rows"]].first()
    return tuple(
        Column(
            task=name,
            metric=None if pd.isna(metric := known.loc[name, "metric"]) else str(metric),
            test_rows=None if pd.isna(rows := known.loc[name, "test_rows"]) else int(rows),
        )
        for name in tasks_in_order(frame["task"])
    )


def _row_order(frame: pd.DataFrame, method_order: Sequence[str]) -> list[tuple[str, str]]:
    """Method and label of each row."""
    key = row_key(method_order)
    pairs = {(str(name), str(label)) for name, label in frame[["method", "label"]].to_numpy()}
    return sorted(pairs, key=lambda pair: key(*pair))


def _contradictory(frame: pd.DataFrame) -> pd.DataFrame:
    """Records of the same row, task and seed: they differ in what they started from."""
    repeated: pd.DataFrame = frame[frame.duplicated(["label", "task", "seed"], keep=False)]
    return repeated


def _cells(frame: pd.DataFrame) -> dict[tuple[str, str], TableCell]:
    """Table cells by row label and task."""
    conflicts = {
        (label, task)
        for label, task in _contradictory(frame)[["label", "task"]].itertuples(index=False)
    }
    grouped = frame.groupby(["label", "task"])
    statistics = grouped["score"].agg(["mean", "std", "count"])
    statistics["failed"] = grouped.size() - grouped["finished"].sum()
    cells = {}
    for key, mean, std, seeds, failed in statistics.itertuples(name=None):
        if key in conflicts:
            cells[key] = TableCell("conflict", failed=int(failed))
        elif seeds == 0:
            cells[key] = TableCell("failed", failed=int(failed))
        else:
            cells[key] = TableCell("finished", mean, _known(std), int(seeds), int(failed))
    return cells


def _majority_cells(frame: pd.DataFrame) -> dict[str, TableCell]:
    """The majority class by task; it is the same for all methods, and mostly for all seeds."""
    by_seed = frame.dropna(subset="majority").drop_duplicates(["task", "seed"])
    statistics = by_seed.groupby("task")["majority"].agg(["mean", "std", "count"])
    return {
        # A deviation of 0 is left out: there is nothing random about it.
        str(task): TableCell("finished", mean, _known(std) or None, int(seeds))
        for task, mean, std, seeds in statistics.itertuples(name=None)
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _row(label: str, method: str | None, cells: Sequence[TableCell]) -> TableRow:
    means = [cell.mean for cell in cells if cell.mean is not None]
    average = math.fsum(means) / len(means) if len(means) == len(cells) else None
    return TableRow(label, method, tuple(cells), average)


def _mark_best(rows: Sequence[TableRow]) -> tuple[TableRow, ...]:
    """Mark the highest mean of each column, and the highest average."""
    by_column = zip(*(row.cells for row in rows), strict=True)
    tops = [highest(cell.mean for cell in column) for column in by_column]
    top = highest(row.average for row in rows)
    return tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, best=reaches(cell.mean, best))
                for cell, best in zip(row.cells, tops, strict=True)
            ),
            best=reaches(row.average, top),
        )
        for row in rows
    )


__all__ = ["build_tables", "record_frame"]
