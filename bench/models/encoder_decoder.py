"""T5 and other encoder-decoder models: the prompt goes before the encoder input only."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.base import FrozenLM, model_output, prepend

ENCODED_AT_ONCE = {"cpu": 2048, "cuda": 16384}
"""Positions per encoder pass in evaluation; larger passes are slower on a CPU."""


class EncoderDecoderLM(FrozenLM):
    """Frozen ``AutoModelForSeq2SeqLM``."""

    architecture: ClassVar[Literal["encoder-decoder"]] = "encoder-decoder"
    _encoder_output: type = BaseModelOutput

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        inputs, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask, prompt_index)
        self.require_positions(mask.shape[1], batch.labels.shape[1])
        output = self.model(
            inputs_embeds=inputs,
            attention_mask=mask,
            decoder_input_ids=self.decoder_inputs(batch.labels),
            use_cache=False,
            output_hidden_states=True,
        )
        states = output.encoder_last_hidden_state, mask, output.decoder_hidden_states[-1]
        return model_output(output.logits, batch.labels, *states)

    def read(self, prompt: Tensor, batch: Batch) -> dict[str, Tensor]:
        inputs, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
        return {"states": self._encode(inputs, mask), "attention_mask": mask}

    def generation_inputs(self, rows: dict[str, Tensor]) -> dict[str, Any]:
        encoded = self._encoder_output(last_hidden_state=rows["states"])
        return {"encoder_outputs": encoded, "attention_mask": rows["attention_mask"]}

    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        if tokens is None:
            tokens = torch.full((len(rows["states"]), 1), self.start_token, device=self.device)
        inputs = self.generation_inputs(rows) | {"past_key_values": cache, "use_cache": True}
        output = self.model(decoder_input_ids=tokens, **inputs)
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def decoder_inputs(self, labels: Tensor) -> Tensor:
        """Labels shifted behind the start token, by the model's method if it has one."""
        shift = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        if shift is not None:
            return shift(labels)  # type: ignore[no-any-return]
        ids = F.pad(labels, (1, -1), value=self.start_token)
        return ids.masked_fill(ids == IGNORED_LABEL, self.encoder.pad_id)

    def _encode(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Encode ``(B, r+L, d)`` in parts of consecutive rows, each as wide as its longest row."""
        encoder, length = self.model.get_encoder(), mask.shape[1]
        rows = max(1, ENCODED_AT_ONCE.get(self.device.type, ENCODED_AT_ONCE["cuda"]) // length)
        parts = zip(torch.split(inputs, rows), torch.split(mask, rows), strict=True)
        states = []
        for embeds, part_mask in parts:
            width = int(part_mask.sum(dim=1).max())
            output = encoder(inputs_embeds=embeds[:, :width], attention_mask=part_mask[:, :width])
            self._encoder_output = type(output)  # Mixtures of experts have another type.
            states.append(F.pad(output.last_hidden_state, (0, 0, 0, length - width)))
        return torch.cat(states)
