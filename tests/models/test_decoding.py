"""Greedy answers against ``generate`` of transformers, token by token, whenever rows end."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from bench.data.batches import Example, collate
from bench.models.base import FrozenLM, prepend
from bench.models.catalog import BUNDLED, auto_class
from bench.models.decoder_only import DecoderOnlyLM
from bench.models.decoding import greedy_loop
from bench.models.encoder_decoder import ENCODED_AT_ONCE, EncoderDecoderLM
from bench.protocol import Batch

ROWS, MOST, LENGTH = 12, 14, 3

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BART = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
MODELS: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "bart": BART,
    "marian": BART,
    "llama": {**SMALL, "intermediate_size": 48},
    "gpt2": SMALL,
    "bloom": SMALL,
    "gemma2": {**SMALL, "intermediate_size": 48, "head_dim": 8, "sliding_window": 8},
}
WRITERS = [kind for kind in MODELS if kind in ("llama", "gpt2", "bloom", "gemma2")]
READERS = [kind for kind in MODELS if kind not in WRITERS]


def make(kind: str) -> FrozenLM:
    """A model of two layers whose answers vary from row to row and from token to token."""
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(words),
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        decoder_start_token_id=words.pad_token_id,
        forced_eos_token_id=None,
        **({} if kind == "t5" else {"max_position_embeddings": 64}),
        **MODELS[kind],
    )
    architecture = "decoder-only" if kind in WRITERS else "encoder-decoder"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = auto_class(architecture).from_config(config)  # type: ignore[arg-type]
        for parameter in module.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        left, right = torch.randn(len(words), 8), torch.randn(8, len(words)) / 2

    def wander(module: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        """The token before has its say too: random weights alone repeat themselves."""
        ids = options.get("decoder_input_ids", options.get("input_ids"))
        if ids is not None:
            scores = output.logits[:, -1]
            scores += scores.std(dim=-1, keepdim=True) * (left[ids[:, -1]] @ right)

    module.register_forward_hook(wander, with_kwargs=True)
    adapter = DecoderOnlyLM if kind in WRITERS else EncoderDecoderLM
    return adapter(module, words, torch.device("cpu"))


known = functools.cache(make)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Rows of other lengths."""
    draw = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, 20, (ROWS,), generator=draw).tolist()
    return collate(
        [
            Example(input_ids=torch.randint(3, 4000, (n,), generator=draw).tolist(), labels=[1])
            for n in sizes
        ],
        0,
    )


def prompt_of(lm: FrozenLM, rows: int) -> Tensor:
    noise = torch.randn(rows, LENGTH, lm.width, generator=torch.Generator().manual_seed(1))
    return lm.initial_prompt(LENGTH, 42) + 0.3 * noise


@contextmanager
def ending(lm: FrozenLM, ends: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it every one of these tokens ends an answer."""
    with monkeypatch.context() as patch:
        if isinstance(lm, DecoderOnlyLM):
            patch.setattr(lm.encoder, "end_id", ends)
        else:
            patch.setattr(lm.model.generation_config, "eos_token_id", ends)
        yield


def ours(
    lm: FrozenLM, batch: Batch, monkeypatch: pytest.MonkeyPatch, most: int = MOST, rows: int = ROWS
) -> tuple[list[list[int]], list[int]]:
    """Tokens of the answers, and how many rows each pass through the decoder had."""
    passes: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(lm, "decode", lambda ids: ids.tolist())
        hook = lm.model.register_forward_hook(
            lambda module, args, output: passes.append(len(output.logits))
        )
        answers: Any = lm.answer(prompt_of(lm, rows), batch, most)
        hook.remove()
    return answers, passes


def theirs(lm: FrozenLM, batch: Batch, most: int = MOST, rows: int = ROWS) -> list[list[int]]:
    """What ``generate`` gives by its own loop."""
    options: dict[str, Any] = {"max_new_tokens": most, "num_beams": 1, "do_sample": False}
    prompt = prompt_of(lm, rows)
    if isinstance(lm, DecoderOnlyLM):
        embeds, mask = lm._read(prompt, batch)
        options = {"generation_config": lm._decoding(max_new_tokens=most, num_beams=1)}
    else:
        embeds, mask = prepend(prompt, lm.embed(batch.input_ids), batch.mask)
    generate: Any = lm.model.generate
    found: list[list[int]] = generate(inputs_embeds=embeds, attention_mask=mask, **options).tolist()
    return found


def lengths(answers: list[list[int]], ends: list[int], start: int) -> list[int]:
    """Tokens of each answer up to its end."""
    return [
        next((at for at, token in enumerate(row[start:], 1) if token in ends), len(row) - start)
        for row in answers
    ]


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_that_end_at_other_steps(
    kind: str, rows: int, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one prompt for each row, and with one for all."""
    lm = known(kind)
    ends = list(range(1, len(lm.tokenizer), 8))
    with ending(lm, ends, monkeypatch):
        expected = theirs(lm, batch, rows=rows)
        found, passes = ours(lm, batch, monkeypatch, rows=rows)
    assert found == expected
    steps = lengths(expected, ends, start=int(kind in READERS))
    assert len(set(steps)) >= 4  # Equal answers say something.
    # Every pass holds the rows that go on, and fewer than a third more.
    going = [sum(step > at for step in steps) for at in range(max(steps))]
    assert len(passes) == len(going)
    assert passes[0] == ROWS
    assert all(most >= n > 3 / 4 * most for n, most in zip(going[1:], passes[1:], strict=True))


@pytest.mark.parametrize("kind", MODELS)
def test_rows_that_all_end_at_once(
    kind: str, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = known(kind)
    with ending(lm, list(range(1, len(lm.tokenizer))), monkeypatch):
        found, passes = ours(lm, batch, monkeypatch)
        assert found == theirs(lm, batch)
    assert passes == [ROWS]


@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_that_never_end(
    kind: str, most: int, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = known(kind)
    with ending(lm, [0], monkeypatch):
        found, passes = ours(lm, batch, monkeypatch, most)
        assert found == theirs(lm, batch, most)
    assert passes == [ROWS] * most
    assert {len(row) for row in found} == {most + int(kind in READERS)}


@pytest.mark.parametrize(
    ("rules", "leave"),
    [
        # As BART's checkpoints have them.
        (
            {
                "forced_bos_token_id": 7,
                "forced_eos_token_id": 9,
                "no_repeat_ngram_size": 3,
                "min_length": 4,
                "num_beams": 4,
                "early_stopping": True,
            },
            True,
        ),
        ({"repetition_penalty": 1.7, "suppress_tokens": [11, 12]}, True),
        ({"do_sample": True, "temperature": 0.3, "top_k": 5}, True),
        ({"use_cache": False}, True),
        # Not known to look at each row alone, and a cache that rows cannot leave.
        ({"renormalize_logits": True}, False),
        ({"cache_implementation": "static"}, False),
    ],
)
@pytest.mark.parametrize("kind", READERS)
def test_what_a_model_asks_for_is_kept(
    kind: str, rules: dict[str, Any], leave: bool, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make(kind)
    plain = theirs(lm, batch)
    lm.model.generation_config.update(**rules)  # type: ignore[union-attr, operator]
    with ending(lm, list(range(9, len(lm.tokenizer), 8)), monkeypatch):
        expected = theirs(lm, batch)
        found, passes = ours(lm, batch, monkeypatch)
    assert found == expected != plain
    assert (len(set(passes)) > 1) == leave


@pytest.mark.parametrize("kind", READERS)
def test_inputs_are_encoded_in_parts(
    kind: str, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = known(kind)
    monkeypatch.setitem(ENCODED_AT_ONCE, "cpu", 60)
    read: list[tuple[int, int]] = []
    encoder: Any = lm.model.get_encoder()  # type: ignore[operator]
    with ending(lm, list(range(1, len(lm.tokenizer), 8)), monkeypatch):
        expected = theirs(lm, batch)
        hook = encoder.register_forward_hook(
            lambda module, args, output: read.append(tuple(output.last_hidden_state.shape[:2]))
        )
        found, _ = ours(lm, batch, monkeypatch)
        hook.remove()
    assert found == expected
    lengths = (LENGTH + batch.mask.sum(dim=1)).tolist()
    at = 0
    for rows, width in read:
        # As many of the rows that follow as surely fit, and as wide as the longest of them.
        assert width == max(lengths[at : at + rows])
        assert rows * width <= 60
        assert at + rows == ROWS or (rows + 1) * max(lengths[at:]) > 60
        at += rows
    assert at == ROWS
    assert len({width for _, width in read}) > 1


def test_another_kind_of_search_is_left_to_the_model() -> None:
    lm = make("t5")
    assert greedy_loop(lm.model) is not None
    lm.model.generation_config.update(prompt_lookup_num_tokens=2)  # type: ignore[union-attr, operator]
    assert greedy_loop(lm.model) is None
