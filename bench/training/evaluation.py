"""Evaluation: decodes answers on a split and scores them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from bench.data import EncodedExamples, evaluation_batches
from bench.method import Batch
from bench.models.base import FrozenLM
from bench.tasks.base import Task
from bench.tasks.metrics import TaskScores, score_task
from bench.training.stopping import Stop

PromptSource = Callable[[Batch], Tensor]  # From a batch to its prompt, (B, r, d) or (1, r, d).

NO_MEMORY = re.compile(
    r"out.?of.?(\w+.)?(memory|resources)|not enough memory|bad.?alloc|alloc(ation)?.?failed"
    r"|allocate|memory.?allocation|insufficient.?resources|resource.?exhausted|not_initialized.*create",
    re.IGNORECASE | re.DOTALL,
)
"""Out-of-memory messages of PyTorch and of the libraries it calls."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split, and the predictions in the order of the examples."""

    scores: TaskScores
    predictions: list[str]
    micro_batch_size: int | None = None  # Rows per pass, if reduced for lack of memory.


def fixed_prompt(matrix: Tensor) -> PromptSource:
    """Prompt source with one matrix ``(r, d)`` for every input."""
    return lambda batch: matrix.unsqueeze(0)


def evaluate(
    model: FrozenLM,
    prompt_source: PromptSource,
    examples: EncodedExamples,
    task: Task,
    batch_size: int,
    beams: int = 1,
    stop: Stop | None = None,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> Evaluation:
    """Answer every example and score the answers; ``stop`` is checked before each batch.

    ``tell`` is called before each batch with the numbers of answered and of all examples.
    """

    def answer(prompt: Tensor, batch: Batch, rows: int) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(batch), rows):
            prompts = prompt if len(prompt) == 1 else prompt[start : start + rows]
            part = batch.rows(start, start + rows)
            answers += model.answer(prompts, part, task.target_length, beams)
        return answers

    predictions, done = [""] * len(examples), 0
    micro_batch_size: int | None = None
    with model.inference():
        for indices, batch in evaluation_batches(examples, batch_size):
            if stop is not None:
                stop.check()
            tell(done, len(examples))
            done += len(indices)
            batch = batch.to(model.device)
            prompt = prompt_source(batch)  # Once per batch, as methods may count calls.
            limit = micro_batch_size or len(batch)
            answers, rows = halve_until_fits(partial(answer, prompt, batch), limit)
            if rows < limit:
                micro_batch_size = rows
            for index, text in zip(indices, answers, strict=True):
                predictions[index] = text
    scores = score_task(task, predictions, examples.references, examples.groups)
    return Evaluation(scores, predictions, micro_batch_size)


def halve_until_fits(compute: Callable[[int], ResultT], rows: int) -> tuple[ResultT, int]:
    """Result of ``compute(rows)``, and ``rows``, which is halved while memory runs out."""
    while True:
        try:
            return compute(rows), rows
        except (RuntimeError, MemoryError) as error:
            no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
            if rows == 1 or not (no_memory or NO_MEMORY.search(str(error))):
                raise
        # Outside the handler, as the exception keeps the tensors of the failed pass alive.
        rows = (rows + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
