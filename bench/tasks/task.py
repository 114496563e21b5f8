"""What a task is: one declaration per dataset, from hub columns to two strings and a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Row = Mapping[str, Any]
"""One dataset row in the hub's columns."""

SplitRule = Literal["halve-validation", "hold-out-train", "mnli", "official"]
"""How validation and test rows are made (Splits in the protocol):

- ``halve-validation``: the shuffled validation split is halved into validation and test;
- ``hold-out-train``: 1,000 shuffled training rows validate, the official validation split tests;
- ``mnli``: mismatched validates, matched tests;
- ``official``: the dataset's own three splits.
"""


@dataclass(frozen=True)
class TextPair:
    """One example as text.

    Attributes:
        source: what the model reads.
        target: what it is trained to write.
        references: every answer that counts as right in evaluation.
        group: examples that a metric judges together (multirc: the question); None elsewhere.
    """

    source: str
    target: str
    references: tuple[str, ...] = ()
    group: str | None = None

    def __post_init__(self) -> None:
        if not self.references:
            object.__setattr__(self, "references", (self.target,))


@dataclass(frozen=True)
class HubSource:
    """Where the hub keeps a dataset.

    Attributes:
        path: repository id.
        config: configuration name, or None.
        revision: commit, or the parquet branch that the hub keeps for script repositories.
        columns: columns the task reads.
        splits: official split names that the split rule reads.
        rows: expected row count by official split.
    """

    path: str
    config: str | None
    revision: str
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Task:
    """A dataset as the methods see it.

    Attributes:
        name: name on the command line and in records.
        published_name: first word(s) of the source text.
        hub: where the rows come from.
        texts: turns a row into examples; the flag tells training from evaluation.
        labels: the valid answers of a classification task, index = class; None elsewhere.
        metrics: metric names; the first is the one tables show.
        split_rule: how validation and test come about.
        input_length: tokens kept of the source text.
        target_length: tokens kept of the target text, and the longest decoded answer.
        label_of: class index of a row for balanced few-shot samples; None for plain sampling.
        max_training_rows: cap on training rows before anything else (yelp_polarity); None: none.
        group_by_source: evaluation joins rows of equal source and scores against all their targets.
    """

    name: str
    published_name: str
    hub: HubSource
    texts: Callable[[Row, bool], list[TextPair]]
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    split_rule: SplitRule
    input_length: int = 256
    target_length: int = 20
    label_of: Callable[[Row], int] | None = None
    max_training_rows: int | None = None
    group_by_source: bool = False
    suites: tuple[str, ...] = field(default=())

    def to_text(self, row: Row, training: bool) -> list[TextPair]:
        """Turn one row into its examples.

        Raises:
            DataError: a column is missing or the label is out of range.
        """
        return self.texts(row, training)

    @property
    def table_metric(self) -> str:
        """The metric that tables show."""
        return self.metrics[0]
