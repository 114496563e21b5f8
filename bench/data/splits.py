"""Training, validation and test rows of a task, few-shot samples, and a check of all rows.

With data seed 42, splits are those of ``AbstractTask.get`` in the published code of ATTEMPT, DePT
and DTVG.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from bench.data.sources import DataSource, read_split
from bench.errors import DataError
from bench.seeding import generator
from bench.tasks.base import Task

if TYPE_CHECKING:
    import datasets

HELD_OUT_ROWS = 1_000  # Training rows held out for validation; a tenth of smaller splits.


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task; ``notes`` list differences from the protocol."""

    train: datasets.Dataset
    validation: datasets.Dataset
    test: datasets.Dataset
    notes: tuple[str, ...] = ()


def load_splits(source: DataSource, task: Task, data_seed: int = 42) -> TaskRows:
    """Load a task's rows and split them by its rule; validation replaces a missing test split."""
    notes: list[str] = []
    present = source.splits(task)
    lacks_test = "test" not in present and "validation" in present

    def load(split: str) -> datasets.Dataset:
        rows = source.load(task, split)
        notes.extend(unexpected_count(source, task, split, len(rows)))
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
        held_out = held_out_rows(len(train))
        if held_out == 0:
            origin = train.info.description
            raise DataError(f"{origin} has {len(train)} rows: holding out a tenth takes 10 rows")
        if held_out < HELD_OUT_ROWS:
            size = f"{task.name} has {len(train)} training rows"
            notes.append(f"{size}: {held_out} of them validate instead of {HELD_OUT_ROWS}")
        validation, train = _cut(train, held_out, data_seed)
        last = task.splits[-1]
        if last == "test" and lacks_test:
            last = "validation"
            notes.append(f"{task.name} has no test split here: its validation split tests")
        test = load(last)
    else:
        validation, test = map(load, task.splits[1:])
    if task.max_training_rows is not None and len(train) > task.max_training_rows:
        train = train.select(range(task.max_training_rows))
    if task.doubt_of is not None and (doubt := task.doubt_of(read_split(train, dict))):
        notes.append(f"{task.name}: {doubt}")
    if task.defect_of is not None:
        for name, rows in (("training", train), ("validation", validation), ("test", test)):
            for defect, count in Counter(filter(None, read_split(rows, task.defect_of))).items():
                notes.append(f"{task.name}: in {count} of {len(rows)} {name} rows {defect}")
    return TaskRows(train, validation, test, tuple(notes))


def declared_rows(task: Task) -> tuple[int, int, int]:
    """Split sizes as from :func:`load_splits` on the hub's data, computed from declared counts."""
    train, *others = (task.rows.get(split, 0) for split in task.splits)
    if task.split_rule == "halve-validation":
        others = [others[0] // 2, others[0] - others[0] // 2]
    elif task.split_rule == "hold-out-train":
        held_out = held_out_rows(train)
        train, others = train - held_out, [held_out, others[-1]]
    if not (train and all(others)):
        message = f"task {task.name} declares no or too few rows"
        raise DataError(f"{message}: correct them, or give a model that can be loaded")
    return min(train, task.max_training_rows or train), others[0], others[1]


def held_out_rows(train: int) -> int:
    """Number of rows held out of ``train`` training rows."""
    return HELD_OUT_ROWS if train > HELD_OUT_ROWS else train // 10


def unexpected_count(source: DataSource, task: Task, split: str, rows: int) -> Iterator[str]:
    """Yield a note if an official split of the hub has an unexpected number of rows."""
    expected = task.rows.get(split, rows)
    if source.kind == "hub" and rows != expected:
        yield f"the hub's {task.name} {split} split has {rows} rows, not the {expected} expected"


def _cut(
    rows: datasets.Dataset, first: int, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Shuffle, then cut after ``first`` rows."""
    import torch

    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return rows.select(order[:first]), rows.select(order[first:])


def random_order(length: int, *parts: str | int) -> list[int]:
    """Random permutation of ``range(length)``, seeded by purpose and coordinates."""
    import torch

    order: list[int] = torch.randperm(length, generator=generator(*parts)).tolist()
    return order


def sample_shots(task: Task, train: datasets.Dataset, shots: int, seed: int) -> list[int]:
    """Indices of ``shots`` distinct training rows, balanced over classes as far as possible.

    Rows are shuffled, then taken from each class in turn (classes in order of occurrence), as in
    the published code of DePT. Tasks without classes use the first shuffled rows.
    """
    if shots > len(train):
        message = f"{task.name} has {len(train)} training rows, fewer than the {shots} shots"
        raise DataError(f"{message} asked for: lower the shots or use the full data")
    order = random_order(len(train), "few-shot", task.name, shots, seed)
    if task.label_of is None:
        return order[:shots]
    classes = len(task.labels) if task.labels is not None else len(order)
    share, by_class = -(-shots // classes), dict[int, list[int]]()
    labels = read_split(train.select(order), task.label_of)
    for index, label in zip(order, labels, strict=True):
        by_class.setdefault(label, []).append(index)
        if len(by_class) == classes and all(len(rows) >= share for rows in by_class.values()):
            break  # no later row can be picked
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return [index for index in turns if index is not None][:shots]


@dataclass
class TaskReport:
    """Result of checking one task."""

    task: str
    revision: str | None
    expected: Mapping[str, int]  # rows of each official split on the hub
    rows: dict[str, int] = field(default_factory=dict)  # of each official split that was read
    differences: list[str] = field(default_factory=list)  # from the declaration
    notes: list[str] = field(default_factory=list)  # as in records

    @property
    def ok(self) -> bool:
        return not self.differences


def check(source: DataSource, tasks: Iterable[Task], texts: bool = True) -> Iterator[TaskReport]:
    """Compare splits, columns, row counts and texts of tasks with a source; fills its cache."""
    for task in tasks:
        report = TaskReport(task.name, source.revision(task), task.rows)
        try:
            for split in source.splits(task):
                report.rows[split] = len(source.load(task, split))
                report.differences += unexpected_count(source, task, split, report.rows[split])
            if texts and report.ok:
                splits = load_splits(source, task)
                report.notes += splits.notes
                for rows in (splits.train, splits.validation, splits.test):
                    to_text = partial(task.to_text, training=rows is splits.train)
                    deque(read_split(rows, to_text), maxlen=0)  # Stops at a bad row.
        except DataError as error:
            report.differences.append(str(error))
        yield report
