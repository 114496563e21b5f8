"""T5 and other encoder-decoder models: the prompt goes before the encoder input only."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.models.base import FrozenLM, prepend, token_cross_entropy
from bench.models.decoding import greedy_loop
from bench.models.info import Architecture
from bench.protocol import Batch, ModelOutput

ENCODED_AT_ONCE = {"cpu": 2048}
"""Positions that the encoder reads in one pass when answers are written, by device.

A larger pass is slower on a CPU: its intermediate results come fresh from the operating system,
which took a fifth of the time of 32 rows of 332 positions of t5-small.
"""

ENCODED_AT_ONCE_ELSEWHERE = 16384
"""The same on other devices, which small passes would leave idle."""


class EncoderDecoderLM(FrozenLM):
    """A frozen ``AutoModelForSeq2SeqLM``."""

    architecture: ClassVar[Architecture] = "encoder-decoder"

    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        inputs, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
        output = self.model(
            inputs_embeds=inputs,
            attention_mask=mask,
            decoder_input_ids=self.model.prepare_decoder_input_ids_from_labels(batch.labels),  # type: ignore[operator]
            use_cache=False,
        )
        logits = output.logits.float()  # (B, T, V)
        loss = token_cross_entropy(logits, batch.labels)
        return ModelOutput(loss, logits, output.encoder_last_hidden_state, mask)

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        with self.inference():
            inputs, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
            ids = self.model.generate(  # type: ignore[operator]
                encoder_outputs=self._encode(inputs, mask),
                attention_mask=mask,
                max_new_tokens=max_tokens,
                do_sample=False,
                num_beams=beams,
                custom_generate=greedy_loop(self.model) if beams == 1 else None,
            )
        return self.decode(ids)

    def _encode(self, inputs: Tensor, mask: Tensor) -> Any:
        """What the encoder gives for ``(B, r+L, d)``, in parts of rows that follow each other.

        Each part is as wide as its own longest row. Rows that are sorted by length, as those of
        an evaluation are, so cost the encoder hardly any padding, however many are answered at
        once.
        """
        from transformers.modeling_outputs import BaseModelOutput

        encoder = self.model.get_encoder()  # type: ignore[operator]
        most = ENCODED_AT_ONCE.get(self.device.type, ENCODED_AT_ONCE_ELSEWHERE)
        lengths = mask.sum(dim=1).tolist()
        states: list[Tensor] = []
        start = 0
        while start < len(lengths):
            end = start + max(1, most // max(lengths[start:]))
            width = max(lengths[start:end])
            state = encoder(
                inputs_embeds=inputs[start:end, :width], attention_mask=mask[start:end, :width]
            ).last_hidden_state
            states.append(F.pad(state, (0, 0, 0, mask.shape[1] - width)))
            start = end
        return BaseModelOutput(last_hidden_state=torch.cat(states))
