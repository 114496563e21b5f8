"""How well a model answers held-out rows, with the published answers asked for and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from bench.data.samples import SIZES, generate
from bench.models.pretraining.batches import encode, padded
from bench.models.pretraining.steering import published_instruction
from bench.tasks import get_task

PROBE_SEED = 1
"""Of the probed rows; the bundled ones have seed 0."""


@dataclass(frozen=True)
class Probe:
    """Exact matches with the published answers, percent.

    Attributes:
        steered: with the instruction for published answers in front.
        bare: with nothing in front.
    """

    steered: float
    bare: float


def probe(model: nn.Module, tokenizer: Any, rows: int) -> Mapping[str, Probe]:
    """Let the model answer ``rows`` rows of the second split of every task but generation."""
    was_training = model.training
    model.eval()
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
            _exact(_answers(model, tokenizer, steered), golds),
            _exact(_answers(model, tokenizer, bare), golds),
        )
    model.train(was_training)
    return scores


def _answers(model: nn.Module, tokenizer: Any, texts: list[str]) -> list[str]:
    ids = encode(tokenizer, texts, 128)
    batch = padded([(source, [tokenizer.eos_token_id]) for source in ids], tokenizer.pad_token_id)
    with torch.no_grad():
        answers = model.generate(  # type: ignore[operator]
            input_ids=batch.input_ids,
            attention_mask=batch.mask,
            max_new_tokens=8,
            do_sample=False,
        )
    return [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]


def _exact(answers: list[str], golds: list[str]) -> float:
    return 100 * sum(a == g for a, g in zip(answers, golds, strict=True)) / len(golds)
