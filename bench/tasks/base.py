"""Tasks and their examples, and readers of columns."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import DataError

T = TypeVar("T")

Row = Mapping[str, Any]
"""One dataset row in the hub's columns."""

RULE_SPLITS: Mapping[str, tuple[str, ...]] = {
    # The shuffled validation split is halved into validation and test.
    "halve-validation": ("train", "validation"),
    # 1,000 shuffled training rows for validation, the official validation split for test.
    "hold-out-train": ("train", "validation"),
    "mnli": ("train", "validation_mismatched", "validation_matched"),  # the last is test
    "official": ("train", "validation", "test"),
}
"""Split rules, and the official splits that each rule reads."""

PARQUET_BRANCH = "refs/convert/parquet"
"""Branch with the hub's own parquet copy of a dataset, one folder per configuration."""


@dataclass(frozen=True)
class TextPair:
    """Source and target text of one example."""

    source: str  # given to the model
    target: str  # the answer to learn
    references: tuple[str, ...] = ()  # all correct answers; default: the target
    group: str | None = None  # examples scored together (multirc: the question), within a split

    def __post_init__(self) -> None:
        if not self.references:
            object.__setattr__(self, "references", (self.target,))


Texts = Callable[[Row, bool], list[TextPair]]
"""Examples of a row, from (row, training); :class:`Task` puts its name before the source."""


@dataclass(frozen=True)
class Task:
    """A dataset with its texts and metrics; made by :func:`bench.tasks.declared.declare`."""

    name: str  # on the command line and in records
    published_name: str  # first word of every source text
    repository: str  # on the hub, or the folder of `files`
    revision: str  # commit, or PARQUET_BRANCH
    columns: tuple[str, ...]  # read by the task
    splits: tuple[str, ...]  # read by the split rule: training first, the test split last
    rows: Mapping[str, int]  # expected row count by official split
    texts: Texts
    labels: tuple[str, ...] | None  # answers of a classification task, in class order
    metrics: tuple[str, ...]  # score names; tables show the first
    scorers: tuple[str, ...]  # names in METRICS
    split_rule: str  # one of RULE_SPLITS
    config: str | None = None  # configuration of the dataset
    files: Mapping[str, Path] = field(default_factory=dict)  # by split; empty: on the hub
    input_length: int = 256  # maximum tokens of a source
    target_length: int = 20  # maximum tokens of a target and of a decoded answer
    label_of: Callable[[Row], int] | None = None  # class of a row in balanced few-shot samples
    max_training_rows: int | None = None  # applied after validation rows are held out
    group_by_source: bool = False  # evaluation joins rows with equal sources
    suites: tuple[str, ...] = ()  # in addition to "sources" and "paper"
    selection_metrics: tuple[str, ...] = ()  # their mean selects the checkpoint; empty: all
    source_only: bool = False  # the papers never use it as a target
    defect_of: Callable[[Row], str | None] | None = None  # defect of a row's text, if any
    doubt_of: Callable[[Iterable[Row]], str | None] | None = None  # warning on training rows
    version: int = 1  # part of run ids

    @property
    def table_metric(self) -> str:
        """Name of the score that tables show."""
        return self.metrics[0]

    def to_text(self, row: Row, training: bool) -> list[TextPair]:
        """Examples of one row; :class:`DataError` if a column or label is bad."""
        try:
            pairs = self.texts(row, training)
        except DataError as error:
            raise DataError(f"task {self.name}: {error}") from error
        return [replace(pair, source=f"{self.published_name} {pair.source}") for pair in pairs]


def read(column: str, row: Row, kind: type[T]) -> T:
    """Value of a column; DataError if its type is not ``kind``."""
    value = row.get(column)
    if not isinstance(value, kind):
        raise bad_value(column, row, kind.__name__)
    return value


def strings(column: str, row: Row) -> tuple[str, ...]:
    """Texts of a list column; DataError if there is none."""
    value = row.get(column)
    if isinstance(value, list) and not value:
        raise DataError(
            f"column {column!r} holds no text; remove such rows (in squad_v2, questions without an "
            "answer), or use a split with public labels"
        )
    if not isinstance(value, (list, tuple)) or {*map(type, value)} != {str}:
        raise bad_value(column, row, "a list of texts")
    return tuple(value)


def class_index(column: str, classes: Sequence[int | str], row: Row) -> int:
    """Index of a row's label in ``classes``; 1, 1.0 and "1" are equal labels."""
    value, labels = row.get(column), [str(label).strip() for label in classes]
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if str(value).strip() not in labels:
        raise bad_value(column, row, f"one of {', '.join(labels)}")
    return labels.index(str(value).strip())


def bad_value(column: str, row: Row, expected: str) -> DataError:
    """Error about a column's value; :meth:`Task.to_text` adds the task's name."""
    return DataError(
        f"column {column!r} holds {reprlib.repr(row.get(column))}, not {expected}; "
        "correct the row or use a split with public labels"
    )
