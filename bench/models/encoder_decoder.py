"""T5 and other encoder-decoder models: the prompt goes before the encoder input only."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.models.base import FrozenLM, prepend, token_cross_entropy
from bench.models.decoding import greedy_loop
from bench.models.info import Architecture
from bench.protocol import Batch, ModelOutput


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
                inputs_embeds=inputs,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                do_sample=False,
                num_beams=beams,
                custom_generate=greedy_loop(self.model) if beams == 1 else None,
            )
        return self.decode(ids)
