"""Llama, GPT-2, Qwen and other causal language models: prompt, input and answer in one sequence."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.errors import ModelError
from bench.models.base import FrozenLM, prepend, token_cross_entropy
from bench.models.decoding import greedy_loop
from bench.models.encoders import CausalEncoder, TokenEncoder
from bench.models.info import Architecture
from bench.protocol import IGNORED_LABEL, Batch, ModelOutput


class DecoderOnlyLM(FrozenLM):
    """A frozen ``AutoModelForCausalLM``.

    A row is laid out as padding, prompt, input, answer, padding, so that all answers of a batch
    begin in one column. Positions count the tokens of the row alone: what a row gives does not
    depend on its padding.
    """

    architecture: ClassVar[Architecture] = "decoder-only"
    encoder_type: ClassVar[type[TokenEncoder]] = CausalEncoder
    encoder: CausalEncoder

    def __init__(self, model: nn.Module, tokenizer: Any, device: torch.device) -> None:
        super().__init__(model, tokenizer, device)
        _require_soft_prompts(model)
        # What comes with a model (sampling, a penalty for repetition) is for chats, and would be
        # taken over wherever a call leaves it open.
        self.model.generation_config = self._decoding()
        accepted = inspect.signature(self.model.forward).parameters
        # A model without positions in its call takes them from the mask.
        self._takes_positions = "position_ids" in accepted
        self._takes_logits_to_keep = "logits_to_keep" in accepted
        self._require_unseen_padding()

    @property
    def positions(self) -> int | None:
        return getattr(self.model.config, "max_position_embeddings", None)

    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        read, mask = self._read(prompt, batch)  # (B, r+L, d), (B, r+L)
        answered = batch.labels != IGNORED_LABEL  # (B, T)
        written = self.embed(batch.labels.masked_fill(~answered, self.encoder.pad_id))
        length = batch.labels.shape[1]
        # Every token but the last is read too; the model says after each what comes next.
        embeds = torch.cat([read, written[:, :-1]], dim=1)  # (B, r+L+T-1, d)
        seen = torch.cat([mask, answered[:, :-1].to(mask.dtype)], dim=1)
        self.require_room(seen.shape[1])
        options: dict[str, Any] = {}
        if self._takes_positions:
            options["position_ids"] = (seen.cumsum(dim=1) - 1).clamp(min=0)
        if self._takes_logits_to_keep:
            options["logits_to_keep"] = length
        output = self.model(
            inputs_embeds=embeds,
            attention_mask=seen,
            use_cache=False,
            output_hidden_states=True,
            **options,
        )
        logits = output.logits[:, -length:].float()  # (B, T, V)
        loss = token_cross_entropy(logits, batch.labels)
        return ModelOutput(loss, logits, output.hidden_states[-1][:, : read.shape[1]], mask)

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        with self.inference():
            read, mask = self._read(prompt, batch)
            self.require_room(read.shape[1] + max_tokens)
            ids = self.model.generate(  # type: ignore[operator]
                inputs_embeds=read,
                attention_mask=mask,
                generation_config=self._decoding(max_new_tokens=max_tokens, num_beams=beams),
                custom_generate=greedy_loop(self.model) if beams == 1 else None,
            )
        return self.decode(ids)

    def _read(self, prompt: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Prompt and input, ``(B, r+L, d)`` with their mask ``(B, r+L)``, padded on the left."""
        embeds, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
        order = mask.argsort(dim=1, stable=True)  # Padding first, the rest as it was.
        moved = embeds.gather(1, order.unsqueeze(-1).expand_as(embeds))
        return moved, mask.gather(1, order)

    def _require_unseen_padding(self) -> None:
        """Refuse models that read padding in spite of the mask, such as RWKV."""
        ids = torch.arange(4, device=self.device).expand(2, -1)
        mask = torch.ones_like(ids)
        mask[0, 1:] = 0
        rows = Batch(ids, mask, ids[:, :1])
        row = Batch(ids[:1, :1], mask[:1, :1], ids[:1, :1])
        prompt = self.embed(ids[:1, :1])
        with self.inference():
            beside, alone = (self.run(prompt, batch).logits[0] for batch in (rows, row))
        # Far above the noise of 32-bit floats, far below what a token read in vain does.
        if (beside - alone).abs().max() > 1e-2 * alone.abs().max():
            raise ModelError(
                f"{type(self.model).__name__} reads padding, so that the rest of its batch would "
                "change what a row gives: choose another model"
            )

    def _decoding(self, **options: int) -> Any:
        """How answers are found: without sampling, up to the end of text."""
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=False,
            use_cache=True,
            eos_token_id=self.encoder.end_id,
            pad_token_id=self.encoder.pad_id,
            **options,
        )


def _require_soft_prompts(model: Any) -> None:
    """Refuse models whose ``generate`` starts from token ids only, such as CTRL and Falcon-H1."""
    accepted = inspect.signature(model.prepare_inputs_for_generation).parameters
    if "inputs_embeds" not in accepted:
        raise ModelError(
            f"{type(model).__name__} cannot write behind a soft prompt, as it generates from token "
            "ids only: choose another model"
        )
