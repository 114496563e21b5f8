"""What the pretraining asks of an architecture."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bench.method import IGNORED_LABEL, Batch
from bench.models.base import FrozenLM
from tools.pretrain_tiny.recipe import Recipe

IdPair = tuple[list[int], list[int]]
"""Input ids and target ids."""


class Student(abc.ABC):
    """A model to be pretrained.

    Texts become ids as the architecture's adapter in :mod:`bench.models` makes them: what is
    learned here is met again behind soft prompts.

    Args:
        recipe: all settings.
        tokenizer: the model's.
    """

    adapter: ClassVar[type[FrozenLM]]
    padding_side: ClassVar[Literal["left", "right"]]
    """Of inputs."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.encoder = self.adapter.encoder_type(tokenizer)

    def initial_model(self) -> nn.Module:
        """The model with random weights of the recipe's seed, in training mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            return self._random_model().train()

    @abc.abstractmethod
    def _random_model(self) -> nn.Module:
        """The untrained model; called with a seeded generator."""

    @abc.abstractmethod
    def text_example(self, text: str, rng: Random) -> IdPair:
        """What is to be learned of a plain text."""

    @abc.abstractmethod
    def scores(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores over the vocabulary for every target token, none for padding.

        They are most of the work of so small a model.

        Returns:
            ``(N, V)``, in the order of ``batch.labels[batch.labels != IGNORED_LABEL]``.
        """

    def task_examples(self, pairs: Sequence[tuple[str, str]]) -> Iterator[IdPair]:
        """Ids of inputs and answers, cut at the recipe's lengths."""
        return self._ids(pairs, self.recipe.input_length, self.recipe.target_length)

    def inputs(self, sources: Sequence[str], length: int) -> Batch:
        """Inputs to be answered, cut at ``length`` tokens; the labels are empty answers."""
        return self.padded(list(self._ids([(source, "") for source in sources], length, length)))

    def padded(self, pairs: Sequence[IdPair]) -> Batch:
        """Pad examples to the longest of them."""
        inputs = [torch.tensor(source) for source, _ in pairs]
        labels = [torch.tensor(target) for _, target in pairs]
        side, pad = self.padding_side, self.encoder.pad_id
        ones = [torch.ones_like(ids) for ids in inputs]
        return Batch(
            pad_sequence(inputs, batch_first=True, padding_value=pad, padding_side=side),
            pad_sequence(ones, batch_first=True, padding_side=side),
            pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
        )

    def weights(self, batch: Batch) -> Tensor:
        """What each target token counts, ``(B, T)``: ``1 / sqrt(length of its target)``.

        Counting alike, the few long targets (gaps, sentences) would drown the many of one word.
        """
        counted = batch.labels != IGNORED_LABEL
        return counted / counted.sum(dim=1, keepdim=True).sqrt()

    def summed_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropies of all target tokens, weighted and added up; a scalar."""
        counted = batch.labels != IGNORED_LABEL
        losses = nn.functional.cross_entropy(
            self.scores(model, batch), batch.labels[counted], reduction="none"
        )
        return (losses * self.weights(batch)[counted]).sum()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The weighted mean of the cross-entropies; a scalar."""
        return self.summed_loss(model, batch) / self.weights(batch).sum()

    def _ids(
        self, pairs: Sequence[tuple[str, str]], input_length: int, target_length: int
    ) -> Iterator[IdPair]:
        if not pairs:
            return iter(())
        sources, targets = (list(texts) for texts in zip(*pairs, strict=True))
        ids = self.encoder.encode(sources, targets, input_length, target_length)
        return zip(ids["input_ids"], ids["labels"], strict=True)
