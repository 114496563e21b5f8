"""Training, validation and test rows of a task, few-shot samples, and a check of all rows.

Test labels of GLUE and SuperGLUE are not public, so the public splits are cut. Shuffles, slices and
their order are those of ``AbstractTask.get`` in the published code of ATTEMPT, DePT and DTVG.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.data.sources import BATCH, OFFICIAL_ROW, DataSource, read_split, rows_of
from bench.errors import ConfigError, DataError
from bench.seeding import generator
from bench.tasks.base import Task

if TYPE_CHECKING:
    import datasets

DATA_SEED = 42
"""Seed of the published splits."""

HELD_OUT_ROWS = 1_000
"""Training rows that validate tasks without a usable test split; a tenth if there are no more."""


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task; ``notes`` tell where they differ from the protocol."""

    train: datasets.Dataset
    validation: datasets.Dataset
    test: datasets.Dataset
    notes: tuple[str, ...] = ()


def load_splits(source: DataSource, task: Task, data_seed: int = DATA_SEED) -> TaskRows:
    """Load a task's rows and split them by its rule; validation replaces a missing test split."""
    notes: list[str] = []
    present = source.splits(task)
    lacks_test = "test" not in present and "validation" in present

    def load(split: str) -> datasets.Dataset:
        rows = source.load(task, split)
        notes.extend(unexpected_counts(source, task, {split: len(rows)}))
        return rows

    train, rule = load("train"), task.split_rule
    if rule == "official" and lacks_test:
        notes.append(f"{task.name} has no test split here: its validation split is halved")
        rule = "halve-validation"
    if rule == "halve-validation":
        validation = load("validation")
        if len(validation) < 2:
            raise DataError(f"{validation.info.description} has one row: halving it takes two")
        validation, test = _cut(validation, len(validation) // 2, data_seed)
    elif rule == "hold-out-train":
        held_out = HELD_OUT_ROWS if len(train) > HELD_OUT_ROWS else len(train) // 10
        if held_out == 0:
            raise DataError(
                f"{train.info.description} has {len(train)} rows: holding out a tenth of them for "
                "validation takes at least 10"
            )
        if held_out < HELD_OUT_ROWS:
            notes.append(
                f"{task.name} has {len(train)} training rows: {held_out} of them validate instead "
                f"of {HELD_OUT_ROWS}"
            )
        validation, train = _cut(train, held_out, data_seed)
        last = task.hub.splits[-1]
        if last == "test" and lacks_test:
            last = "validation"
            notes.append(f"{task.name} has no test split here: its validation split tests")
        test = load(last)
    elif rule == "mnli":
        validation, test = load("validation_mismatched"), load("validation_matched")
    else:
        validation, test = load("validation"), load("test")
    if task.max_training_rows is not None and len(train) > task.max_training_rows:
        train = train.select(range(task.max_training_rows))
    if task.doubt_of is not None and (doubt := task.doubt_of(read_split(train, dict))):
        notes.append(f"{task.name}: {doubt}")
    if task.defect_of is not None:
        for name, rows in (("training", train), ("validation", validation), ("test", test)):
            counts = Counter(read_split(rows, task.defect_of))
            notes += [
                f"{task.name}: in {count} of {len(rows)} {name} rows {defect}"
                for defect, count in counts.items()
                if defect is not None
            ]
    return TaskRows(train, validation, test, tuple(notes))


def unexpected_counts(source: DataSource, task: Task, rows: Mapping[str, int]) -> list[str]:
    """Differences between row counts of official splits of the hub and the expected ones."""
    return [
        f"the hub's {task.name} {split} split has {count} rows, not the "
        f"{task.hub.rows[split]} expected"
        for split, count in rows.items()
        if source.kind == "hub" and count != task.hub.rows.get(split, count)
    ]


def _cut(
    rows: datasets.Dataset, first: int, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Shuffle, then cut after ``first`` rows."""
    import torch

    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return rows.select(order[:first]), rows.select(order[first:])


def sample_shots(task: Task, train: datasets.Dataset, shots: int, seed: int) -> list[int]:
    """Places of ``shots`` distinct training rows, as equal over the classes as they allow.

    The rows are shuffled; then the classes, in the order in which they first occur, take turns in
    picking their next row while they have one, as in the published code of DePT (which stops short
    of ``shots`` if the remainder is above one). Tasks without classes get the first rows.
    """
    import torch

    if shots < 1:
        raise ConfigError(f"{shots} shots: ask for at least one training row")
    if shots > len(train):
        raise DataError(
            f"{task.name} has {len(train)} training rows, fewer than the {shots} shots asked for: "
            "lower the shots or use the full data"
        )
    draw = generator("few-shot", task.name, shots, seed)
    order: list[int] = torch.randperm(len(train), generator=draw).tolist()
    if task.label_of is None:
        return order[:shots]
    classes = len(task.labels) if task.labels is not None else len(order)
    share, found = -(-shots // classes), dict[int, list[int]]()
    labels = read_split(train.select(order), task.label_of)
    for place, label in zip(order, labels, strict=True):
        found.setdefault(label, []).append(place)
        if len(found) == classes and all(len(places) >= share for places in found.values()):
            break  # no later row can be picked
    longest = max(map(len, found.values()))
    turns = [places[i] for i in range(longest) for places in found.values() if i < len(places)]
    return turns[:shots]


@dataclass
class TaskReport:
    """Findings of one task."""

    task: str
    revision: str | None
    expected: Mapping[str, int]  # rows of each official split on the hub
    rows: dict[str, int] = field(default_factory=dict)  # of each official split that was read
    differences: list[str] = field(default_factory=list)  # from the declaration
    notes: list[str] = field(default_factory=list)  # as in the records of a run

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def check(source: DataSource, tasks: Iterable[Task], texts: bool = True) -> Iterator[TaskReport]:
    """Compare tasks with the data of a source: splits, columns, row counts (hub), and texts.

    With the hub as source, this fills the cache of this machine.
    """
    for task in tasks:
        report = TaskReport(task.name, source.revision(task), task.hub.rows)
        try:
            for split in source.splits(task):
                report.rows[split] = len(source.load(task, split))
            report.differences += unexpected_counts(source, task, report.rows)
            if texts and report.ok:
                parts = load_splits(source, task)
                report.notes += parts.notes
                for rows in (parts.train, parts.validation, parts.test):
                    report.differences += _faults(task, rows, training=rows is parts.train)
        except DataError as error:
            report.differences.append(str(error))
        yield report


def _faults(task: Task, rows: datasets.Dataset, training: bool) -> Iterator[str]:
    """The first of the rows that cannot be turned into text, if there is one."""
    faults = []
    for row in (row for columns in rows.iter(BATCH) for row in rows_of(columns)):
        try:
            task.to_text(row, training)
        except DataError as error:
            faults.append(f"row {row[OFFICIAL_ROW]}: {error}")
    if faults:
        which = f"first of {len(faults)} faulty rows" if len(faults) > 1 else "one faulty row"
        yield f"{rows.info.description}, {which}: {faults[0]}"
