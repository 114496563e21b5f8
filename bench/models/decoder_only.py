"""Llama, GPT-2, Qwen and other causal language models: prompt, input and answer in one sequence."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ConfigError, ModelError
from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.base import FrozenLM, TokenEncoder, model_output, prepend

MARK = "Label :"  # Between input and answer and one space each, as in the published runs.


class CausalEncoder(TokenEncoder):
    """Encodes texts as token ids; inputs end with :data:`MARK`, answers with the end of text.

    Truncation cuts the end of the source, never the mark. Tokens that the tokenizer adds before a
    text (Llama's begin-of-text token) are kept; tokens that it adds after a text are dropped.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        # Tokenised inside a text, as the first word of a text may have other tokens.
        ids: list[int] = tokenizer("a")["input_ids"]
        self._beginning = ids[: ids.index(self._plain(["a"])[0][0])]
        self._mark = self._ids_after("a", [f"a {MARK}"])[0]

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of sources with the mark and of targets with the end of text, cut to the lengths."""
        room = input_length - len(self._beginning) - len(self._mark)
        if room < 1:
            raise ConfigError(
                f"input_length: {input_length} tokens leave no room for an input beside the "
                f"{input_length - room} around it; choose more"
            )
        inputs = self._plain(sources, truncation=True, max_length=room)
        answers = self._ids_after(MARK, [f"{MARK} {target}" for target in targets])
        return {
            "input_ids": [[*self._beginning, *ids, *self._mark] for ids in inputs],
            "labels": [[*ids[: target_length - 1], self.end_id] for ids in answers],
        }

    def _plain(self, texts: list[str], **options: Any) -> list[list[int]]:
        encoded = self.tokenizer(texts, add_special_tokens=False, **options)
        return encoded["input_ids"]  # type: ignore[no-any-return]

    def _ids_after(self, start: str, texts: list[str]) -> list[list[int]]:
        """Token ids after ``start`` in each text, tokenised as part of the text."""
        first, *encoded = self._plain([start, *texts])
        for text, ids in zip(texts, encoded, strict=True):
            if ids[: len(first)] != first:
                raise ModelError(
                    f"tokenizer {self.tokenizer.name_or_path!r} joins {start!r} with what follows "
                    f"it in {text[:60]!r}: choose a tokenizer that splits at white space"
                )
        return [ids[len(first) :] for ids in encoded]


class DecoderOnlyLM(FrozenLM):
    """Frozen ``AutoModelForCausalLM``; all answers of a batch begin in one column.

    With a shared prompt, a row is prompt, padding, input, answer, padding; otherwise it is padding,
    prompt, input, answer, padding. Position ids do not count padding.
    """

    architecture: ClassVar[Literal["decoder-only"]] = "decoder-only"
    encoder_type: ClassVar[type[TokenEncoder]] = CausalEncoder
    _reported: frozenset[str] = frozenset()  # Obstacles to sharing that were reported.

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        length = batch.labels.shape[1]
        self.require_positions(prompt.shape[1] + batch.mask.shape[1], length - 1)
        rows, prompt_hidden, cache = self._begin(prompt, batch, length, prompt_index)
        mask = rows["attention_mask"]  # (B, r+L)
        target_mask = batch.labels != IGNORED_LABEL  # (B, T)
        answers = self.embed(batch.labels.masked_fill(~target_mask, self.encoder.pad_id))
        # Teacher forcing: all answer tokens but the last are inputs.
        embeds = torch.cat([rows["inputs_embeds"], answers[:, :-1]], dim=1)
        attended = torch.cat([mask, target_mask[:, :-1].to(mask.dtype)], dim=1)  # (B, r+L+T-1)
        options = self._options(attended, embeds.shape[1], length)
        if prompt_hidden is not None:
            options["past_key_values"] = cache
        options |= {"use_cache": prompt_hidden is not None, "output_hidden_states": True}
        output = self.model(inputs_embeds=embeds, **options)
        hidden = output.hidden_states[-1]
        answer_hidden = hidden[:, -length:]
        if prompt_hidden is not None:
            hidden = torch.cat([prompt_hidden, hidden], dim=1)
        hidden, mask = padded_first(hidden[:, : mask.shape[1]], mask)
        return model_output(output.logits[:, -length:], batch.labels, hidden, mask, answer_hidden)

    def read(
        self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None
    ) -> dict[str, Tensor]:
        inputs = self.embed(batch.input_ids)
        embeds, mask = padded_first(*prepend(prompt, inputs, batch.mask, prompt_index))
        return {"inputs_embeds": embeds, "attention_mask": mask}

    def start(self, prompt: Tensor, batch: Batch, ahead: int) -> tuple[dict[str, Tensor], Any]:
        rows, _, cache = self._begin(prompt, batch, ahead)
        return rows, self._empty_cache() if cache is None else cache

    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        if tokens is None:
            embeds = rows.pop("inputs_embeds")
            inputs, length = {"inputs_embeds": embeds}, embeds.shape[1]
        else:
            inputs, length = {"input_ids": tokens}, 1
            rows["attention_mask"] = F.pad(rows["attention_mask"], (0, 1), value=1)
        options = self._options(rows["attention_mask"], length, 1)
        output = self.model(**inputs, past_key_values=cache, use_cache=True, **options)
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def _begin(
        self, prompt: Tensor, batch: Batch, ahead: int, prompt_index: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor | None, Any]:
        """Rows as from :meth:`read`, prompt states and cache; both None without a shared prompt."""
        length, prefixes = prompt.shape[1], self.prefixes
        if length == 0 or (len(prompt) > 1 and prompt_index is None):
            return self.read(prompt, batch), None, None
        obstacle = "it cannot continue from the cache of a prompt"
        if prefixes is not None:
            obstacle = prefixes.obstacle(length + batch.mask.shape[1] + ahead)
        if prefixes is None or obstacle:
            if obstacle not in self._reported:
                self._reported |= {obstacle}
                self.warn(f"{type(self.model).__name__} reads the prompt for each row: {obstacle}")
            return self.read(prompt, batch, prompt_index), None, None
        if prompt_index is not None:
            tasks, prompt_index = torch.unique(prompt_index, return_inverse=True)
            prompt = prompt[tasks]
            if len(tasks) == 1:
                prompt_index = None
        embeds, mask = padded_first(self.embed(batch.input_ids), batch.mask)
        hidden, cache = prefixes.rows(prompt.to(embeds.dtype), len(batch), prompt_index)
        mask = torch.cat([mask.new_ones(len(batch), length), mask], dim=1)
        return {"inputs_embeds": embeds, "attention_mask": mask}, hidden, cache

    def _options(self, mask: Tensor, length: int, logits: int) -> dict[str, Any]:
        """Arguments of ``forward``: mask, positions of ``length`` last tokens, logits to keep."""
        options: dict[str, Any] = {"attention_mask": mask}
        if "position_ids" in self.forward_parameters:  # Other models derive them from the mask.
            options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -length:]
        if "logits_to_keep" in self.forward_parameters:
            # An int would make a slice, whose product PyTorch computes six times as slowly.
            options["logits_to_keep"] = torch.arange(-logits, 0, device=mask.device)
        return options


def padded_first(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move padding of states ``(B, N, d)`` and their mask to the front; keeps the other order."""
    order = mask.argsort(dim=1, stable=True)
    return states.gather(1, order.unsqueeze(-1).expand_as(states)), mask.gather(1, order)
