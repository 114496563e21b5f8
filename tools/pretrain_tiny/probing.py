"""How well a model answers held-out rows, with the published answers asked for and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from bench.models.base import FrozenLM
from bench.tasks import get_task
from tools.pretrain_tiny.steering import published_instruction
from tools.pretrain_tiny.students import Student
from tools.sample_world import SIZES, generate

PROBE_SEED = 1
"""Of the probed rows; the bundled ones have seed 0."""

INPUT_LENGTH, ANSWER_LENGTH = 128, 8
"""Tokens read and written."""


@dataclass(frozen=True)
class Probe:
    """Exact matches with the published answers, percent.

    Attributes:
        steered: with the instruction for published answers in front.
        bare: with nothing in front.
    """

    steered: float
    bare: float


def probe(model: nn.Module, student: Student, rows: int) -> Mapping[str, Probe]:
    """Let the model answer ``rows`` rows of the second split of every task but generation.

    Args:
        model: is frozen by it.
        student: how it reads.
        rows: of each task.
    """
    frozen = student.adapter(model, student.tokenizer, torch.device("cpu"))
    scores = {}
    for name in SIZES:
        task = get_task(name)
        if "nlg" in task.suites:
            continue
        split = next(islice(SIZES[name], 1, None))
        pairs = [task.to_text(row, False)[0] for row in generate(name, split, rows, PROBE_SEED)]
        golds = [pair.target.strip() for pair in pairs]
        bare = [pair.source for pair in pairs]
        steered = [f"{published_instruction(task)} {source}" for source in bare]
        scores[name] = Probe(
            _exact(_answers(frozen, student, steered), golds),
            _exact(_answers(frozen, student, bare), golds),
        )
    return scores


def _answers(model: FrozenLM, student: Student, texts: list[str]) -> list[str]:
    nothing = torch.empty(1, 0, model.width)
    return model.answer(nothing, student.inputs(texts, INPUT_LENGTH), ANSWER_LENGTH)


def _exact(answers: list[str], golds: list[str]) -> float:
    return 100 * sum(a == g for a, g in zip(answers, golds, strict=True)) / len(golds)
