"""Base class of frozen language models of any architecture."""

from __future__ import annotations

import abc
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from bench.errors import ConfigError, ModelError
from bench.method import IGNORED_LABEL, Batch, ModelOutput
from bench.models.checks import check
from bench.models.dropout import use_byte_mask_dropout
from bench.models.prefix import SharedPrefixes, select_rows
from bench.record import Architecture, Precision
from bench.seeding import generator

INITIAL_VOCABULARY = 5000  # Number of first token ids to draw P_init from (published code).
REMOVAL_SHARE = 1 / 4  # Share of finished rows at which they are removed; this copies the cache.
POSITIONS = ("max_position_embeddings", "max_encoder_position_embeddings")
"""Configuration keys with the maximum number of tokens of a model."""


class TokenEncoder:
    """Encodes texts as token ids for an encoder-decoder."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token, which ends every "
                "answer: set eos_token in its tokenizer_config.json"
            )
        self.tokenizer, self.end_id = tokenizer, int(tokenizer.eos_token_id)
        tokenizer.truncation_side = "right"
        # Without a pad token, any token works, as padding is masked.
        self.pad_id: int = self.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of sources and targets, each with the end token, cut at the given lengths."""
        inputs = self.tokenizer(sources, truncation=True, max_length=input_length)["input_ids"]
        answers = self.tokenizer(targets, truncation=True, max_length=target_length)["input_ids"]
        end = [self.end_id]  # Some tokenizers write none.
        labels = [ids if ids[-1:] == end else ids[: target_length - 1] + end for ids in answers]
        return {"input_ids": inputs, "labels": labels}


class FrozenLM(abc.ABC):
    """Language model with frozen weights and a soft prompt in front of its input."""

    architecture: ClassVar[Architecture]
    encoder_type: ClassVar[type[TokenEncoder]] = TokenEncoder
    scale: float = 1.0  # Embedding scale of models that apply it to token ids only.
    prefixes: SharedPrefixes | None = None  # None: prompts are not shared by rows.
    warn: Callable[[str], object] = staticmethod(warnings.warn)

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self.model = model.to(device).requires_grad_(False).eval()
        self.device = device
        if device.type == "cpu":
            use_byte_mask_dropout(self.model)
        self.tokenizer = tokenizer
        self.encoder = self.encoder_type(tokenizer)
        self.embedding: nn.Embedding = self.model.get_input_embeddings()
        self.width = self.embedding.embedding_dim
        self.forward_parameters = frozenset(inspect.signature(self.model.forward).parameters)
        config = self.model.config.get_text_config(decoder=True)
        limits = (getattr(config, key, None) or 0 for key in POSITIONS)
        self.positions = next((limit for limit in limits if limit > 0), None)
        self.start_token: Any = None
        self.first_token: int | None = None
        causal = self.architecture == "decoder-only"
        if not causal:
            defaults = self.model.generation_config
            start = getattr(self.model.config, "decoder_start_token_id", None)
            starts = defaults.decoder_start_token_id, start, defaults.bos_token_id
            # The first that is set, as in transformers.
            self.start_token = next((token for token in starts if token is not None), None)
            self.first_token = defaults.forced_bos_token_id
        # Drops the model's other generation defaults, such as penalties.
        self.model.generation_config = self._search()
        if causal and self._empty_cache() is not None:
            options = {"logits_to_keep": 1} if "logits_to_keep" in self.forward_parameters else {}
            self.prefixes = SharedPrefixes(self.model, self._empty_cache, options)
        check(self)
        # Copied before weights are rounded to another precision.
        ids = torch.arange(min(INITIAL_VOCABULARY, self.embedding.num_embeddings), device=device)
        self._initial_vocabulary = self.embed(ids).detach().to("cpu", torch.float32, copy=True)

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

        Depends only on model and seed (Lester et al. 2021; published: ``permutation(5000)[:r]``).
        """
        candidates = len(self._initial_vocabulary)
        if length > candidates:
            raise ConfigError(
                f"prompt_length: {length} is more than the {candidates} token embeddings to "
                "start from; choose a shorter prompt"
            )
        ids = torch.randperm(candidates, generator=generator("initial prompt", seed))[:length]
        return self._initial_vocabulary[ids]

    def require_positions(self, read: int, written: int) -> None:
        """Raise ModelError if prompt, input and answer exceed the positions of the model."""
        apart = self.architecture == "encoder-decoder"  # Encoder and decoder count apart.
        length = max(read, written) if apart else read + written
        if self.positions is not None and length > self.positions:
            raise ModelError(
                f"prompt and input {'or' if apart else 'and'} answer have {length} tokens, the "
                f"model takes {self.positions}: lower prompt_length or input_length"
            )

    def embed(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, L)`` as ``(B, L, d)``."""
        embedded: Tensor = self.embedding(ids)
        return embedded if self.scale == 1 else embedded * self.scale

    @abc.abstractmethod
    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        """See :meth:`bench.method.LanguageModel.run`."""

    @abc.abstractmethod
    def read(self, prompt: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Decoding inputs by name: mask ``(B, r+L)``, and states or embeddings ``(B, r+L, d)``."""

    def start(self, prompt: Tensor, batch: Batch, ahead: int) -> tuple[dict[str, Tensor], Any]:
        """Rows as from :meth:`read`, and a cache for ``ahead`` more tokens or None."""
        return self.read(prompt, batch), self._empty_cache()

    def sharing(self) -> AbstractContextManager[None]:
        """Context in which passes share the states of a prompt, if the model can; see prefix.py."""
        return nullcontext() if self.prefixes is None else self.prefixes.kept()

    def generation_inputs(self, rows: dict[str, Tensor]) -> dict[str, Any]:
        """Arguments of ``generate`` for rows of :meth:`read`."""
        return dict(rows)

    @abc.abstractmethod
    def next_scores(self, rows: dict[str, Tensor], tokens: Tensor | None, cache: Any) -> Tensor:
        """Logits ``(n, V)`` of the token after ``tokens`` ``(n, 1)``; updates rows and cache."""

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        """Answers to the inputs of a batch, greedy for one beam; labels are not read.

        ModelError if they need more positions than the model has.
        """
        with self.inference():
            self.require_positions(prompt.shape[1] + batch.mask.shape[1], max_tokens)
            if beams == 1:
                rows, cache = self.start(prompt, batch, max_tokens)
                if cache is not None:
                    return self.decode(self._greedy(rows, cache, max_tokens))
            rows = self.read(prompt, batch)
            search = self._search(max_new_tokens=max_tokens, num_beams=beams)
            ids = self.model.generate(**self.generation_inputs(rows), generation_config=search)
            return self.decode(ids)

    def decode(self, ids: Tensor) -> list[str]:
        """Answers as text, without special tokens and outer white space."""
        # The clean-up of many tokenizers removes spaces before punctuation, which alters answers.
        texts: list[str] = self.tokenizer.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Context without gradients and dropout, in which passes share the states of a prompt."""
        with self.training(False), torch.no_grad(), self.sharing():
            yield

    @contextmanager
    def training(self, active: bool = True) -> Iterator[None]:
        """Context with active dropout; restores the previous mode afterwards."""
        previous = self.model.training
        self.model.train(active)
        try:
            yield
        finally:
            self.model.train(previous)

    def _greedy(self, rows: dict[str, Tensor], cache: Any, max_tokens: int) -> Tensor:
        """Greedy tokens ``(B, T)``; unlike in ``generate``, finished rows leave the batch."""
        count, device = len(rows["attention_mask"]), self.device
        answers = torch.full((count, max_tokens), self.encoder.pad_id, device=device)
        indices = torch.arange(count, device=device)  # Of the rows still in the batch.
        finished = torch.zeros(count, dtype=torch.bool, device=device)
        tokens: Tensor | None = None
        for step in range(max_tokens):
            ids = self.next_scores(rows, tokens, cache).float().argmax(dim=-1)
            if step == 0 and self.first_token is not None:
                ids = torch.full_like(ids, self.first_token)
            ids = ids.masked_fill(finished, self.encoder.pad_id)
            answers[indices, step] = ids
            finished |= ids == self.encoder.end_id
            unfinished = (~finished).nonzero().squeeze(1)
            if len(unfinished) == 0:
                return answers[:, : step + 1]
            if len(unfinished) <= len(indices) * (1 - REMOVAL_SHARE):
                cache.batch_select_indices(unfinished)
                rows = {name: value[unfinished] for name, value in rows.items()}
                indices, ids = indices[unfinished], ids[unfinished]
                finished = finished[unfinished]
            tokens = ids.unsqueeze(1)  # (rows in the batch, 1)
        return answers

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
        """Cache that can drop rows; None for models with other states, such as state spaces."""
        config = self.model.config.get_text_config(decoder=True)
        cache = DynamicCache(config=config)
        others = {type(layer) for layer in cache.layers} - {DynamicLayer, DynamicSlidingWindowLayer}
        if others or "past_key_values" not in self.forward_parameters:
            return None
        if self.model.config.is_encoder_decoder:
            return EncoderDecoderCache(cache, DynamicCache(config=config))
        return cache


def prepend(
    prompt: Tensor, inputs: Tensor, mask: Tensor, prompt_index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Put the prompt of each row in front of ``inputs`` ``(B, L, d)`` and their mask.

    ``prompt`` is ``(B or 1, r, d)``, or ``(S, r, d)`` with a ``prompt_index`` ``(B,)``.
    """
    if prompt_index is not None:
        prompt = select_rows(prompt, prompt_index)
    # Expanded before the cast, so that gradients of rows are summed in the prompt's dtype.
    prompt = prompt.expand(len(inputs), -1, -1).to(inputs.dtype)
    ones = mask.new_ones(prompt.shape[:2])
    return torch.cat([prompt, inputs], dim=1), torch.cat([ones, mask], dim=1)  # (B, r+L, …)


def model_output(
    logits: Tensor, labels: Tensor, hidden: Tensor, mask: Tensor, answer_hidden: Tensor
) -> ModelOutput:
    """Output with float32 logits ``(B, T, V)``, and their loss as a mean over target tokens."""
    logits = logits.float()
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL)
    return ModelOutput(loss, logits, hidden, mask, answer_hidden)
