"""The frozen language model: what the harness asks of it, whatever its architecture."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ConfigError, ModelError
from bench.models.dropout import use_frozen_dropout
from bench.models.encoders import TokenEncoder
from bench.models.info import Architecture, Precision
from bench.protocol import IGNORED_LABEL, Batch, ModelOutput
from bench.seeding import generator

INITIAL_VOCABULARY = 5000
"""``P_init`` is drawn from the embeddings of the first so many token ids (published code)."""


DTYPES: Mapping[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


class FrozenLM(abc.ABC):
    """A language model whose weights never change, with a soft prompt in front of its input."""

    architecture: ClassVar[Architecture]
    encoder_type: ClassVar[type[TokenEncoder]] = TokenEncoder

    def __init__(self, model: nn.Module, tokenizer: Any, device: torch.device) -> None:
        self.model = model.to(device).requires_grad_(False).eval()
        if device.type == "cpu":
            use_frozen_dropout(self.model)
        self.tokenizer = tokenizer
        self.encoder = self.encoder_type(tokenizer)
        self.device = device
        # As the weights were read, whatever precision they are rounded to later.
        first = self.embedding.weight.detach()[:INITIAL_VOCABULARY]
        self._initial_vocabulary = first.to("cpu", torch.float32, copy=True)

    def store_weights_in(self, precision: Precision) -> None:
        """Round the frozen weights to a precision, in which the model then computes.

        Buffers, such as the frequencies of rotary positions, keep theirs; so does ``P_init``, so
        that prompts of both precisions start at the same place.
        """
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(DTYPES[precision])

    @property
    def width(self) -> int:
        """``d``, the width of the embeddings."""
        return int(self.embedding.embedding_dim)

    @property
    def embedding(self) -> nn.Embedding:
        """The input embeddings, ``(V, d)``."""
        return self.model.get_input_embeddings()  # type: ignore[operator, no-any-return]

    def parameter_count(self) -> int:
        """Number of frozen parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def initial_prompt(self, length: int, seed: int) -> Tensor:
        """``P_init`` ``(r, d)`` float32 on the CPU: embeddings of ``r`` distinct random token ids.

        The same for every task of one (model, seed), as task vectors are differences to it
        (Lester et al. 2021; published code: ``permutation(5000)[:r]``). Taken from the weights in
        float32, so it is the same for every precision.

        Raises:
            ConfigError: the vocabulary has fewer than ``length`` tokens.
        """
        candidates = len(self._initial_vocabulary)
        if length > candidates:
            raise ConfigError(
                f"prompt_length: {length} is more than the {candidates} token embeddings to "
                "start from; choose a shorter prompt"
            )
        ids = torch.randperm(candidates, generator=generator("initial prompt", seed))[:length]
        return self._initial_vocabulary[ids]

    @property
    def positions(self) -> int | None:
        """Tokens that prompt, input and answer may have together; None: any number, as for T5."""
        return None

    def require_room(self, length: int) -> None:
        """Refuse what the model was not made for; learned positions would fail in obscure ways.

        Args:
            length: tokens of prompt, input and answer together.

        Raises:
            ModelError: they are more than the model takes.
        """
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
    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int = 1) -> list[str]:
        """Answers to the inputs of a batch, at most ``max_tokens`` long each.

        Args:
            prompt: ``(B, r, d)`` or ``(1, r, d)``.
            batch: its labels are not read.
            max_tokens: at least one.
            beams: of the search; 1: greedy.
        """

    def decode(self, ids: Tensor) -> list[str]:
        """Answers as text, without special tokens and outer white space."""
        # Many tokenizers are set to draw punctuation to the word before it: no longer the answer.
        texts: list[str] = self.tokenizer.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Within it: no gradients and no dropout; the former mode is restored afterwards."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was_training)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within it the model's dropout is active, as in the published runs."""
        was_training = self.model.training
        self.model.train()
        try:
            yield
        finally:
            self.model.train(was_training)


def prepend(prompt: Tensor, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put the prompt in front of embedded inputs.

    Args:
        prompt: ``(B, r, d)`` or ``(1, r, d)``.
        inputs: ``(B, L, d)``.
        mask: ``(B, L)``.

    Returns:
        ``(B, r+L, d)`` embeddings in the type of ``inputs``, and ``(B, r+L)`` their mask, 1 over
        the prompt.
    """
    rows = inputs.shape[0]
    # Expanded first, so that the gradients of the rows are added up in the prompt's own type.
    prompt = prompt.expand(rows, -1, -1).to(inputs.dtype)
    ones = mask.new_ones(rows, prompt.shape[1])
    return torch.cat([prompt, inputs], dim=1), torch.cat([ones, mask], dim=1)


def token_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the target tokens that count.

    Args:
        logits: ``(B, T, V)`` float32.
        labels: ``(B, T)``, :data:`~bench.protocol.IGNORED_LABEL` on padding.
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL)
