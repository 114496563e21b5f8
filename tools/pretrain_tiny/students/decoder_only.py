"""Llama: texts are written from nothing, one word after the other."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.method import IGNORED_LABEL, Batch
from bench.models.base import FrozenLM
from bench.models.decoder_only import DecoderOnlyLM
from tools.pretrain_tiny.recipe import Recipe
from tools.pretrain_tiny.students.base import IdPair, Student


class DecoderOnlyStudent(Student):
    """A Llama.

    Span corruption, which is for encoders, gives way to language modelling.
    """

    adapter: ClassVar[type[FrozenLM]] = DecoderOnlyLM
    padding_side: ClassVar[Literal["left", "right"]] = "left"  # Answers begin in one column.

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        if recipe.fronts.noise:
            raise ValueError("fronts.noise is for an encoder-decoder; set it to 0 for a Llama")
        super().__init__(recipe, tokenizer)

    def _random_model(self) -> nn.Module:
        from transformers import LlamaConfig, LlamaForCausalLM

        model: nn.Module = LlamaForCausalLM(LlamaConfig(**self.recipe.architecture))
        return model

    def text_example(self, text: str, rng: Random) -> IdPair:
        """A text to be written, perhaps twice: the second time, it can be copied."""
        told = f"{text} {text}" if rng.random() < self.recipe.twice_share else text
        length = self.recipe.input_length
        return next(self._ids([("", told)], length, length))

    def scores(self, model: Any, batch: Batch) -> Tensor:
        answered = batch.labels != IGNORED_LABEL  # (B, T)
        written = batch.labels.masked_fill(~answered, self.encoder.pad_id)[:, :-1]
        seen = torch.cat([batch.mask, answered[:, :-1].to(batch.mask.dtype)], dim=1)
        hidden = model.model(
            input_ids=torch.cat([batch.input_ids, written], dim=1),
            attention_mask=seen,
            position_ids=(seen.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state  # (B, L+T-1, d)
        return model.lm_head(hidden[:, batch.input_ids.shape[1] - 1 :][answered])  # type: ignore[no-any-return]
