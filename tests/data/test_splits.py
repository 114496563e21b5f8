"""Sizes and membership of the splits, against the shuffle done by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import pytest
import torch

from bench.data import DataSource, load_splits
from bench.errors import DataError
from bench.tasks.task import Task

Toy = Callable[..., Task]
Folder = Callable[..., DataSource]


def numbers(rows: datasets.Dataset) -> list[int]:
    return [int(text.split()[1]) for text in rows["sentence"]]


def shuffled(n: int, seed: int = 42) -> list[int]:
    generator = torch.Generator()
    generator.manual_seed(seed)
    order: list[int] = torch.randperm(n, generator=generator).tolist()
    return order


def test_the_shuffle_is_still_that_of_the_published_runs() -> None:
    """Ten rows with seed 42, as public projects assert it of several versions of torch."""
    assert shuffled(10) == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


@pytest.mark.parametrize(("n", "first"), [(56, 28), (277, 138), (3, 1)])
def test_halved_validation(toy: Toy, folder: Folder, n: int, first: int) -> None:
    rows = load_splits(folder(train=7, validation=n), toy())
    assert numbers(rows.train) == list(range(7))
    assert numbers(rows.validation) == shuffled(n)[:first]
    assert numbers(rows.test) == shuffled(n)[first:]
    assert rows.notes == ()


def test_held_out_training_rows(toy: Toy, folder: Folder) -> None:
    rows = load_splits(folder(train=1500, validation=5), toy("hold-out-train"))
    assert numbers(rows.validation) == shuffled(1500)[:1000]
    assert numbers(rows.train) == shuffled(1500)[1000:]
    assert numbers(rows.test) == list(range(5))
    assert rows.notes == ()


@pytest.mark.parametrize(("n", "held_out"), [(1000, 100), (999, 99), (32, 3), (10, 1)])
def test_small_source_holds_out_a_tenth(toy: Toy, folder: Folder, n: int, held_out: int) -> None:
    rows = load_splits(folder(train=n, validation=5), toy("hold-out-train"))
    assert numbers(rows.validation) == shuffled(n)[:held_out]
    assert numbers(rows.train) == shuffled(n)[held_out:]
    assert rows.notes == (
        f"toy has {n} training rows: {held_out} of them validate instead of 1000",
    )


def test_cap_keeps_the_first_of_the_shuffled_remainder(toy: Toy, folder: Folder) -> None:
    """As DePT caps yelp_polarity: after the validation rows are taken."""
    task = toy("hold-out-train", splits=("train", "test"), max_training_rows=50)
    rows = load_splits(folder(train=1200, test=4), task)
    assert numbers(rows.train) == shuffled(1200)[1000:1050]
    assert numbers(rows.validation) == shuffled(1200)[:1000]
    assert numbers(rows.test) == list(range(4))


def test_mnli_validates_on_mismatched(toy: Toy, folder: Folder) -> None:
    splits = ("train", "validation_matched", "validation_mismatched")
    source = folder(train=6, validation_matched=4, validation_mismatched=5)
    rows = load_splits(source, toy("mnli", splits=splits))
    assert [len(part) for part in (rows.train, rows.validation, rows.test)] == [6, 5, 4]


def test_official_splits_stay_as_they_are(toy: Toy, folder: Folder) -> None:
    task = toy("official", splits=("train", "validation", "test"))
    rows = load_splits(folder(train=6, validation=5, test=4), task)
    assert [numbers(part) for part in (rows.train, rows.validation, rows.test)] == [
        list(range(6)),
        list(range(5)),
        list(range(4)),
    ]
    assert rows.notes == ()


def test_official_without_test_split_halves_validation_and_says_so(
    toy: Toy, folder: Folder
) -> None:
    task = toy("official", splits=("train", "validation", "test"))
    rows = load_splits(folder(train=6, validation=9), task)
    assert numbers(rows.validation) == shuffled(9)[:4]
    assert numbers(rows.test) == shuffled(9)[4:]
    assert rows.notes == ("toy has no test split here: its validation split is halved",)


def test_held_out_without_test_split_tests_on_validation_and_says_so(
    toy: Toy, folder: Folder
) -> None:
    task = toy("hold-out-train", splits=("train", "test"))
    rows = load_splits(folder(train=1100, validation=9), task)
    assert numbers(rows.test) == list(range(9))
    assert rows.notes == ("toy has no test split here: its validation split tests",)


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [("halve-validation", (40, 41)), ("hold-out-train", (1030, 41)), ("official", (40, 41))],
)
def test_every_row_falls_on_one_side(
    toy: Toy, folder: Folder, rule: Any, sizes: Sequence[int]
) -> None:
    train, validation = sizes
    distinct = [
        {"sentence": f"row {i}", "label": 0, "other": None}
        for i in range(train, train + validation)
    ]
    rows = load_splits(folder(train=train, validation=distinct), toy(rule), data_seed=7)
    parts = [numbers(part) for part in (rows.train, rows.validation, rows.test)]
    assert sorted(itertools.chain(*parts)) == list(range(train + validation))


def test_data_seed_moves_rows(toy: Toy, folder: Folder) -> None:
    source = folder(train=5, validation=30)
    assert numbers(load_splits(source, toy(), data_seed=1).test) == shuffled(30, 1)[15:]


@pytest.mark.parametrize(
    ("rule", "train", "validation", "fault"),
    [
        ("halve-validation", 5, 1, "has one row: halving it takes two"),
        ("hold-out-train", 9, 5, "has 9 rows: holding out a tenth"),
    ],
)
def test_too_small_to_cut(
    toy: Toy, folder: Folder, rule: Any, train: int, validation: int, fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        load_splits(folder(train=train, validation=validation), toy(rule))


def test_split_without_rows(toy: Toy, folder: Folder) -> None:
    source = folder(train=3, validation=3)
    empty = datasets.Dataset.from_dict({"sentence": [], "label": []})
    empty.to_parquet(f"{source.name}/toy/train.parquet")
    with pytest.raises(DataError, match=r"toy/train.parquet has no rows"):
        load_splits(source, toy())


def test_rows_with_a_defect_are_counted(toy: Toy, folder: Folder) -> None:
    task = toy(defect_of=lambda row: "the label is 2" if row["label"] == 2 else None)
    rows = load_splits(folder(train=10, validation=2), task)
    assert rows.notes == ("toy: in 3 of 10 training rows the label is 2",)


def test_hub_row_counts_that_differ_are_noted(
    toy: Toy, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(train=6, validation=4)
    monkeypatch.setattr(type(source), "kind", "hub")
    rows = load_splits(source, toy(rows={"train": 7, "validation": 4}))
    assert rows.notes == ("the hub's toy train split has 6 rows, not the 7 expected",)
