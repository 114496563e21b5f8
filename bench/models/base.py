"""Frozen language model: what the harness asks of it, whatever its architecture."""

from __future__ import annotations

import abc
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from bench.errors import ConfigError, ModelError
from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.checks import check
from bench.models.dropout import use_frozen_dropout
from bench.models.prefix import SharedPrefixes
from bench.seeding import generator

if TYPE_CHECKING:
    from bench.models.loading import Architecture, Precision

INITIAL_VOCABULARY = 5000
"""``P_init`` is drawn from the embeddings of the first so many token ids (published code)."""

POSITIONS = ("max_position_embeddings", "max_encoder_position_embeddings")
"""Keys of a configuration that limit the tokens a model reads."""

LEAVING = 4
"""Rows leave a batch as soon as one in so many has its answer, as each time the cache is copied."""


class TokenEncoder:
    """Texts to token ids as an encoder-decoder reads them."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token, which ends every "
                "answer: set eos_token in its tokenizer_config.json"
            )
        self.tokenizer, self.end_id = tokenizer, int(tokenizer.eos_token_id)
        tokenizer.truncation_side = "right"
        # Without one of its own any token will do, as padding is masked.
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id

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
    scale: float = 1.0  # Of embeddings, where a model scales those of token ids alone.
    prefixes: SharedPrefixes | None = None  # None: each row has its own prompt.
    warn: Callable[[str], object] = staticmethod(warnings.warn)

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
        text = self.model.config.get_text_config(decoder=True)
        limits = (getattr(text, key, None) or 0 for key in POSITIONS)
        self.positions = next((limit for limit in limits if limit > 0), None)
        causal = self.architecture == "decoder-only"
        given = GenerationConfig() if causal else self.model.generation_config
        own = None if causal else getattr(self.model.config, "decoder_start_token_id", None)
        starts = given.decoder_start_token_id, own, given.bos_token_id  # As in transformers.
        self.start_token: Any = next((token for token in starts if token is not None), None)
        self.first_token: int | None = given.forced_bos_token_id
        # What else comes with a model, such as penalties, would be used where a call is silent.
        self.model.generation_config = self._search()
        if causal and self._empty_cache() is not None:
            kept = {"logits_to_keep": 1} if "logits_to_keep" in self.accepted else {}
            self.prefixes = SharedPrefixes(self.model, self._empty_cache, kept)
        check(self)
        # As the weights were read, whatever precision they are rounded to later.
        first = torch.arange(min(INITIAL_VOCABULARY, self.embedding.num_embeddings), device=device)
        self._initial_vocabulary = self.embed(first).detach().to("cpu", torch.float32, copy=True)

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

    def require_room(self, read: int, written: int) -> None:
        """Refuse more tokens of prompt and input, and of an answer, than there are positions."""
        apart = self.architecture == "encoder-decoder"  # It counts the answer for itself.
        parts, length = ("or", max(read, written)) if apart else ("and", read + written)
        if self.positions is not None and length > self.positions:
            raise ModelError(
                f"prompt and input {parts} answer have {length} tokens, the model takes "
                f"{self.positions}: lower prompt_length or input_length"
            )

    def embed(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, L)`` as ``(B, L, d)``."""
        embedded: Tensor = self.embedding(ids)
        return embedded if self.scale == 1 else embedded * self.scale

    @abc.abstractmethod
    def run(self, prompt: Tensor, batch: Batch, chosen: Tensor | None = None) -> ModelOutput:
        """As :meth:`bench.method.LanguageModel.run`."""

    @abc.abstractmethod
    def read(self, prompt: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What decoding starts from, one entry per row in each tensor."""

    def start(self, prompt: Tensor, batch: Batch, ahead: int) -> tuple[dict[str, Tensor], Any]:
        """Rows as of :meth:`read`, and a cache for ``ahead`` more tokens; None if it has none."""
        return self.read(prompt, batch), self._empty_cache()

    def sharing(self) -> AbstractContextManager[None]:
        """Within it, passes with one prompt share its states if the model can; see prefix.py."""
        return nullcontext() if self.prefixes is None else self.prefixes.kept()

    def generation_inputs(self, rows: dict[str, Tensor]) -> dict[str, Any]:
        """Rows of :meth:`read` as ``generate`` takes them."""
        return {**rows}

    @abc.abstractmethod
    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        """Scores ``(n, V)`` of what follows ``tokens`` ``(n, 1)``; changes rows and cache."""

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        """Answers to the inputs of a batch, greedy for one beam; its labels are not read."""
        with self.inference():
            self.require_room(prompt.shape[1] + batch.mask.shape[1], max_tokens)
            if beams == 1:
                rows, cache = self.start(prompt, batch, max_tokens)
                if cache is not None:
                    return self.decode(self._greedy(rows, cache, max_tokens))
            rows = self.read(prompt, batch)
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
        """Within it: no gradients and no dropout; passes with one prompt share its states."""
        with self.training(False), torch.no_grad(), self.sharing():
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
        """Likeliest tokens ``(B, T)``; unlike in ``generate``, rows leave when they have ended."""
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
        apart = self.model.config.is_encoder_decoder
        return EncoderDecoderCache(cache, DynamicCache(config=config)) if apart else cache


def prepend(
    prompt: Tensor, inputs: Tensor, mask: Tensor, chosen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Put the prompt of each row in front of ``inputs`` ``(B, L, d)`` and their mask.

    ``prompt`` is ``(B or 1, r, d)``, or ``(S, r, d)`` of which ``chosen`` ``(B,)`` names one a row.
    """
    if chosen is not None:
        # A product instead of an index: the gradient of an index adds up in no fixed order.
        one_hot = F.one_hot(chosen, len(prompt)).to(prompt.dtype)  # (B, S)
        prompt = torch.einsum("bs,srd->brd", one_hot, prompt)
    # Expanded first, so that the gradients of the rows are added up in the prompt's own type.
    prompt = prompt.expand(len(inputs), -1, -1).to(inputs.dtype)
    ones = mask.new_ones(prompt.shape[:2])
    return torch.cat([prompt, inputs], dim=1), torch.cat([ones, mask], dim=1)  # (B, r+L, …)


def model_output(
    logits: Tensor, labels: Tensor, hidden: Tensor, mask: Tensor, answer_hidden: Tensor
) -> ModelOutput:
    """Scores ``(B, T, V)`` in float32 with their loss, a mean over all target tokens."""
    logits = logits.float()
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL)
    return ModelOutput(loss, logits, hidden, mask, answer_hidden)
