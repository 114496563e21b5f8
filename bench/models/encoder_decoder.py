"""T5 and other encoder-decoder models: the prompt goes before the encoder input only."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.models.base import FrozenLM, prepend
from bench.models.decoding import greedy_loop
from bench.models.info import Architecture
from bench.protocol import Batch, ModelOutput

ENCODED_AT_ONCE = 2048
"""Positions that the encoder reads in one pass on a CPU when answers are written.

A larger pass is slower there: its intermediate results come fresh from the operating system, which
took a fifth of the time of 32 rows of 332 positions of t5-small.
"""


class EncoderDecoderLM(FrozenLM):
    """A frozen ``AutoModelForSeq2SeqLM``."""

    architecture: ClassVar[Architecture] = "encoder-decoder"

    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        inputs, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
        output = self.model(inputs_embeds=inputs, attention_mask=mask, labels=batch.labels)
        return ModelOutput(output.loss, output.logits, output.encoder_last_hidden_state, mask)

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
        """What the encoder gives for ``(B, r+L, d)``: on a CPU in parts, each without the padding
        that the longest row of another part brings."""
        from transformers.modeling_outputs import BaseModelOutput

        encoder = self.model.get_encoder()  # type: ignore[operator]
        rows, length = mask.shape
        at_once = rows if self.device.type != "cpu" else max(1, ENCODED_AT_ONCE // length)
        states = []
        for start in range(0, rows, at_once):
            seen = mask[start : start + at_once]
            width = int(seen.sum(dim=1).max())
            read = inputs[start : start + at_once, :width]
            state = encoder(inputs_embeds=read, attention_mask=seen[:, :width]).last_hidden_state
            states.append(F.pad(state, (0, 0, 0, length - width)))
        return BaseModelOutput(last_hidden_state=torch.cat(states))
