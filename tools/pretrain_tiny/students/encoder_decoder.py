"""T5: gaps in texts, and an encoder that starts with heads for copies and for neighbours."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.method import IGNORED_LABEL, Batch
from bench.models.base import FrozenLM
from bench.models.encoder_decoder import EncoderDecoderLM
from tools.pretrain_tiny.recipe import Recipe
from tools.pretrain_tiny.spans import corrupt
from tools.pretrain_tiny.students.base import IdPair, Student
from tools.pretrain_tiny.tiny_tokenizer import SENTINELS


class EncoderDecoderStudent(Student):
    """A T5.

    Some heads of its encoder start from a structure that training finds late: the same random
    weights make the queries and the keys, so that a word scores high where it stands again
    (mimetic initialisation, Trockman and Kolter 2023), except where it is looked from; two more
    start at the neighbours. The README says what that was worth.
    """

    adapter: ClassVar[type[FrozenLM]] = EncoderDecoderLM
    padding_side: ClassVar[Literal["left", "right"]] = "right"

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self._sentinels = tokenizer.convert_tokens_to_ids(
            [f"<extra_id_{i}>" for i in range(SENTINELS)]
        )

    def _random_model(self) -> nn.Module:
        from transformers import T5Config, T5ForConditionalGeneration

        recipe = self.recipe
        model: Any = T5ForConditionalGeneration(T5Config(**recipe.architecture))
        for block in [*model.encoder.block, *model.decoder.block]:
            # The same function as the configuration names, in one kernel instead of eight.
            block.layer[-1].DenseReluDense.act = nn.GELU(approximate="tanh")
        for block in model.encoder.block:
            _start_matching(block.layer[0].SelfAttention, recipe)
        bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        with torch.no_grad():
            # Buckets of a bidirectional table: 0 the place itself, 1 the one before; after: upper
            # half.
            copies, before = range(recipe.match_heads), recipe.match_heads
            after = before + 1
            bias.weight[0, list(copies)] += recipe.self_bias
            bias.weight[1, before] += recipe.neighbour_bias
            bias.weight[bias.num_embeddings // 2 + 1, after] += recipe.neighbour_bias
        return model  # type: ignore[no-any-return]

    def text_example(self, text: str, rng: Random) -> IdPair:
        """Gaps to be filled, in a text that may stand there twice."""
        recipe, end = self.recipe, self.tokenizer.eos_token_id
        ids = self.encoder.encode([text], [""], recipe.input_length, 1)["input_ids"][0][:-1]
        if rng.random() < recipe.twice_share:
            ids = (ids + ids)[: recipe.input_length]
        source, target = corrupt(ids, self._sentinels, rng, recipe.noise_density, recipe.mean_span)
        return [*source, end], [*target, end]

    def scores(self, model: Any, batch: Batch) -> Tensor:
        embedded = model.shared(batch.input_ids)
        if self.recipe.fronts.noise:
            embedded = embedded + self.blur(batch.input_ids, embedded.shape[-1])
        encoded = model.encoder(inputs_embeds=embedded, attention_mask=batch.mask)
        decoded = model.decoder(
            input_ids=model.prepare_decoder_input_ids_from_labels(batch.labels),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=batch.mask,
            use_cache=False,
        ).last_hidden_state
        # T5 scales what it compares with tied embeddings.
        wanted = decoded[batch.labels != IGNORED_LABEL] * model.config.d_model**-0.5
        return model.lm_head(wanted)  # type: ignore[no-any-return]

    def blur(self, ids: Tensor, width: int) -> Tensor:
        """Noise for the fronts that end with the mark for it, ``(B, L, width)``; elsewhere zeros.

        Each row draws its own from its own ids: the same wherever and beside whatever it is read.
        """
        noise = torch.zeros(*ids.shape, width)
        for row, ends in zip(range(len(ids)), ids == self.tokenizer.unk_token_id, strict=True):
            if ends.any():
                length = int(ends.nonzero()[-1]) + 1
                places = torch.arange(1, ids.shape[1] + 1)
                generator = torch.Generator().manual_seed(int((ids[row] * places).sum()))
                size = self.recipe.fronts.noise * torch.rand((), generator=generator)
                noise[row, :length] = size * torch.randn(length, width, generator=generator)
        return noise


@torch.no_grad()
def _start_matching(attention: Any, recipe: Recipe) -> None:
    """Give the first heads of a self-attention the same weights for queries and keys."""
    width = recipe.match_heads * recipe.architecture["d_kv"]
    attention.q.weight[:width].normal_(std=recipe.match_std)
    attention.k.weight[:width] = attention.q.weight[:width]
