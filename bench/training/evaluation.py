"""Decode answers on a split and score them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bench.data import EncodedExamples, evaluation_batches
from bench.models.base import FrozenLM
from bench.protocol import Batch
from bench.tasks import Task
from bench.tasks.metrics import TaskScores, score_task

PromptSource = Callable[[Batch], Tensor]
"""Gives the prompt ``(B, r, d)`` or ``(1, r, d)`` for a batch."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split with the answers they rest on.

    Attributes:
        scores: all metrics of the task.
        predictions: one answer per example, in the order of the examples.
    """

    scores: TaskScores
    predictions: list[str]


def fixed_prompt(matrix: Tensor) -> PromptSource:
    """One matrix ``(r, d)`` for every input."""
    prompt = matrix.unsqueeze(0)
    return lambda batch: prompt


def evaluate(
    model: FrozenLM,
    prompt: PromptSource,
    examples: EncodedExamples,
    task: Task,
    batch_size: int,
    beams: int = 1,
) -> Evaluation:
    """Answer every example and score the answers.

    Args:
        model: the frozen language model.
        prompt: gives the prompt of each batch.
        examples: to answer.
        task: says how long answers are, and how they are scored.
        batch_size: examples that are answered at once.
        beams: of the search; 1: greedy.
    """
    predictions = [""] * len(examples)
    with model.inference():
        for indices, batch in evaluation_batches(examples, batch_size):
            batch = batch.to(model.device)
            answers = model.answer(prompt(batch), batch, task.target_length, beams)
            for index, answer in zip(indices, answers, strict=True):
                predictions[index] = answer
    scores = score_task(task, predictions, examples.references, examples.groups)
    return Evaluation(scores, predictions)
