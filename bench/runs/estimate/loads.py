"""How much work a training or an evaluation is: counts that follow from the data alone.

Tokens are those of the texts, without prompt and padding. Positions are what the model computes:
prompt and padding included, so seconds follow them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.data import BucketedSampler, batch_indices, steps_per_epoch
from bench.training.settings import TrainingSettings

MOST_BATCHES = 64
"""Batches that are looked at for the mean number of positions of a step."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the encoded examples of one split.

    Attributes:
        inputs: of each example that was read.
        answers: of its right answer.
        share: of the split's rows that were read; 1.0: all.
    """

    inputs: Sequence[int]
    answers: Sequence[int]
    share: float = 1.0

    @property
    def examples(self) -> int:
        """Of the whole split; scaled up if only a part was read."""
        return round(len(self.inputs) / self.share)


@dataclass(frozen=True)
class TrainingLoad:
    """One training.

    Attributes:
        steps: optimiser steps, if nothing ends it early.
        tokens: of inputs and right answers in all its batches.
        positions: of one step, on average.
        evaluations: on validation.
    """

    steps: int
    tokens: float
    positions: float
    evaluations: int


@dataclass(frozen=True)
class EvaluationLoad:
    """Answers to one split, or to several.

    Attributes:
        rows: examples that are answered.
        tokens: of their inputs.
        batches: in which they are answered.
        answer_steps: most tokens that the decoder writes, one after the other, in all batches.
        positions: that the model reads.
    """

    rows: float = 0
    tokens: float = 0
    batches: float = 0
    answer_steps: float = 0
    positions: float = 0

    def __add__(self, other: EvaluationLoad) -> EvaluationLoad:
        return EvaluationLoad(
            self.rows + other.rows,
            self.tokens + other.tokens,
            self.batches + other.batches,
            self.answer_steps + other.answer_steps,
            self.positions + other.positions,
        )


def positions(inputs: Sequence[int], answers: Sequence[int], prompt_length: int) -> int:
    """Positions of one training batch: each row is padded to the longest, behind the prompt."""
    return len(inputs) * (prompt_length + max(inputs) + max(answers))


def task_training(
    lengths: Lengths, settings: TrainingSettings, steps: int, seed: int, prompt_length: int
) -> TrainingLoad:
    """A training on one task: its batches are those of :class:`bench.training.streams.TaskStream`.

    Args:
        lengths: of the training examples.
        settings: of the training.
        steps: of the whole training.
        seed: of the order of the examples.
        prompt_length: tokens of the prompt.
    """
    read, batch_size = len(lengths.inputs), settings.batch_size
    buckets = BucketedSampler(lengths.inputs, batch_size, seed)
    both = [i + a for i, a in zip(lengths.inputs, lengths.answers, strict=True)]

    def batch(step: int) -> list[int]:
        if settings.batching == "bucketed":
            return buckets.indices(step)
        return batch_indices(read, batch_size, seed, step)

    a_epoch = steps_per_epoch(read, batch_size)
    epochs, rest = divmod(steps, a_epoch)
    tokens = epochs * sum(both)
    tokens += sum(both[i] for step in range(steps - rest, steps) for i in batch(step))
    looked_at = [batch(step) for step in range(min(steps, a_epoch, MOST_BATCHES))]
    padded = [
        positions(
            [lengths.inputs[i] for i in chosen], [lengths.answers[i] for i in chosen], prompt_length
        )
        for chosen in looked_at
    ]
    return TrainingLoad(
        steps, tokens, sum(padded) / len(padded), evaluations(steps, settings.evaluate_every)
    )


def evaluations(steps: int, every: int) -> int:
    """How often a training of so many steps is evaluated: at intervals, and at its end."""
    return -(-steps // every)


def evaluation(
    lengths: Lengths, batch_size: int, answer_length: int, prompt_length: int
) -> EvaluationLoad:
    """Answers to a split, in the batches of :func:`bench.data.evaluation_batches`.

    Args:
        lengths: of its examples.
        batch_size: examples that are answered at once.
        answer_length: most tokens of an answer.
        prompt_length: tokens of the prompt.
    """
    # Of a part of the rows, as many batches are made as of all: each stands for its rows' share.
    at_once = max(1, round(batch_size * lengths.share))
    longest_first = sorted(lengths.inputs, reverse=True)
    padded = 0
    for start in range(0, len(longest_first), at_once):
        rows = longest_first[start : start + at_once]
        padded += len(rows) * (prompt_length + rows[0])
    batches = -(-lengths.examples // batch_size)
    return EvaluationLoad(
        lengths.examples,
        sum(lengths.inputs) / lengths.share,
        batches,
        batches * answer_length,
        padded / lengths.share,
    )
