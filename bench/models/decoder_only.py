"""Llama, GPT-2, Qwen and other causal language models: prompt, input and answer in one sequence."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ConfigError, ModelError
from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.base import FrozenLM, TokenEncoder, model_output, prepend

MARK = "Label :"
"""Stands between input and answer, as in the published runs; white space on both sides."""


class CausalEncoder(TokenEncoder):
    """Texts to token ids: the input ends with :data:`MARK`, the answer with the end of text.

    An input that is too long loses the end of its source, never the mark. What the tokenizer puts
    in front of every text (Llama's begin-of-text token) stays; what it puts behind is left out.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        tokenizer.truncation_side = "right"
        if tokenizer.pad_token_id is None:  # Any token will do, as padding is masked.
            self.pad_id = self.end_id
        # Both as they stand within a text: a word may look different where a text begins.
        whole: list[int] = tokenizer("a")["input_ids"]
        self._beginning = whole[: whole.index(self._plain(["a"])[0][0])]
        self._mark = self._behind("a", [f"a {MARK}"])[0]
        parts = (self.fingerprint, MARK, self._beginning, self.end_id)
        self.fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()

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
        read = self._plain(sources, truncation=True, max_length=room)
        answers = self._behind(MARK, [f"{MARK} {target}" for target in targets])
        return {
            "input_ids": [[*self._beginning, *ids, *self._mark] for ids in read],
            "labels": [[*ids[: target_length - 1], self.end_id] for ids in answers],
        }

    def _plain(self, texts: list[str], **options: Any) -> list[list[int]]:
        encoded = self.tokenizer(texts, add_special_tokens=False, **options)
        return encoded["input_ids"]  # type: ignore[no-any-return]

    def _behind(self, start: str, texts: list[str]) -> list[list[int]]:
        """Ids of what follows ``start`` in each of the texts, tokenised as part of the text."""
        first, *whole = self._plain([start, *texts])
        for text, ids in zip(texts, whole, strict=True):
            if ids[: len(first)] != first:
                raise ModelError(
                    f"tokenizer {self.tokenizer.name_or_path!r} joins {start!r} with what follows "
                    f"it in {text[:60]!r}: choose a tokenizer that splits at white space"
                )
        return [ids[len(first) :] for ids in whole]


class DecoderOnlyLM(FrozenLM):
    """Frozen ``AutoModelForCausalLM``.

    A row is laid out as padding, prompt, input, answer, padding: all answers of a batch begin in
    one column. Positions count the tokens of the row alone.
    """

    architecture: ClassVar[Literal["decoder-only"]] = "decoder-only"
    encoder_type: ClassVar[type[TokenEncoder]] = CausalEncoder

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        super().__init__(model, tokenizer, device)
        self.positions = getattr(self.model.config, "max_position_embeddings", None)
        # Refuse models that read padding in spite of the mask, such as RWKV.
        ids = torch.arange(4, device=device).expand(2, -1)
        mask = torch.ones_like(ids)
        mask[0, 1:] = 0
        padded, prompt = Batch(ids, mask, ids[:, :1]), self.embed(ids[:1, :1])
        alone = Batch(ids[:1, :1], mask[:1, :1], ids[:1, :1])
        with self.inference():
            first, second = (self.run(prompt, each).logits[0] for each in (padded, alone))
        # Far above the noise of 32-bit floats, far below the effect of a token that is read.
        if (first - second).abs().max() > 1e-2 * second.abs().max():
            raise ModelError(
                f"{type(self.model).__name__} reads padding, so that the rest of its batch would "
                "change what a row gives: choose another model"
            )

    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        rows, length = self.read(prompt, batch), batch.labels.shape[1]
        mask = rows["attention_mask"]  # (B, r+L)
        answered = batch.labels != IGNORED_LABEL  # (B, T)
        written = self.embed(batch.labels.masked_fill(~answered, self.encoder.pad_id))
        # Every token but the last is read too; the model says after each what comes next.
        embeds = torch.cat([rows["inputs_embeds"], written[:, :-1]], dim=1)  # (B, r+L+T-1, d)
        seen = torch.cat([mask, answered[:, :-1].to(mask.dtype)], dim=1)
        self.require_room(seen.shape[1])
        options = self._options(seen, seen.shape[1], length)
        output = self.model(
            inputs_embeds=embeds, use_cache=False, output_hidden_states=True, **options
        )
        hidden = output.hidden_states[-1][:, : mask.shape[1]]
        return model_output(output.logits[:, -length:], batch.labels, hidden, mask)

    def read(self, prompt: Tensor, batch: Batch) -> dict[str, Tensor]:
        embeds, mask = prepend(prompt, self.embed(batch.input_ids), batch.mask)
        order = mask.argsort(dim=1, stable=True)  # Padding first, the rest as it was.
        moved = embeds.gather(1, order.unsqueeze(-1).expand_as(embeds))
        return {"inputs_embeds": moved, "attention_mask": mask.gather(1, order)}

    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        if tokens is None:
            read = {"inputs_embeds": rows.pop("inputs_embeds")}
        else:
            read = {"input_ids": tokens}
            rows["attention_mask"] = F.pad(rows["attention_mask"], (0, 1), value=1)
        mask = rows["attention_mask"]
        options = self._options(mask, mask.shape[1] if tokens is None else 1, 1)
        output = self.model(**read, past_key_values=cache, use_cache=True, **options)
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def _options(self, mask: Tensor, read: int, kept: int) -> dict[str, Any]:
        """Mask, positions of the last ``read`` tokens and number of scores, for ``forward``."""
        options: dict[str, Any] = {"attention_mask": mask}
        if "position_ids" in self.accepted:  # Other models take them from the mask.
            options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -read:]
        if "logits_to_keep" in self.accepted:
            options["logits_to_keep"] = kept
        return options
