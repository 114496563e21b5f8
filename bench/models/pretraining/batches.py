"""From texts to padded batches of similar length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.models.pretraining import lexicon
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


def batches(recipe: Recipe, tokenizer: Any) -> Iterator[PretrainingBatch]:
    """Endless batches; no example is drawn a second time except by chance."""
    mixture = Mixture(recipe.seed)
    rng = Random(derive_seed("pretraining batches", recipe.seed))
    while True:
        pairs = _pairs(recipe, tokenizer, mixture, rng)
        pairs.sort(key=lambda pair: (len(pair[1]) > recipe.short_target, len(pair[0])))
        starts = list(range(0, len(pairs), recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield padded(pairs[start : start + recipe.batch_size], tokenizer.pad_token_id)


def _pairs(recipe: Recipe, tokenizer: Any, mixture: Mixture, rng: Random) -> list[IdPair]:
    """The examples of one chunk as ids."""
    kinds = rng.choices(
        (_spans, _words, _tasks),
        (recipe.span_share, recipe.word_share, 1 - recipe.span_share - recipe.word_share),
        k=recipe.chunk * recipe.batch_size,
    )
    counts = Counter(kinds)
    return [
        pair
        for kind in (_spans, _words, _tasks)
        for pair in kind(recipe, tokenizer, mixture, rng, counts[kind])
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


def _words(
    recipe: Recipe, tokenizer: Any, mixture: Mixture, rng: Random, count: int
) -> Iterator[IdPair]:
    """Questions on words."""
    entries = [lexicon.entry(rng) for _ in range(count)]
    return _encoded(recipe, tokenizer, entries)


def _tasks(
    recipe: Recipe, tokenizer: Any, mixture: Mixture, rng: Random, count: int
) -> Iterator[IdPair]:
    """Examples of the tasks with their instructions."""
    examples = [mixture.steered() for _ in range(count)]
    return _encoded(recipe, tokenizer, [(example.text, example.target) for example in examples])


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
