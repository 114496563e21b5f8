"""What the entries of the catalog have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from bench.tasks.task import HubSource, Row, SplitRule, Task
from bench.tasks.text import class_index, join_fields, labelled_pairs

RULE_SPLITS: Mapping[SplitRule, tuple[str, ...]] = {
    "halve-validation": ("train", "validation"),
    "hold-out-train": ("train", "validation"),
    "mnli": ("train", "validation_mismatched", "validation_matched"),
    "official": ("train", "validation", "test"),
}
"""Official splits that each rule reads."""


@dataclass(frozen=True)
class Repository:
    """A hub repository at a pinned revision."""

    path: str
    revision: str

    def source(
        self,
        config: str | None,
        columns: tuple[str, ...],
        rule: SplitRule,
        rows: Mapping[str, int],
    ) -> HubSource:
        """One dataset of the repository, with the splits that its rule reads."""
        return HubSource(self.path, config, self.revision, columns, RULE_SPLITS[rule], rows)


def class_labels(classes: int) -> tuple[str, ...]:
    """The answers of a classification task: the class indices as text."""
    return tuple(str(index) for index in range(classes))


def classification(
    name: str,
    *,
    suite: str,
    repository: Repository,
    config: str | None,
    rows: Mapping[str, int],
    split_rule: SplitRule,
    fields: Mapping[str, str],
    classes: int = 2,
    label_column: str = "label",
    label_of: Callable[[Row], int] | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
    scorers: tuple[str, ...] = (),
    published_name: str | None = None,
) -> Task:
    """A task that shows some columns and asks for the index of a class.

    Args:
        name: on the command line.
        suite: that the task belongs to.
        repository: where the hub keeps it.
        config: configuration in the repository.
        rows: expected row count by official split.
        split_rule: how validation and test come about.
        fields: column by shown name, in the order of the source text.
        classes: number of classes.
        label_column: column of the class.
        label_of: reads the class; by default a whole number in ``label_column``.
        metrics: metric names, the table's first.
        scorers: metric modules, where they have other names than the metrics.
        published_name: first word of the source text, if not ``name``.
    """
    labels = class_labels(classes)
    label_of = label_of or partial(class_index, label_column, classes)
    return Task(
        name=name,
        published_name=published_name or name,
        hub=repository.source(config, (*fields.values(), label_column), split_rule, rows),
        texts=partial(labelled_pairs, partial(join_fields, fields), label_of, labels),
        labels=labels,
        metrics=metrics,
        split_rule=split_rule,
        label_of=label_of,
        suites=(suite,),
        scorers=scorers,
    )
