"""The texts behind stored predictions, made again from the rows of the record's data source."""

from __future__ import annotations

from collections import defaultdict

from bench.data import OFFICIAL_ROW, DataSource, load_splits, open_source
from bench.data.sources import LocalFolder
from bench.errors import DataError
from bench.predictions import Predictions
from bench.records import Record
from bench.runs.plan import task_data
from bench.tasks import get_task


def inputs_of(record: Record, predictions: Predictions) -> list[str]:
    """What the model read in each test example, not cut to its input length.

    Raises:
        DataError: the rows cannot be had here, or are others than those of the record.
        ConfigError: the task is not here.
    """
    cell = record.cell
    task, source = get_task(cell.task), _source(record)
    if task_data(source, task.name).fingerprint != cell.data.fingerprint:
        raise DataError(f"{source.name}: the rows of {task.name} are no longer those of the record")
    texts: defaultdict[int, list[str]] = defaultdict(list)
    for row in load_splits(source, task, cell.data_seed).test:
        number = row.pop(OFFICIAL_ROW)
        texts[number] += [pair.source for pair in task.to_text(row, training=False)]
    inputs = []
    seen: defaultdict[int, int] = defaultdict(int)
    for example in predictions.examples:  # A row of several examples gives them in their order.
        known = texts[example.row][seen[example.row] :]
        if not known:
            raise DataError(f"{source.name} has no row {example.row} among the test rows")
        inputs.append(known[0])
        seen[example.row] += 1
    return inputs


def _source(record: Record) -> DataSource:
    data = record.cell.data
    return LocalFolder(data.name) if data.kind == "local" else open_source(data.kind)


__all__ = ["inputs_of"]
