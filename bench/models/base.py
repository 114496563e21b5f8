"""Frozen language model: what the harness asks of it, whatever its architecture."""

from __future__ import annotations

import abc
import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from bench.errors import ConfigError, ModelError
from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.dropout import use_frozen_dropout
from bench.seeding import generator

if TYPE_CHECKING:
    from bench.models.loading import Architecture, Precision

INITIAL_VOCABULARY = 5000
"""``P_init`` is drawn from the embeddings of the first so many token ids (published code)."""

LEAVING = 4
"""Rows leave a batch as soon as one in so many has its answer, as each time the cache is copied."""


class TokenEncoder:
    """Texts to token ids as an encoder-decoder reads them; its fingerprint names cached results."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token, which ends every "
                "answer: set eos_token in its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id
        described = tokenizer.backend_tokenizer.to_str().encode()
        self.fingerprint = hashlib.sha256(described).hexdigest()

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of sources and targets, each with the end token, cut at the given lengths."""
        read = self.tokenizer(sources, truncation=True, max_length=input_length)
        written = self.tokenizer(targets, truncation=True, max_length=target_length)
        return {"input_ids": read["input_ids"], "labels": written["input_ids"]}


class FrozenLM(abc.ABC):
    """Language model whose weights never change, with a soft prompt in front of its input."""

    architecture: ClassVar[Architecture]
    encoder_type: ClassVar[type[TokenEncoder]] = TokenEncoder
    positions: int | None = None  # Most tokens of a row, answer included; None: any number.

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self.model = model.to(device).requires_grad_(False).eval()
        self.device = device
        if device.type == "cpu":
            use_frozen_dropout(self.model)
        self.tokenizer = tokenizer
        self.encoder = self.encoder_type(tokenizer)
        self.embedding: nn.Embedding = self.model.get_input_embeddings()
        self.width = self.embedding.embedding_dim
        self.accepted = frozenset(inspect.signature(self.model.forward).parameters)
        causal = self.architecture == "decoder-only"
        given = GenerationConfig() if causal else self.model.generation_config
        self.start_token: Any = given.decoder_start_token_id
        self.first_token: int | None = given.forced_bos_token_id
        # What else comes with a model, such as penalties, would be used where a call is silent.
        self.model.generation_config = self._search()
        # As the weights were read, whatever precision they are rounded to later.
        first: Tensor = self.embedding.weight.detach()[:INITIAL_VOCABULARY]
        self._initial_vocabulary = first.to("cpu", torch.float32, copy=True)

    def store_weights_in(self, precision: Precision) -> None:
        """Round the weights; buffers, such as rotary frequencies, and ``P_init`` stay float32."""
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(dtype)

    def parameter_count(self) -> int:
        """Number of frozen parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def initial_prompt(self, length: int, seed: int) -> Tensor:
        """``P_init`` ``(r, d)`` float32 on the CPU: embeddings of ``r`` distinct random token ids.

        Depends on model and seed alone (Lester et al. 2021; published: ``permutation(5000)[:r]``).
        """
        candidates = len(self._initial_vocabulary)
        if length > candidates:
            raise ConfigError(
                f"prompt_length: {length} is more than the {candidates} token embeddings to "
                "start from; choose a shorter prompt"
            )
        ids = torch.randperm(candidates, generator=generator("initial prompt", seed))[:length]
        return self._initial_vocabulary[ids]

    def require_room(self, length: int) -> None:
        """Refuse more tokens of prompt, input and answer together than the model has positions."""
        if self.positions is not None and length > self.positions:
            raise ModelError(
                f"prompt, input and answer have {length} tokens together, the model takes "
                f"{self.positions}: lower prompt_length or input_length"
            )

    def embed(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, L)`` as ``(B, L, d)``."""
        return self.embedding(ids)  # type: ignore[no-any-return]

    @abc.abstractmethod
    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        """Run the model with ``prompt`` ``(B, r, d)`` or ``(1, r, d)`` in front of the input."""

    @abc.abstractmethod
    def read(self, prompt: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What decoding starts from, one entry per row in each tensor."""

    def generation_inputs(self, rows: dict[str, Tensor]) -> dict[str, Any]:
        """Rows of :meth:`read` as ``generate`` takes them."""
        return {**rows}

    @abc.abstractmethod
    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        """Scores ``(n, V)`` of what follows ``tokens`` ``(n, 1)``; changes rows and cache."""

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        """Answers to the inputs of a batch, greedy for one beam; its labels are not read."""
        with self.inference():
            rows = self.read(prompt, batch)
            self.require_room(rows["attention_mask"].shape[1] + max_tokens)
            cache = self._empty_cache() if beams == 1 else None
            if cache is not None:
                return self.decode(self._greedy(rows, cache, max_tokens))
            search = self._search(max_new_tokens=max_tokens, num_beams=beams)
            written = self.model.generate(**self.generation_inputs(rows), generation_config=search)
            return self.decode(written)

    def decode(self, ids: Tensor) -> list[str]:
        """Answers as text, without special tokens and outer white space."""
        # Many tokenizers are set to draw punctuation to the word before it: no longer the answer.
        texts: list[str] = self.tokenizer.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Within it: no gradients and no dropout."""
        with self.training(False), torch.no_grad():
            yield

    @contextmanager
    def training(self, active: bool = True) -> Iterator[None]:
        """Within it the model's dropout is active; the former mode is restored afterwards."""
        before = self.model.training
        self.model.train(active)
        try:
            yield
        finally:
            self.model.train(before)

    def _greedy(self, rows: dict[str, Tensor], cache: Any, max_tokens: int) -> Tensor:
        """Likeliest tokens one after another: ``(B, T)``, padded behind the end of an answer.

        ``generate`` computes each row until the longest answer of the batch has ended. Leaving
        before, 256 rows of squad sorted by length take about half of its time in their own order
        (batches of 128, t5-small, two cores).
        """
        count, end = len(rows["attention_mask"]), self.encoder.end_id
        written = torch.full((count, max_tokens), self.encoder.pad_id, device=self.device)
        places = torch.arange(count, device=self.device)  # Of the rows still in the batch.
        tokens, ended = None, torch.zeros(count, dtype=torch.bool, device=self.device)
        for step in range(max_tokens):
            chosen = self.next_scores(rows, tokens, cache).float().argmax(dim=-1)
            if step == 0 and self.first_token is not None:
                chosen = torch.full_like(chosen, self.first_token)
            chosen = chosen.masked_fill(ended, self.encoder.pad_id)
            written[places, step] = chosen
            ended |= chosen == end
            left = int((~ended).sum())
            if left == 0:
                return written[:, : step + 1]
            if left <= len(places) * (LEAVING - 1) / LEAVING:
                kept = (~ended).nonzero().squeeze(1)
                cache.batch_select_indices(kept)
                rows = {name: value[kept] for name, value in rows.items()}
                places, chosen, ended = places[kept], chosen[kept], ended[kept]
            tokens = chosen.unsqueeze(1)  # (rows in the batch, 1)
        return written

    def _search(self, **options: int) -> GenerationConfig:
        return GenerationConfig(
            do_sample=False,
            eos_token_id=self.encoder.end_id,
            pad_token_id=self.encoder.pad_id,
            decoder_start_token_id=self.start_token,
            forced_bos_token_id=self.first_token,
            **options,
        )

    def _empty_cache(self) -> Any:
        """Cache that rows can leave; None for models with other states, such as state spaces."""
        config = self.model.config.get_text_config(decoder=True)
        cache = DynamicCache(config=config)
        other = {type(layer) for layer in cache.layers} - {DynamicLayer, DynamicSlidingWindowLayer}
        if "past_key_values" not in self.accepted or other:
            return None
        if self.model.config.is_encoder_decoder:
            return EncoderDecoderCache(cache, DynamicCache(config=config))
        return cache


def prepend(prompt: Tensor, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put ``prompt`` ``(B or 1, r, d)`` in front of ``inputs`` ``(B, L, d)`` and their mask."""
    # Expanded first, so that the gradients of the rows are added up in the prompt's own type.
    prompt = prompt.expand(len(inputs), -1, -1).to(inputs.dtype)
    ones = mask.new_ones(prompt.shape[:2])
    return torch.cat([prompt, inputs], dim=1), torch.cat([ones, mask], dim=1)  # (B, r+L, …)


def model_output(logits: Tensor, labels: Tensor, hidden: Tensor, mask: Tensor) -> ModelOutput:
    """Scores ``(B, T, V)`` in float32 with their loss, a mean over all target tokens."""
    logits = logits.float()
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL)
    return ModelOutput(loss, logits, hidden, mask)
