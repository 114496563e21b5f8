"""Training, validation and test rows of a task, cut as the published runs cut them.

Test labels of GLUE and SuperGLUE are not public, so validation and test rows come from the public
splits. Shuffles, slices and their order are those of ``AbstractTask.get`` in the published ATTEMPT
code, which DePT and DTVG kept, so that the very same rows fall on each side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from bench.data.rows import OFFICIAL_ROW, blaming
from bench.data.sources import DataSource
from bench.errors import DataError
from bench.tasks.task import SplitRule, Task

if TYPE_CHECKING:
    import datasets

DATA_SEED = 42
"""Seed of the published splits."""

HELD_OUT_ROWS = 1_000
"""Training rows that validate large tasks without a usable test split."""

_HELD_OUT_SHARE = 10
"""A source with too few training rows for that gives one row in so many."""


@dataclass(frozen=True)
class TaskRows:
    """The rows of one task, in the hub's columns.

    Attributes:
        train: in the order of the published runs.
        validation: chooses the best checkpoint.
        test: what the reported scores rest on.
        notes: where rows or splits differ from the protocol, for the record.
    """

    train: datasets.Dataset
    validation: datasets.Dataset
    test: datasets.Dataset
    notes: tuple[str, ...] = ()


def load_splits(source: DataSource, task: Task, data_seed: int = DATA_SEED) -> TaskRows:
    """Load a task's rows and split them by its rule.

    Where a source lacks the official test split, its validation split stands in, and a note says
    so; where it has too few training rows to hold out 1,000, a tenth of them validates, likewise.

    Args:
        source: where the official splits come from.
        task: names the split rule.
        data_seed: of the shuffle; not the seed of the run.

    Raises:
        DataError: a split or column is missing, unreadable, or too small to be cut.
    """
    official = _OfficialSplits(source, task)
    train, validation, test = _RULES[task.split_rule](official, data_seed)
    if task.max_training_rows is not None and len(train) > task.max_training_rows:
        train = train.select(range(task.max_training_rows))
    parts = {"training": train, "validation": validation, "test": test}
    defects = [note for name, rows in parts.items() for note in _defects(task, name, rows)]
    return TaskRows(train, validation, test, (*official.notes, *defects))


def unexpected_count(source: DataSource, task: Task, split: str, rows: int) -> str | None:
    """Say how an official split of the hub differs in size from what is expected, if it does.

    Other sources may hold any number of rows.
    """
    expected = task.hub.rows.get(split)
    if source.kind != "hub" or expected is None or rows == expected:
        return None
    return f"the hub's {task.name} {split} split has {rows} rows, not the {expected} expected"


class _OfficialSplits:
    """The official splits of one task, and what is to be noted about them."""

    def __init__(self, source: DataSource, task: Task) -> None:
        self.source = source
        self.task = task
        self.notes: list[str] = []

    def load(self, split: str) -> datasets.Dataset:
        rows = self.source.load(self.task, split)
        unexpected = unexpected_count(self.source, self.task, split, len(rows))
        if unexpected is not None:
            self.notes.append(unexpected)
        return rows

    def lacks_test(self) -> bool:
        """Whether only the validation split can take the place of the test split."""
        present = self.source.splits(self.task)
        return "test" not in present and "validation" in present


_Parts: TypeAlias = "tuple[datasets.Dataset, datasets.Dataset, datasets.Dataset]"


def _halve_validation(official: _OfficialSplits, seed: int) -> _Parts:
    validation = official.load("validation")
    if len(validation) < 2:
        raise DataError(f"{validation.info.description} has one row: halving it takes two")
    return official.load("train"), *_cut(validation, len(validation) // 2, seed)


def _hold_out_train(official: _OfficialSplits, seed: int) -> _Parts:
    task = official.task
    train = official.load("train")
    held_out = HELD_OUT_ROWS
    if len(train) <= HELD_OUT_ROWS:
        held_out = len(train) // _HELD_OUT_SHARE
        if held_out == 0:
            raise DataError(
                f"{train.info.description} has {len(train)} rows: holding out a tenth of them "
                f"for validation takes at least {_HELD_OUT_SHARE}"
            )
        official.notes.append(
            f"{task.name} has {len(train)} training rows: {held_out} of them validate "
            f"instead of {HELD_OUT_ROWS}"
        )
    validation, rest = _cut(train, held_out, seed)
    test_split = task.hub.splits[-1]
    if test_split == "test" and official.lacks_test():
        test_split = "validation"
        official.notes.append(f"{task.name} has no test split here: its validation split tests")
    return rest, validation, official.load(test_split)


def _mnli(official: _OfficialSplits, seed: int) -> _Parts:
    return (
        official.load("train"),
        official.load("validation_mismatched"),
        official.load("validation_matched"),
    )


def _official(official: _OfficialSplits, seed: int) -> _Parts:
    if official.lacks_test():
        official.notes.append(
            f"{official.task.name} has no test split here: its validation split is halved"
        )
        return _halve_validation(official, seed)
    return official.load("train"), official.load("validation"), official.load("test")


_RULES: Mapping[SplitRule, Callable[[_OfficialSplits, int], _Parts]] = {
    "halve-validation": _halve_validation,
    "hold-out-train": _hold_out_train,
    "mnli": _mnli,
    "official": _official,
}


def _cut(
    rows: datasets.Dataset, first: int, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Shuffle, then cut after ``first`` rows."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return rows.select(order[:first]), rows.select(order[first:])


def _defects(task: Task, part: str, rows: datasets.Dataset) -> list[str]:
    """How many rows of a part have a text that is not what it should be, by defect."""
    if task.defect_of is None:
        return []
    counts: Counter[str] = Counter()
    for row in rows:
        with blaming(rows.info.description, row[OFFICIAL_ROW]):
            defect = task.defect_of(row)
        if defect is not None:
            counts[defect] += 1
    return [
        f"{task.name}: in {count} of {len(rows)} {part} rows {defect}"
        for defect, count in counts.items()
    ]
