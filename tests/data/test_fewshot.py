"""Few-shot samples: size, balance, and what they depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import sample_shots
from bench.errors import ConfigError, DataError
from bench.tasks.task import Task

Toy = Callable[..., Task]


def rows_with(labels: list[int]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"sentence": ["x"] * len(labels), "label": labels})


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    shots=st.integers(1, 60),
    seed=st.integers(0, 2**31),
)
def test_as_equal_over_the_classes_as_the_rows_allow(
    toy: Toy, labels: list[int], shots: int, seed: int
) -> None:
    shots = min(shots, len(labels))
    chosen = sample_shots(toy(), rows_with(labels), shots, seed)
    assert len(chosen) == len(set(chosen)) == shots

    available = Counter(labels)
    taken = Counter(labels[i] for i in chosen)
    for poorer in available:
        if taken[poorer] < available[poorer]:  # has rows left, so no class is ahead by two
            assert all(taken[richer] <= taken[poorer] + 1 for richer in available)


def test_remainder_goes_to_the_classes_that_come_first(toy: Toy) -> None:
    """With one row of each class per block, whoever is drawn for one shot comes first."""
    rows = rows_with([0, 1, 2] * 40)
    for seed in range(20):
        chosen = sample_shots(toy(), rows, 7, seed)
        counts = Counter(i % 3 for i in chosen)
        assert counts.most_common()[0] == (chosen[0] % 3, 3)
        assert sorted(counts.values()) == [2, 2, 3]


def test_full_remainder_where_the_published_code_stops_short(toy: Toy) -> None:
    """32 shots of three classes: DePT's loop ends with 30."""
    assert len(sample_shots(toy(), rows_with([0, 1, 2] * 40), 32, 42)) == 32


def test_a_class_without_rows_leaves_its_turns_to_the_others(toy: Toy) -> None:
    chosen = sample_shots(toy(), rows_with([0] * 50 + [1] * 50 + [2]), 9, 3)
    assert Counter(min(i // 50, 2) for i in chosen) == {0: 4, 1: 4, 2: 1}


def test_reads_no_more_rows_than_it_needs(toy: Toy) -> None:
    seen = []

    def label_of(row: dict[str, int]) -> int:
        seen.append(row)
        return row["label"]

    rows = rows_with([0, 1, 2] * 2000)
    few = sample_shots(toy(label_of=label_of), rows, 6, 1)
    assert len(seen) < 600
    assert few == sample_shots(toy(label_of=label_of, labels=None), rows, 6, 1)


def test_looks_for_a_rare_class_to_the_end(toy: Toy) -> None:
    rows = rows_with([0, 1] * 1000 + [2])
    for seed in range(5):
        assert 2000 in sample_shots(toy(), rows, 3, seed)


def test_classes_of_a_task_without_labels(toy: Toy) -> None:
    """stsb: scores, told apart at 2.5 for sampling alone."""
    task = toy(labels=None, label_of=lambda row: int(row["label"] > 25))
    chosen = sample_shots(task, rows_with(list(range(60))), 8, 5)
    assert sum(i > 25 for i in chosen) == 4


def test_depends_on_seed_task_and_shots_alone(toy: Toy) -> None:
    rows = rows_with([0, 1, 2] * 50)
    first = sample_shots(toy(), rows, 16, 42)
    others = [
        sample_shots(toy(), rows, 16, 43),
        sample_shots(toy(), rows, 17, 42),
        sample_shots(toy(name="other"), rows, 16, 42),
    ]
    assert sample_shots(toy(), rows, 16, 42) == first
    assert all(set(first) != set(other) for other in others)


def test_sample_is_the_same_on_every_machine(toy: Toy) -> None:
    """Written down once: a change would silently change every few-shot result."""
    chosen = sample_shots(toy(), rows_with([0, 1, 2] * 50), 5, 42)
    assert chosen == [113, 72, 28, 104, 3]


def test_without_classes_any_rows(toy: Toy) -> None:
    task = toy(label_of=None, labels=None)
    chosen = sample_shots(task, rows_with([0] * 30), 30, 1)
    assert sorted(chosen) == list(range(30))
    assert chosen != list(range(30))


@pytest.mark.parametrize("shots", [0, -1])
def test_no_shots(toy: Toy, shots: int) -> None:
    with pytest.raises(ConfigError, match=f"{shots} shots: ask for at least one"):
        sample_shots(toy(), rows_with([0, 1]), shots, 1)


def test_more_shots_than_rows(toy: Toy) -> None:
    with pytest.raises(DataError, match="toy has 2 training rows, fewer than the 3 shots"):
        sample_shots(toy(), rows_with([0, 1]), 3, 1)


def test_label_out_of_range_names_the_row(toy: Toy) -> None:
    with pytest.raises(DataError, match="row 1: label 7 is none of 0, 1, 2"):
        sample_shots(toy(), rows_with([0, 7, 1]), 3, 1)
