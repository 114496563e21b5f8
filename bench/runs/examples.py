"""Encoded examples of the cells, each split loaded and encoded once per process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from bench.data import (
    OFFICIAL_ROW,
    DataSource,
    EncodedExamples,
    TaskRows,
    TextEncoder,
    encode_examples,
    leading_rows,
    load_splits,
    sample_shots,
)
from bench.runs.code import method_digest
from bench.tasks import Task, get_task, task_plugin

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class TrainingExamples:
    """What a training run learns from.

    Attributes:
        encoded: the examples.
        rows: number of dataset rows they come from.
        few_shot: their row numbers in the official training split; None for the full data.
    """

    encoded: EncodedExamples
    rows: int
    few_shot: list[int] | None


class Examples:
    """Reads tasks from one source for one model.

    Args:
        source: where rows come from.
        encoder: the model's texts-to-ids.
        data_seed: of the split into validation and test.
        input_length: cap on the tasks' input lengths, or None.
        validation_rows: how many rows to validate on, or None: all. Of tasks that join rows of
            equal source, those that belong to the first so many; see
            :func:`~bench.data.leading_rows`.
    """

    def __init__(
        self,
        source: DataSource,
        encoder: TextEncoder,
        data_seed: int,
        input_length: int | None = None,
        validation_rows: int | None = None,
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._data_seed = data_seed
        self._cap = input_length
        self._validation_rows = validation_rows
        self.rows = cache(self._rows)
        self.validation = cache(self._validation)
        self.evaluation = cache(self._evaluation)
        self.labels = cache(self._labels)

    def task(self, name: str) -> Task:
        """The task, with the run's cap on its input length."""
        task = get_task(name)
        if self._cap is None or task.input_length <= self._cap:
            return task
        return replace(task, input_length=self._cap)

    def training(self, name: str, shots: int | None, seed: int) -> TrainingExamples:
        """The training examples of a cell.

        Raises:
            DataError: rows are missing or unusable; there are fewer than ``shots``.
        """
        task, rows = self.task(name), self.rows(name).train
        chosen = None
        if shots is not None:
            rows = rows.select(sample_shots(task, rows, shots, seed))
            chosen = list(rows[OFFICIAL_ROW])
        encoded = encode_examples(rows, task, self._encoder, training=True, code=_code(name))
        return TrainingExamples(encoded, len(rows), chosen)

    def notes(self, name: str) -> list[str]:
        """What a reader of the scores must know of the rows."""
        notes = list(self.rows(name).notes)
        full, used = len(self.rows(name).validation), len(self.validation(name))
        if used < full:
            notes.append(f"validated on {used} of {full} rows")
        cut = self.evaluation(name, "test").truncated
        if cut:
            length = self.task(name).input_length
            notes.append(f"{cut} test inputs cut at {length} tokens")
        return notes

    def _rows(self, name: str) -> TaskRows:
        return load_splits(self._source, self.task(name), self._data_seed)

    def _validation(self, name: str) -> datasets.Dataset:
        return self._leading(name, self.rows(name).validation)

    def _leading(self, name: str, rows: datasets.Dataset) -> datasets.Dataset:
        """Those of all validation rows that are validated on."""
        if self._validation_rows is None:
            return rows
        return leading_rows(rows, self.task(name), self._validation_rows)

    def _evaluation(self, name: str, split: str) -> EncodedExamples:
        rows = self.validation(name) if split == "validation" else self.rows(name).test
        return encode_examples(
            rows, self.task(name), self._encoder, training=False, code=_code(name)
        )

    def _labels(self, name: str) -> list[str]:
        """The label of every row of the whole training split; none where there are no labels."""
        task = self.task(name)
        if task.labels is None or task.label_of is None:
            return []
        labels, label_of = task.labels, task.label_of
        return [labels[label_of(row)] for row in self.rows(name).train]


def _code(task: str) -> str:
    """Digest of the code of a task from a plugin, on which its cached texts depend too."""
    plugin = task_plugin(task)
    return "" if plugin is None else method_digest(plugin.module)
