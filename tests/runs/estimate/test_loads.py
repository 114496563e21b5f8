"""Counts of steps, tokens and positions against hand counts and against the real batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import EncodedExamples, evaluation_batches
from bench.protocol import IGNORED_LABEL
from bench.runs.estimate.loads import (
    EvaluationLoad,
    Lengths,
    evaluation,
    evaluations,
    positions,
    task_training,
)
from bench.training.settings import Batching, TrainingSettings
from bench.training.streams import TaskStream

sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=12)


def encoded(examples: Sequence[tuple[int, int]]) -> EncodedExamples:
    """Examples with inputs and answers of given lengths."""
    table = datasets.Dataset.from_dict(
        {
            "input_ids": [[7] * inputs for inputs, _ in examples],
            "labels": [[5] * answers for _, answers in examples],
            "length": [inputs for inputs, _ in examples],
        }
    )
    return EncodedExamples(table, pad_id=0)


def training_settings(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {
        "steps": 7,
        "epochs": None,
        "warmup_steps": 0,
        "gradient_clip": None,
        "patience": None,
        "evaluation_batch_size": 1,
    }
    return TrainingSettings(**{**values, **changes})


def lengths(examples: Sequence[tuple[int, int]], share: float = 1.0) -> Lengths:
    return Lengths([inputs for inputs, _ in examples], [answers for _, answers in examples], share)


def test_positions_of_a_batch_by_hand() -> None:
    # Two rows behind a prompt of 10: inputs padded to 5, answers to 2.
    assert positions([3, 5], [1, 2], 10) == 2 * (10 + 5 + 2)


def test_a_training_by_hand() -> None:
    # All three examples in every batch: 3+5+2 input tokens and 1+1+2 answer tokens a step.
    chosen = training_settings(batch_size=4, evaluate_every=3)
    load = task_training(lengths([(3, 1), (5, 1), (2, 2)]), chosen, 7, 42, 10)
    assert load.steps == 7
    assert load.tokens == 7 * 14
    assert load.positions == 3 * (10 + 5 + 2)
    assert load.evaluations == 3  # After steps 3 and 6, and at the end.


@given(
    sizes,
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from(["random", "bucketed"]),
)
@settings(max_examples=60, deadline=None)
def test_tokens_are_those_of_the_real_batches(
    examples: list[tuple[int, int]], batch_size: int, steps: int, seed: int, batching: Batching
) -> None:
    stream = TaskStream(encoded(examples), batch_size, seed, torch.device("cpu"), batching)
    batches = [stream.batch(step) for step in range(1, steps + 1)]
    chosen = training_settings(batch_size=batch_size, evaluate_every=10, batching=batching)
    load = task_training(lengths(examples), chosen, steps, seed, 6)
    tokens = sum(int(b.mask.sum() + (b.labels != IGNORED_LABEL).sum()) for b in batches)
    assert load.tokens == tokens
    padded = [len(b) * (6 + b.input_ids.shape[1] + b.labels.shape[1]) for b in batches]
    an_epoch = padded[: -(-len(examples) // batch_size)]
    assert load.positions == pytest.approx(sum(an_epoch) / len(an_epoch))


@pytest.mark.parametrize(
    ("steps", "every", "expected"), [(40, 20, 2), (41, 20, 3), (5, 20, 1), (1, 1, 1)]
)
def test_evaluations(steps: int, every: int, expected: int) -> None:
    assert evaluations(steps, every) == expected


def test_an_evaluation_by_hand() -> None:
    load = evaluation(Lengths([4, 1, 3, 2, 9], [1] * 5), 2, 20, 10)
    # Longest first, in twos: 9 with 4, 3 with 2, and 1.
    assert load == EvaluationLoad(5, 19, 3, 60, 2 * 19 + 2 * 13 + 1 * 11)


@given(sizes, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_evaluations_are_the_real_batches(examples: list[tuple[int, int]], size: int) -> None:
    batches = [batch for _, batch in evaluation_batches(encoded(examples), size)]
    load = evaluation(lengths(examples), size, 20, 6)
    assert (load.rows, load.batches) == (len(examples), len(batches))
    assert load.tokens == sum(int(batch.mask.sum()) for batch in batches)
    assert load.positions == sum(len(b) * (6 + b.input_ids.shape[1]) for b in batches)


def test_a_part_of_the_rows_stands_for_all() -> None:
    whole, part = [5, 5, 4, 4, 3, 3, 2, 2] * 10, [5, 4, 3, 2] * 10
    full = evaluation(Lengths(whole, [1] * 80), 8, 20, 6)
    assert evaluation(Lengths(part, [1] * 40, share=0.5), 8, 20, 6) == full
    assert Lengths(part, [1] * 40, share=0.5).examples == 80


def test_evaluations_add_up() -> None:
    one, two = EvaluationLoad(1, 2, 3, 4, 5), EvaluationLoad(10, 20, 30, 40, 50)
    assert one + two == EvaluationLoad(11, 22, 33, 44, 55)
