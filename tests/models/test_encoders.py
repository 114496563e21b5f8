"""What a decoder-only model reads and writes, for tokenizers of the usual kinds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bench.errors import ConfigError, ModelError
from bench.models.catalog import BUNDLED
from bench.models.encoders import CausalEncoder, TokenEncoder

BEGIN, END = "<|begin|>", "<|end|>"
CORPUS = ["rte sentence1: The dogs sleep . sentence2: 12 dogs sleep .", "Label : 0 1 no Paris"] * 3
SOURCES = ["rte sentence1: The dogs sleep .", "x", "cola sentence: caf\u00e9 \u4e2d, 3.4!"]
TARGETS = ["1", "Paris, France", "-3.4", "(no)"]


def trained(split: Any, decode: Any, begin: bool = False, pad: bool = False) -> Any:
    """A byte-pair tokenizer trained on a few words."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = split, decode
    special = [BEGIN, END]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    raw.train_from_iterator(CORPUS, trainer)
    if begin:
        raw.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=END, bos_token=BEGIN, pad_token=END if pad else None
    )


def byte_level(**options: Any) -> Any:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return trained(split, decoders.ByteLevel(), **options)


def llama3() -> Any:
    """Splits digits from the space in front of them, as Llama 3 does, and begins every text."""
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return trained(split, decoders.ByteLevel(), begin=True)


def llama2() -> Any:
    """Marks every space, also one in front of the text, and begins every text."""
    split = pre_tokenizers.Metaspace(prepend_scheme="first")
    return trained(split, decoders.Metaspace(prepend_scheme="first"), begin=True)


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "tiny": lambda: AutoTokenizer.from_pretrained(BUNDLED["tiny"].path),
    "gpt2": byte_level,
    "qwen": lambda: byte_level(pad=True),
    "llama2": llama2,
    "llama3": llama3,
}


@functools.cache
def known(kind: str) -> CausalEncoder:
    return CausalEncoder(TOKENIZERS[kind]())


@pytest.fixture(params=TOKENIZERS)
def words(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def begins(words: Any) -> list[int]:
    return [0] if words("a")["input_ids"][0] == 0 and words.bos_token == BEGIN else []


def test_input_and_answer_are_the_tokens_of_the_published_text(words: Any) -> None:
    encoder = CausalEncoder(words)
    sources = [source for source in SOURCES for _ in TARGETS]
    targets = TARGETS * len(SOURCES)
    ids = encoder.encode(sources, targets, 256, 64)
    for source, target, read, written in zip(
        sources, targets, ids["input_ids"], ids["labels"], strict=True
    ):
        text = f"{source} Label : {target}"
        plain = words(text, add_special_tokens=False)["input_ids"]
        assert [*read, *written] == [*begins(words), *plain, words.eos_token_id]
        shown = words.decode(read, skip_special_tokens=True)
        assert (
            shown.split()
            == words.decode(
                words(f"{source} Label :", add_special_tokens=False)["input_ids"]
            ).split()
        )


def test_begin_of_text_stands_before_the_input_alone() -> None:
    encoder = CausalEncoder(llama3())
    ids = encoder.encode(["rte"], ["1"], 64, 8)
    assert ids["input_ids"][0].count(0) == 1
    assert ids["input_ids"][0][0] == 0
    assert 0 not in ids["labels"][0]


@settings(max_examples=30, deadline=None)
@given(st.integers(12, 40), st.integers(0, 30), st.integers(1, 12))
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_cut_input_keeps_beginning_and_mark(
    kind: str, room: int, number: int, answer_room: int
) -> None:
    encoder = known(kind)
    words = encoder.tokenizer
    source = " ".join(["dogs"] * number) or "x"
    mark = words("x Label :", add_special_tokens=False)["input_ids"][
        len(words("x", add_special_tokens=False)["input_ids"]) :
    ]
    full = encoder.encode([source], ["no Paris"], 999, 999)
    cut = encoder.encode([source], ["no Paris"], room, answer_room)
    (read,), (written,) = cut["input_ids"], cut["labels"]
    assert len(read) == min(room, len(full["input_ids"][0]))
    assert read[-len(mark) :] == mark
    assert read[: -len(mark)] == full["input_ids"][0][: len(read) - len(mark)]
    answer = full["labels"][0][:-1]
    assert written == [*answer[: answer_room - 1], encoder.end_id]
    # Given one more token, a cut input takes it: so it can be told from one that fits exactly.
    longer = encoder.encode([source], ["no Paris"], room + 1, answer_room)["input_ids"][0]
    assert (len(longer) > len(read)) == (len(full["input_ids"][0]) > room)


def test_inputs_lose_their_end_even_if_the_tokenizer_cuts_the_beginning() -> None:
    words = byte_level()
    words.truncation_side = "left"
    encoder = CausalEncoder(words)
    read = encoder.encode(["rte dogs dogs dogs dogs dogs"], ["1"], 12, 8)["input_ids"][0]
    assert words.decode(read).startswith("rte dogs")


def test_without_padding_the_end_of_text_pads() -> None:
    assert byte_level().pad_token_id is None
    assert CausalEncoder(byte_level()).pad_id == byte_level().eos_token_id


def test_no_room_for_an_input_is_refused() -> None:
    encoder = CausalEncoder(TOKENIZERS["tiny"]())
    assert len(encoder.encode(["x y z"], ["1"], 5, 8)["input_ids"][0]) == 5
    with pytest.raises(ConfigError, match="input_length: 4 tokens leave no room") as caught:
        encoder.encode(["x y z"], ["1"], 4, 8)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_end_of_text_is_refused() -> None:
    words = byte_level()
    words.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        CausalEncoder(words)


def test_a_tokenizer_that_joins_words_is_refused() -> None:
    letters = {letter: i for i, letter in enumerate("aLbel: 1")}
    raw = Tokenizer(models.BPE({**letters, ": ": 8, END: 9}, [(":", " ")]))
    words = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END)
    encoder = CausalEncoder(words)
    with pytest.raises(ModelError, match="joins 'Label :' with what follows") as caught:
        encoder.encode(["a"], ["1"], 20, 8)
    assert "\n" not in str(caught.value)


def test_caches_are_told_apart() -> None:
    words = TOKENIZERS["tiny"]()
    assert CausalEncoder(words).fingerprint == CausalEncoder(words).fingerprint
    assert CausalEncoder(words).fingerprint != TokenEncoder(words).fingerprint
    assert CausalEncoder(byte_level()).fingerprint != CausalEncoder(llama3()).fingerprint
