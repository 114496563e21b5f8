"""The time of a cell grows with its steps, and with nothing else: least of all with its rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import datasets
import pytest
import torch

from baselines.pt import PromptTuning, PTSettings
from bench.data import EncodedExamples
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.training.loop import Trainer, Validation
from bench.training.settings import TrainingSettings
from bench.training.streams import TaskStream

BATCH = 16


@pytest.fixture(scope="module")
def model() -> FrozenLM:
    return load("tiny")


def examples(rows: int) -> EncodedExamples:
    """Made-up examples of 40 tokens."""
    row = {"input_ids": list(range(3, 43)), "labels": [3, 1]}
    return EncodedExamples(datasets.Dataset.from_list([row] * rows), 0)


def training(model: FrozenLM, encoded: EncodedExamples, steps: int) -> Callable[[], object]:
    """The training of a prompt with one evaluation, at the end."""
    settings = TrainingSettings(
        steps=steps,
        epochs=None,
        batch_size=BATCH,
        warmup_steps=0,
        evaluate_every=steps,
        gradient_clip=1.0,
        patience=None,
        evaluation_batch_size=1,
    )

    def train() -> None:
        module = PromptTuning(model.initial_prompt(20, 0), PTSettings())
        stream = TaskStream(encoded, BATCH, 0, torch.device("cpu"))
        Trainer(model, module, stream, settings, 0, lambda: Validation({"none": 0.0})).run()

    return train


def test_steps(model: FrozenLM, benchmark: Any, in_turn: Any, report: Any) -> None:
    """Four times as many steps take four times as long."""
    encoded = examples(1_000)
    actions = [training(model, encoded, steps) for steps in (20, 80)]
    few, many = benchmark.pedantic(lambda: in_turn(actions, 3), rounds=1)
    report(seconds_of_80_steps=many.medians(), over_20_steps=many.over(few))


def test_rows_of_a_training(model: FrozenLM, benchmark: Any, in_turn: Any, report: Any) -> None:
    """A hundred times as many rows take no longer, step for step."""
    actions = [training(model, examples(rows), 40) for rows in (2_000, 200_000)]
    few, many = benchmark.pedantic(lambda: in_turn(actions, 3), rounds=1)
    report(rows_200000_over_2000=many.over(few))


def test_rows_of_a_batch(benchmark: Any, in_turn: Any, report: Any) -> None:
    """The same for the batches alone, over which the order of an epoch is drawn now and then."""

    def batches(rows: int) -> Callable[[], object]:
        stream, steps = TaskStream(examples(rows), BATCH, 0, torch.device("cpu")), count(1)
        return lambda: [stream.batch(next(steps)) for _ in range(100)]

    few, many = benchmark.pedantic(
        lambda: in_turn([batches(2_000), batches(200_000)], 20), rounds=1
    )
    report(seconds_of_100_batches=many.medians(), rows_200000_over_2000=many.over(few))
