"""What a task is: one declaration per dataset, from hub columns to two strings and a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.errors import DataError

Row = Mapping[str, Any]
"""One dataset row in the hub's columns."""

SplitRule = Literal["halve-validation", "hold-out-train", "mnli", "official"]
"""How validation and test rows are made (Splits in the protocol):

- ``halve-validation``: the shuffled validation split is halved into validation and test;
- ``hold-out-train``: 1,000 shuffled training rows validate, the official validation split tests;
- ``mnli``: mismatched validates, matched tests;
- ``official``: the dataset's own three splits.
"""

PARQUET_BRANCH = "refs/convert/parquet"
"""Branch on which the hub keeps its own parquet copy of a dataset, one folder a configuration."""


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
        revision: commit, or :data:`PARQUET_BRANCH`.
        columns: columns the task reads.
        splits: official split names that the split rule reads: the training split first, the one
            that tests last (``halve-validation`` makes both others from the last).
        rows: expected row count by official split.
    """

    path: str
    config: str | None
    revision: str
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    rows: Mapping[str, int]

    def load_arguments(self) -> dict[str, str]:
        """Keyword arguments with which ``datasets.load_dataset`` finds the rows."""
        arguments = {"path": self.path, "revision": self.revision}
        if self.config is not None:
            # The parquet branch has no card that names configurations: they are plain folders.
            key = "data_dir" if self.revision == PARQUET_BRANCH else "name"
            arguments[key] = self.config
        return arguments


@dataclass(frozen=True)
class Task:
    """A dataset as the methods see it.

    Attributes:
        name: name on the command line and in records.
        published_name: first word(s) of the source text.
        hub: where the rows come from.
        texts: turns a row into examples, whose source still lacks ``published_name``; the flag
            tells training from evaluation.
        labels: the valid answers of a classification task, index = class; None elsewhere.
        metrics: metric names; the first is the one tables show.
        split_rule: how validation and test come about.
        input_length: tokens kept of the source text.
        target_length: tokens kept of the target text, and the longest decoded answer.
        label_of: class index of a row for balanced few-shot samples (raises
            :class:`~bench.errors.DataError` if the label is out of range); None for plain sampling.
        max_training_rows: cap on training rows, after validation rows are held out
            (yelp_polarity); None: none.
        group_by_source: evaluation joins rows of equal source and scores against all their targets.
        suites: the suites that the task belongs to, besides ``sources`` and ``paper``.
        scorers: modules of :mod:`bench.tasks.metrics` that compute ``metrics``; empty if they have
            the metrics' own names.
        source_only: the papers train on it as a source and report no target result for it.
        defect_of: what could not be done to a row's text, or None; such rows are used as they are,
            but counted and logged.
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
    scorers: tuple[str, ...] = ()
    source_only: bool = False
    defect_of: Callable[[Row], str | None] | None = None

    def to_text(self, row: Row, training: bool) -> list[TextPair]:
        """Turn one row into its examples.

        Raises:
            DataError: a column is missing or the label is out of range.
        """
        self._require_columns(row)
        try:
            pairs = self.texts(row, training)
        except DataError as error:
            raise DataError(f"task {self.name}: {error}") from error
        return [replace(pair, source=f"{self.published_name} {pair.source}") for pair in pairs]

    @property
    def table_metric(self) -> str:
        """The metric that tables show."""
        return self.metrics[0]

    def _require_columns(self, row: Row) -> None:
        missing = [column for column in self.hub.columns if column not in row]
        if missing:
            origin = " ".join(filter(None, (self.hub.path, self.hub.config)))
            raise DataError(
                f"task {self.name}: missing column {', '.join(map(repr, missing))} (found: "
                f"{', '.join(map(repr, row)) or 'none'}); give the data the columns of {origin}"
            )
