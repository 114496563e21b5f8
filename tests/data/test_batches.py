"""Batches: padding, epochs, mixtures, evaluation order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data import (
    BucketedSampler,
    DataSource,
    Example,
    MixtureSampler,
    batch_indices,
    collate,
    encode_examples,
    evaluation_batches,
    steps_per_epoch,
)
from bench.tasks.task import Task

IDS = st.lists(st.integers(0, 50), min_size=1, max_size=9)
EXAMPLES = st.lists(st.builds(Example, input_ids=IDS, labels=IDS), min_size=1, max_size=6)


@given(examples=EXAMPLES, pad_id=st.integers(0, 50))
def test_padding_adds_nothing_that_counts(examples: list[Example], pad_id: int) -> None:
    """Also where the text itself holds the id of the padding."""
    batch = collate(examples, pad_id)
    longest = max(len(example["input_ids"]) for example in examples)
    assert batch.input_ids.shape == batch.mask.shape == (len(examples), longest)
    assert batch.labels.shape[1] == max(len(example["labels"]) for example in examples)
    for i, example in enumerate(examples):
        assert batch.input_ids[i][batch.mask[i] == 1].tolist() == example["input_ids"]
        assert batch.input_ids[i][batch.mask[i] == 0].eq(pad_id).all()
        assert batch.mask[i].tolist() == sorted(batch.mask[i].tolist(), reverse=True)
        assert batch.labels[i][batch.labels[i] != -100].tolist() == example["labels"]


def test_collated_types_and_tasks() -> None:
    example = Example(input_ids=[3], labels=[4, 1])
    batch = collate([example, example], 0, task_ids=[5, 2])
    assert batch.task_ids is not None
    assert batch.task_ids.tolist() == [5, 2]
    assert batch.input_ids.dtype == batch.labels.dtype == batch.task_ids.dtype == torch.long
    assert collate([example], 0).task_ids is None


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 9))
def test_each_epoch_sees_every_row_once(n: int, batch_size: int, seed: int) -> None:
    steps = steps_per_epoch(n, batch_size)
    for epoch in range(3):
        batches = [batch_indices(n, batch_size, seed, epoch * steps + i) for i in range(steps)]
        assert sorted(itertools.chain(*batches)) == list(range(n))
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert 1 <= len(batches[-1]) <= batch_size


def test_epochs_and_seeds_have_their_own_orders() -> None:
    orders = [batch_indices(30, 30, seed, step) for seed in (1, 2) for step in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_step_is_the_same_whatever_came_before() -> None:
    in_order = [batch_indices(25, 4, 7, step) for step in range(20)]
    torch.manual_seed(0)
    backwards = [batch_indices(25, 4, 7, step) for step in reversed(range(20))]
    assert in_order == backwards[::-1]


LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=300)


@given(lengths=LENGTHS, batch_size=st.integers(1, 20), seed=st.integers(0, 9))
def test_buckets_hold_every_row_once_an_epoch(
    lengths: list[int], batch_size: int, seed: int
) -> None:
    """In batches of the same sizes as at random, so that both see as much in as many steps."""
    sampler = BucketedSampler(lengths, batch_size, seed)
    n = len(lengths)
    steps = steps_per_epoch(n, batch_size)
    for epoch in range(2):
        batches = [sampler.indices(epoch * steps + i) for i in range(steps)]
        assert sorted(itertools.chain(*batches)) == list(range(n))
        at_random = [batch_indices(n, batch_size, seed, epoch * steps + i) for i in range(steps)]
        assert list(map(len, batches)) == list(map(len, at_random))


@given(lengths=LENGTHS, batch_size=st.integers(1, 20), steps=st.lists(st.integers(0, 60)))
def test_a_bucketed_step_is_the_same_whatever_came_before(
    lengths: list[int], batch_size: int, steps: list[int]
) -> None:
    jumping = BucketedSampler(lengths, batch_size, 7)
    for step in steps:
        assert jumping.indices(step) == BucketedSampler(lengths, batch_size, 7).indices(step)


def padding(batches: list[list[int]], lengths: list[int]) -> int:
    return sum(max(lengths[i] for i in batch) - lengths[j] for batch in batches for j in batch)


@given(lengths=LENGTHS, batch_size=st.integers(1, 16))
def test_buckets_never_pad_more_than_random_batches(lengths: list[int], batch_size: int) -> None:
    steps = range(2 * steps_per_epoch(len(lengths), batch_size))
    sampler = BucketedSampler(lengths, batch_size, 1)
    bucketed = [sampler.indices(step) for step in steps]
    at_random = [batch_indices(len(lengths), batch_size, 1, step) for step in steps]
    assert padding(bucketed, lengths) <= padding(at_random, lengths)


def test_buckets_come_in_a_random_order() -> None:
    """Ten thousand rows of all lengths: the mean length of a batch says nothing of its step."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 400, (10_000,), generator=draw).tolist()
    sampler = BucketedSampler(lengths, 10, 3)
    means = torch.tensor(
        [sum(lengths[i] for i in sampler.indices(step)) / 10 for step in range(1000)]
    )
    steps = torch.arange(1000.0)
    assert means.std() > 100  # Uniform lengths have 115; those of random batches have 36.
    # Five standard deviations of a correlation of 1,000 independent pairs, and of neighbours.
    assert torch.corrcoef(torch.stack([means, steps]))[0, 1].abs() < 0.16
    assert torch.corrcoef(torch.stack([means[1:], means[:-1]]))[0, 1].abs() < 0.16
    assert sampler.indices(0) != sampler.indices(1000)
    assert sampler.indices(0) != BucketedSampler(lengths, 10, 4).indices(0)


def test_mixture_draws_within_each_task() -> None:
    sampler = MixtureSampler([3, 1, 50], seed=1)
    drawn = sampler.draw(5, [2, 0, 0, 1])
    assert [task for task, _ in drawn] == [2, 0, 0, 1]
    assert all(0 <= row < sampler.sizes[task] for task, row in drawn)
    assert MixtureSampler([3, 1, 50], seed=1).draw(5, [2, 0, 0, 1]) == drawn
    assert sampler.draw(6, [2] * 8) != sampler.draw(5, [2] * 8)
    assert MixtureSampler([3, 1, 50], seed=2).draw(5, [2] * 8) != sampler.draw(5, [2] * 8)


def test_mixture_is_uniform_within_a_task() -> None:
    sampler = MixtureSampler([4], seed=3)
    counts = torch.bincount(
        torch.tensor([row for step in range(500) for _, row in sampler.draw(step, [0] * 8)])
    )
    # 4,000 draws: five standard deviations of a quarter are 137.
    assert (counts - 1000).abs().max() < 137


def test_evaluation_takes_the_longest_first_and_each_once(
    toy: Callable[..., Task], folder: Callable[..., DataSource], encoder: Any
) -> None:
    texts = ["a b c", "a", "a b c d e", "a b", "a"]
    source = folder(validation=[{"sentence": text, "label": 0} for text in texts])
    examples = encode_examples(source.load(toy(), "validation"), toy(), encoder, training=False)
    batches = list(evaluation_batches(examples, 2))
    assert [indices for indices, _ in batches] == [[2, 0], [3, 1], [4]]
    for indices, batch in batches:
        assert batch.mask.sum(1).tolist() == [len(texts[i].split()) + 4 for i in indices]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_evaluation_with_any_batch_size(
    toy: Callable[..., Task], folder: Callable[..., DataSource], encoder: Any, batch_size: int
) -> None:
    examples = encode_examples(
        folder(validation=7).load(toy(), "validation"), toy(), encoder, training=False
    )
    seen = [i for indices, _ in evaluation_batches(examples, batch_size) for i in indices]
    assert sorted(seen) == list(range(7))
