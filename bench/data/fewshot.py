"""Few-shot samples: ``k`` training rows in total, as equal over the classes as ``k`` allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.data.rows import OFFICIAL_ROW, blaming, rows_of
from bench.errors import ConfigError, DataError
from bench.seeding import generator
from bench.tasks.task import Task

if TYPE_CHECKING:
    import datasets

_CHUNK = 256
"""Rows looked at together while the classes fill."""


def sample_shots(task: Task, train: datasets.Dataset, shots: int, seed: int) -> list[int]:
    """Draw a few-shot sample.

    The rows are shuffled; then the classes, in the order in which they first occur, take turns in
    picking their next row. So each class gets ``shots // classes`` rows and the remainder goes to
    the classes that come first in the shuffled order, as in the published DePT code (which stops
    short of ``shots`` where the remainder is above one). A class that runs out of rows leaves its
    turns to the others. Tasks without classes get the first rows of the shuffled order.

    The sample is a function of the task's name, ``shots``, ``seed`` and the training rows.

    Args:
        task: says which class a row belongs to (:attr:`Task.label_of`).
        train: its training rows.
        shots: size of the sample, over all classes together.
        seed: of the run.

    Returns:
        ``shots`` distinct indices into ``train``.

    Raises:
        ConfigError: ``shots`` is below one.
        DataError: there are fewer training rows than ``shots``, or a row has no valid label.
    """
    if shots < 1:
        raise ConfigError(f"{shots} shots: ask for at least one training row")
    if shots > len(train):
        raise DataError(
            f"{task.name} has {len(train)} training rows, fewer than the {shots} shots asked for: "
            f"lower the shots or use the full data"
        )
    draw = generator("few-shot", task.name, shots, seed)
    order: list[int] = torch.randperm(len(train), generator=draw).tolist()
    if task.label_of is None:
        return order[:shots]
    return _take_turns(_first_of_each_class(task, train, order, shots), shots)


def _first_of_each_class(
    task: Task, train: datasets.Dataset, order: list[int], shots: int
) -> list[list[int]]:
    """Indices of each class in the given order; stops once no further row can be picked."""
    assert task.label_of is not None
    classes = len(task.labels) if task.labels is not None else len(order)
    share = -(-shots // classes)
    found: dict[int, list[int]] = {}
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        for index, row in zip(chunk, rows_of(train[chunk]), strict=True):
            with blaming(train.info.description, row.get(OFFICIAL_ROW, index)):
                found.setdefault(task.label_of(row), []).append(index)
        if len(found) == classes and all(len(indices) >= share for indices in found.values()):
            break
    return list(found.values())


def _take_turns(classes: list[list[int]], shots: int) -> list[int]:
    longest = max(len(indices) for indices in classes)
    turns = (indices[i] for i in range(longest) for indices in classes if i < len(indices))
    return [index for index, _ in zip(turns, range(shots), strict=False)]
