"""Batches: padding, epochs, buckets, mixtures, evaluation order."""

import itertools
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import EncodedExamples, MixtureBatches, TaskBatches, evaluation_batches
from bench.data.encoding import Example, collate
from bench.method import Batch

CPU = torch.device("cpu")
IDS = st.lists(st.integers(0, 50), min_size=1, max_size=9)
ROW = st.fixed_dictionaries({"input_ids": IDS, "labels": IDS})
EXAMPLES = st.lists(ROW, min_size=1, max_size=6)
LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=300)


class Encoded:
    """Encoded examples whose ids are their indices."""

    pad_id = 0

    def __init__(self, lengths: list[int], base: int = 0) -> None:
        self.lengths = lengths
        self.base = base

    def __len__(self) -> int:
        return len(self.lengths)

    def examples(self, indices: list[int]) -> list[Example]:
        return [{"input_ids": [self.base + i], "labels": [1]} for i in indices]

    def batch(self, indices: list[int]) -> Batch:
        return collate(self.examples(indices), 0)


def batches(lengths: list[int], size: int, seed: int = 7, batching: Any = "random") -> TaskBatches:
    return TaskBatches(Encoded(lengths), size, seed, CPU, batching)


@given(examples=EXAMPLES, pad_id=st.integers(0, 50))
def test_padding_adds_nothing_that_counts(examples: list[Example], pad_id: int) -> None:
    batch = collate(examples, pad_id)
    longest = max(len(example["input_ids"]) for example in examples)
    assert batch.input_ids.shape == batch.mask.shape == (len(examples), longest)
    assert batch.labels.shape[1] == max(len(example["labels"]) for example in examples)
    assert {batch.input_ids.dtype, batch.mask.dtype, batch.labels.dtype} == {torch.long}
    for i, example in enumerate(examples):
        assert batch.input_ids[i][batch.mask[i] == 1].tolist() == example["input_ids"]
        assert batch.input_ids[i][batch.mask[i] == 0].eq(pad_id).all()
        assert batch.mask[i].tolist() == sorted(batch.mask[i].tolist(), reverse=True)
        assert batch.labels[i][batch.labels[i] != -100].tolist() == example["labels"]


@settings(deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 50), seed=st.integers(0, 9))
def test_each_epoch_sees_every_row_once(lengths: list[int], size: int, seed: int) -> None:
    """Bucketed or not, in batches of equal sizes; earlier steps do not matter."""
    n, steps = len(lengths), -(-len(lengths) // size)
    for batching in ("random", "bucketed"):
        stream, seen = batches(lengths, size, seed, batching), 0
        for epoch in range(2):
            drawn = [stream.indices(epoch * steps + i + 1) for i in range(steps)]
            assert sorted(itertools.chain(*drawn)) == list(range(n))
            assert [len(rows) for rows in drawn[:-1]] == [size] * (steps - 1)
            for i, rows in enumerate(drawn):
                seen += len(rows)
                assert stream.seen(epoch * steps + i + 1) == seen
        again = batches(lengths, size, seed, batching)
        assert again.indices(2 * steps) == drawn[-1]
        assert again.batch(1).input_ids.flatten().tolist() == again.indices(1)


def test_orders_of_epochs_and_seeds() -> None:
    orders = [batches([1] * 30, 30, seed).indices(step) for seed in (1, 2) for step in (1, 2)]
    assert len({tuple(order) for order in orders}) == 4
    # Written down once: a change would silently change all results.
    stream = batches([1] * 10, 4, 42)
    assert [stream.indices(step) for step in (1, 2, 3)] == [[0, 5, 4, 8], [3, 7, 9, 1], [6, 2]]
    stream = batches([5, 1, 4, 2, 3, 9, 8, 7, 6, 5], 4, 42, "bucketed")
    assert [stream.indices(step) for step in (1, 2, 3)] == [[4, 0, 8, 5], [1, 3, 9, 7], [6, 2]]


@settings(deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 16))
def test_buckets_never_pad_more_than_random_batches(lengths: list[int], size: int) -> None:
    def padding(batching: str) -> int:
        stream = batches(lengths, size, 1, batching)
        drawn = [stream.indices(1 + i) for i in range(2 * -(-len(lengths) // size))]
        return sum(max(lengths[i] for i in rows) - lengths[j] for rows in drawn for j in rows)

    assert padding("bucketed") <= padding("random")


def test_mixture_draws_rows_of_the_tasks_of_the_stage() -> None:
    """As the first edition drew them; other steps and seeds draw other rows."""
    stage: Any = SimpleNamespace(sample_tasks=lambda size, generator: [2, 0, 1, 2, 1])
    sources: Any = [Encoded([1] * n, base) for n, base in ((3, 0), (10, 100), (50, 200))]
    mixture = MixtureBatches(sources, stage, 5, 42, CPU)
    assert (mixture.examples, mixture.seen(5)) == (63, 25)
    batch = mixture.batch(1)
    assert batch.task_ids.tolist() == [2, 0, 1, 2, 1]
    assert batch.input_ids.flatten().tolist() == [206, 0, 102, 242, 105]
    for other in (mixture.batch(2), MixtureBatches(sources, stage, 5, 43, CPU).batch(1)):
        assert (other.input_ids // 100).flatten().tolist() == [2, 0, 1, 2, 1]
        assert other.input_ids.tolist() != batch.input_ids.tolist()


@pytest.mark.parametrize("size", [1, 2, 7])
def test_evaluation_takes_the_longest_first_and_each_once(size: int) -> None:
    lengths = [3, 1, 5, 2, 1]
    ids = [[7] * n for n in lengths]
    table = datasets.Dataset.from_dict({"input_ids": ids, "labels": ids, "length": lengths})
    found = list(evaluation_batches(EncodedExamples(table, 0), size))
    assert list(itertools.chain(*(indices for indices, _ in found))) == [2, 0, 3, 1, 4]
    for indices, batch in found:
        assert batch.mask.sum(1).tolist() == [lengths[i] for i in indices]
