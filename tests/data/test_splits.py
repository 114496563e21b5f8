"""Splits against the shuffle done by hand, and few-shot samples: balance and recorded rows."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import load_splits, open_source, sample_shots
from bench.errors import DataError
from bench.tasks import get_task
from tests.data.conftest import Folder, toy

RECORDS = Path(__file__).parents[2] / "results" / "smoke" / "records"
TWO, TEST, ALL = ("train", "validation"), ("train", "test"), ("train", "validation", "test")
MNLI = ("train", "validation_mismatched", "validation_matched")


def cut(n: int) -> list[int]:
    """The shuffle of the published runs."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(42)).tolist()


def test_the_shuffle_is_that_of_the_published_runs() -> None:
    """Ten rows with seed 42, as public projects assert it of several versions of torch."""
    assert cut(10) == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


@pytest.mark.parametrize(
    ("rule", "splits", "sizes", "expected", "note"),
    [
        ("halve-validation", TWO, (7, 56), (range(7), cut(56)[:28], cut(56)[28:]), ""),
        ("halve-validation", TWO, (7, 277), (range(7), cut(277)[:138], cut(277)[138:]), ""),
        ("hold-out-train", TWO, (1500, 5), (cut(1500)[1000:], cut(1500)[:1000], range(5)), ""),
        *(
            ("hold-out-train", TWO, (n, 5), (cut(n)[k:], cut(n)[:k], range(5)), f": {k} of them")
            for n, k in [(1000, 100), (999, 99), (10, 1)]
        ),
        ("hold-out-train", TEST, (1100, 4), (cut(1100)[1000:], cut(1100)[:1000], range(4)), ""),
        ("official", ALL, (6, 5, 4), (range(6), range(5), range(4)), ""),
        ("mnli", MNLI, (6, 5, 4), (range(6), range(5), range(4)), ""),
    ],
)
def test_splits(
    folder: Folder, rule: str, splits: Any, sizes: Any, expected: Any, note: str
) -> None:
    rows = load_splits(folder(**dict(zip(splits, sizes, strict=True))), toy(rule, splits=splits))
    for part, numbers in zip((rows.train, rows.validation, rows.test), expected, strict=True):
        assert part["official_row"][:] == list(numbers)
        assert part["sentence"][:] == [f"row {i}" for i in numbers]
    assert len(rows.notes) == bool(note)
    assert note in "".join(rows.notes)


def test_validation_replaces_a_missing_test_split(folder: Folder) -> None:
    source = folder(train=1100, validation=9)
    halved = load_splits(source, toy("official", splits=ALL))
    assert halved.validation["official_row"][:] == cut(9)[:4]
    assert halved.test["official_row"][:] == cut(9)[4:]
    assert halved.notes == ("toy has no test split here: its validation split is halved",)
    held_out = load_splits(source, toy("hold-out-train", splits=TEST, max_training_rows=50))
    assert held_out.train["official_row"][:] == cut(1100)[1000:1050]
    assert held_out.test["official_row"][:] == list(range(9))
    assert held_out.notes == ("toy has no test split here: its validation split tests",)


@pytest.mark.parametrize("rule", ["halve-validation", "hold-out-train"])
def test_too_small_to_cut(folder: Folder, rule: str) -> None:
    fault = r"validation.parquet has one row: halving|train.parquet has 9 rows: holding out a tenth"
    with pytest.raises(DataError, match=fault):
        load_splits(folder(train=9, validation=1), toy(rule))


def test_notes_on_rows(folder: Folder) -> None:
    """Defects of texts are counted, and row counts compared with those of the hub."""
    defect_of = lambda row: "the label is 2" if row["label"] == 2 else None  # noqa: E731
    task = toy(defect_of=defect_of, rows={"train": 7, "validation": 4})
    source = folder(train=10, validation=2)
    defects = "toy: in 3 of 10 training rows the label is 2"
    assert load_splits(source, task).notes == (defects,)
    source.kind = "hub"
    counts = (
        "the hub's toy train split has 10 rows, not the 7 expected",
        "the hub's toy validation split has 2 rows, not the 4 expected",
    )
    assert load_splits(source, task).notes == (*counts, defects)


@pytest.mark.parametrize(("scores", "doubtful"), [([0.0, 0.4, 1.0], True), ([0.5, 2.0], False)])
def test_scores_on_another_scale(tmp_path: Path, scores: list[float], doubtful: bool) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "label": score} for score in scores]
    (tmp_path / "stsb").mkdir()
    for split in TWO:
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / "stsb" / f"{split}.parquet")
    notes = load_splits(open_source(str(tmp_path)), get_task("stsb")).notes
    assert (
        notes == ("stsb: all training scores lie between 0 and 1, the scale is 0 to 5",) * doubtful
    )


def rows_with(labels: list[int]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"label": labels, "official_row": range(len(labels))})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 2**31)
)
def test_few_shot_samples_are_balanced(labels: list[int], shots: int, seed: int) -> None:
    shots = min(shots, len(labels))
    chosen = sample_shots(toy(), rows_with(labels), shots, seed)
    assert len(chosen) == len(set(chosen)) == shots
    available, taken = Counter(labels), Counter(labels[i] for i in chosen)
    for poorer in available:
        if taken[poorer] < available[poorer]:  # has rows left, so no class is ahead by two
            assert all(taken[richer] <= taken[poorer] + 1 for richer in available)


def test_few_shot_depends_on_seed_task_and_shots() -> None:
    assert 2000 in sample_shots(toy(), rows_with([0, 1] * 1000 + [2]), 3, 1)
    rows = rows_with([0, 1, 2] * 50)
    first = sample_shots(toy(), rows, 16, 42)
    assert sample_shots(toy(), rows, 16, 42) == first
    for task, shots, seed in ((toy(), 16, 43), (toy(), 17, 42), (toy(name="other"), 16, 42)):
        assert set(sample_shots(task, rows, shots, seed)) != set(first)


@pytest.mark.parametrize("name", ["boolq", "cb", "stsb", "squad", "e2e", "mnli", "wsc.fixed"])
def test_few_shot_rows_of_the_smoke_records(name: str) -> None:
    """As the first edition recorded them: 16 of the bundled samples."""
    task = get_task(name)
    train = load_splits(open_source("bundled"), task).train
    for seed in (42, 43, 44):
        (file,) = RECORDS.glob(f"{name}-pt-16-{seed}-*.json")
        recorded = json.loads(file.read_text("utf-8"))["rows"]["few_shot"]
        assert train.select(sample_shots(task, train, 16, seed))["official_row"][:] == recorded


def test_impossible_samples() -> None:
    for shots, message in (
        (4, "toy has 3 training rows, fewer than the 4 shots"),
        (3, "row 1: label 7 is none of 0, 1, 2"),
    ):
        with pytest.raises(DataError, match=message):
            sample_shots(toy(), rows_with([0, 7, 1]), shots, 1)
