"""How the frozen models read and write: texts to token ids, without padding."""

from __future__ import annotations

import hashlib
from typing import Any

from bench.errors import ConfigError, ModelError

MARK = "Label :"
"""Stands between input and answer, as in the published runs; white space on both sides."""


class TokenEncoder:
    """Texts to token ids as an encoder-decoder reads them, each with its end mark.

    Its fingerprint names cached results.

    Args:
        tokenizer: a fast tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.pad_id: int = tokenizer.pad_token_id
        described = tokenizer.backend_tokenizer.to_str()
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of sources and targets, each with the end mark, cut at the given lengths."""
        return {
            "input_ids": self._ids(sources, input_length),
            "labels": self._ids(targets, target_length),
        }

    def _ids(self, texts: list[str], length: int) -> list[list[int]]:
        encoded = self.tokenizer(texts, truncation=True, max_length=length)
        return encoded["input_ids"]  # type: ignore[no-any-return]


class CausalEncoder(TokenEncoder):
    """Texts to token ids: the input ends with :data:`MARK`, the answer with the end of text.

    An input that is too long loses the end of its source, never the mark. What the tokenizer puts
    in front of every text (Llama's begin-of-text token) stays in front of the input, behind the
    soft prompt; what it puts behind a text is left out.

    Args:
        tokenizer: a fast tokenizer of transformers; one without padding pads with its end of text,
            as padding is masked whatever it is.

    Raises:
        ModelError: it has no end of text.
    """

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"tokenizer {tokenizer.name_or_path!r} has no end-of-text token, which ends every "
                "answer: set eos_token in its tokenizer_config.json"
            )
        super().__init__(tokenizer)
        tokenizer.truncation_side = "right"
        self.end_id: int = tokenizer.eos_token_id
        if tokenizer.pad_token_id is None:
            self.pad_id = self.end_id
        # Both as they stand within a text: a word may look different where a text begins.
        self._beginning = _before(self._plain("a"), tokenizer("a")["input_ids"])
        self._mark = self._behind("a", [f"a {MARK}"])[0]
        parts = (self.fingerprint, MARK, self._beginning, self.end_id)
        self.fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of sources with the mark and of targets with the end of text, cut to the lengths.

        Raises:
            ConfigError: ``input_length`` has no room for a source.
            ModelError: the tokenizer joins the mark with an answer, or with a source.
        """
        room = input_length - len(self._beginning) - len(self._mark)
        if room < 1:
            raise ConfigError(
                f"input_length: {input_length} tokens leave no room for an input beside the "
                f"{input_length - room} around it; choose more"
            )
        read = self.tokenizer(sources, add_special_tokens=False, truncation=True, max_length=room)
        answers = self._behind(MARK, [f"{MARK} {target}" for target in targets])
        return {
            "input_ids": [[*self._beginning, *ids, *self._mark] for ids in read["input_ids"]],
            "labels": [[*ids[: target_length - 1], self.end_id] for ids in answers],
        }

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[no-any-return]

    def _behind(self, start: str, texts: list[str]) -> list[list[int]]:
        """Ids of what follows ``start`` in each of the texts, tokenised as part of the text."""
        first = self._plain(start)
        whole = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for text, ids in zip(texts, whole, strict=True):
            if ids[: len(first)] != first:
                raise ModelError(
                    f"tokenizer {self.tokenizer.name_or_path!r} joins {start!r} with what follows "
                    f"it in {text[:60]!r}: choose a tokenizer that splits at white space"
                )
        return [ids[len(first) :] for ids in whole]


def _before(part: list[int], whole: list[int]) -> list[int]:
    """What stands in ``whole`` before ``part``, which it holds."""
    starts = range(len(whole) - len(part) + 1)
    return whole[: next(at for at in starts if whole[at : at + len(part)] == part)]
