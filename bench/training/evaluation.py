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
from bench.training.memory import is_out_of_memory, release_memory, rows_of

PromptSource = Callable[[Batch], Tensor]
"""Gives the prompt ``(B, r, d)`` or ``(1, r, d)`` for a batch."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split with the answers they rest on.

    Attributes:
        scores: all metrics of the task.
        predictions: one answer per example, in the order of the examples.
        micro_batch_size: most rows answered at once, if memory ran out with more.
    """

    scores: TaskScores
    predictions: list[str]
    micro_batch_size: int | None = None


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

    Where memory runs out, the rows that are answered at once are halved until they fit, and stay
    so for the rest of the examples.

    Args:
        model: the frozen language model.
        prompt: gives the prompt of each batch.
        examples: to answer.
        task: says how long answers are, and how they are scored.
        batch_size: examples that are answered at once.
        beams: of the search; 1: greedy.
    """
    predictions = [""] * len(examples)
    answering = _Answering(model, task.target_length, beams)
    with model.inference():
        for indices, batch in evaluation_batches(examples, batch_size):
            batch = batch.to(model.device)
            answers = answering.answers(prompt(batch), batch)
            for index, answer in zip(indices, answers, strict=True):
                predictions[index] = answer
    scores = score_task(task, predictions, examples.references, examples.groups)
    return Evaluation(scores, predictions, answering.rows)


class _Answering:
    """Answers batches, in parts once memory has run out.

    Args:
        model: the frozen language model.
        length: most tokens of an answer.
        beams: of the search.
    """

    def __init__(self, model: FrozenLM, length: int, beams: int) -> None:
        self.model = model
        self.length = length
        self.beams = beams
        self.rows: int | None = None  # At once; None: whole batches fit so far.

    def answers(self, prompt: Tensor, batch: Batch) -> list[str]:
        """Answers to a batch with its prompt ``(B, r, d)`` or ``(1, r, d)``.

        The prompt is made once for a batch, as methods keep count of what they are asked.
        """
        answers: list[str] = []
        while len(answers) < len(batch):
            rows = self.rows or len(batch)
            here = slice(len(answers), len(answers) + rows)
            own = prompt if len(prompt) == 1 else prompt[here]
            part = self._answer(own, rows_of(batch, here))
            if part is None:  # Out of the handler, as the error holds on to what the pass made.
                release_memory()
            else:
                answers += part
        return answers

    def _answer(self, prompt: Tensor, part: Batch) -> list[str] | None:
        """The answers; None if memory ran out, with fewer rows at once from now on."""
        try:
            return self.model.answer(prompt, part, self.length, self.beams)
        except Exception as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
        self.rows = (len(part) + 1) // 2
        return None
