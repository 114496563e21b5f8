"""From texts to padded batches of similar length."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.models.pretraining.drills import drill
from bench.models.pretraining.mixture import Mixture
from bench.models.pretraining.recipe import Recipe
from bench.models.pretraining.spans import corrupt
from bench.models.tiny_tokenizer import SENTINELS
from bench.protocol import IGNORED_LABEL
from bench.seeding import derive_seed

IdPair = tuple[list[int], list[int]]
"""Input ids and target ids."""


@dataclass(frozen=True)
class PretrainingBatch:
    """Padded examples.

    Attributes:
        input_ids: ``(B, L)``.
        mask: ``(B, L)``, 1 for tokens and 0 for padding.
        labels: ``(B, T)``, :data:`~bench.protocol.IGNORED_LABEL` for padding.
    """

    input_ids: Tensor
    mask: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Shares:
    """What the examples of a chunk are.

    Attributes:
        drills: share of drills.
        styled: share of tasks and judgements with an instruction.
    """

    drills: float
    styled: float


def shares(recipe: Recipe, step: int) -> Shares:
    """The mixture from a step on."""
    done = min(1.0, step / recipe.drill_steps)
    drills = recipe.first_drill_share + done * (recipe.last_drill_share - recipe.first_drill_share)
    styling = min(1.0, max(0, step - recipe.plain_steps) / recipe.styling_steps)
    return Shares(drills, styling * recipe.styled_share)


def batches(recipe: Recipe, tokenizer: Any) -> Iterator[PretrainingBatch]:
    """Endless batches; no example is drawn a second time except by chance."""
    mixture = Mixture(recipe.seed)
    rng = Random(derive_seed("pretraining batches", recipe.seed))
    for chunk in itertools.count():
        pairs = _pairs(recipe, tokenizer, mixture, rng, shares(recipe, chunk * recipe.chunk))
        pairs.sort(key=lambda pair: (len(pair[1]) > recipe.short_target, len(pair[0])))
        starts = list(range(0, len(pairs), recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield padded(pairs[start : start + recipe.batch_size], tokenizer.pad_token_id)


def _pairs(
    recipe: Recipe, tokenizer: Any, mixture: Mixture, rng: Random, share: Shares
) -> list[IdPair]:
    """The examples of one chunk as ids."""
    spans = min(recipe.span_share, 1 - share.drills)
    kinds = rng.choices(
        ("spans", "drills", "tasks"),
        (spans, share.drills, 1 - share.drills - spans),
        k=recipe.chunk * recipe.batch_size,
    )
    counts = Counter(kinds)
    drills = [drill(rng, share.styled) for _ in range(counts["drills"])]
    examples = [mixture.steered(share.styled) for _ in range(counts["tasks"])]
    texts = drills + [(example.text, example.target) for example in examples]
    return [
        *_spans(recipe, tokenizer, mixture, rng, counts["spans"]),
        *_encoded(recipe, tokenizer, texts),
    ]


def _spans(
    recipe: Recipe, tokenizer: Any, mixture: Mixture, rng: Random, count: int
) -> Iterator[IdPair]:
    """Span corruption of texts, some of which stand there twice."""
    sentinels = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(SENTINELS)])
    end = tokenizer.eos_token_id
    for _ in range(count):
        ids = encode(tokenizer, [mixture.text()], recipe.input_length)[0][:-1]
        if rng.random() < recipe.twice_share:
            ids = (ids + ids)[: recipe.input_length]
        source, target = corrupt(ids, sentinels, rng, recipe.noise_density, recipe.mean_span)
        yield [*source, end], [*target, end]


def _encoded(recipe: Recipe, tokenizer: Any, pairs: list[tuple[str, str]]) -> Iterator[IdPair]:
    if not pairs:
        return iter(())
    sources = encode(tokenizer, [source for source, _ in pairs], recipe.input_length)
    targets = encode(tokenizer, [target for _, target in pairs], recipe.target_length)
    return zip(sources, targets, strict=True)


def encode(tokenizer: Any, texts: list[str], length: int) -> list[list[int]]:
    """Ids of texts with the end mark, cut at ``length``."""
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    return ids


def padded(pairs: list[IdPair], pad_id: int) -> PretrainingBatch:
    """Pad examples on the right to the longest of them."""
    inputs = [torch.tensor(source) for source, _ in pairs]
    labels = [torch.tensor(target) for _, target in pairs]
    return PretrainingBatch(
        input_ids=pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        mask=pad_sequence([torch.ones_like(ids) for ids in inputs], batch_first=True),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
    )
