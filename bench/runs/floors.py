"""What a task scores without any training: by one constant answer, and by the model alone.

A tuned prompt says something only above both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from bench.models.base import FrozenLM
from bench.runs.examples import Examples
from bench.tasks.metrics import score_task
from bench.training.evaluation import evaluate, fixed_prompt


@dataclass(frozen=True)
class Floor:
    """Test scores in the task's own metric, percent.

    Attributes:
        task: name of the task.
        metric: its metric in tables.
        rows: number of test examples.
        answer: the most frequent training answer; the first in the alphabet wins a tie.
        constant: score of always giving it; correlations are 0, as nothing varies.
        no_prompt: score of the model's own answers to the published text with nothing in front.
    """

    task: str
    metric: str
    rows: int
    answer: str
    constant: float
    no_prompt: float


def floor(model: FrozenLM, examples: Examples, name: str, batch_size: int) -> Floor:
    """Score a task without a prompt.

    Raises:
        DataError: rows are missing or unusable.
    """
    task = examples.task(name)
    rows = examples.evaluation(name, "test")
    counts = Counter(text.strip() for text in examples.training(name, None, 0).encoded.targets)
    answer = min(counts, key=lambda text: (-counts[text], text))
    constant = score_task(task, [answer] * len(rows), rows.references, rows.groups)
    empty = torch.empty(0, model.width, device=model.device)
    alone = evaluate(model, fixed_prompt(empty), rows, task, batch_size)
    metric = task.metrics[0]
    return Floor(
        name, metric, len(rows), answer, constant.metrics[metric], alone.scores.metrics[metric]
    )
