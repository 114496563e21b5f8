"""What a decoder-only model reads and writes, for tokenizers of the usual kinds."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bench.errors import ConfigError, ModelError
from bench.models.base import TokenEncoder
from bench.models.decoder_only import CausalEncoder
from bench.models.loading import BUNDLED

BEGIN, END = "<|begin|>", "<|end|>"
CORPUS = ["rte sentence1: The dogs sleep . sentence2: 12 dogs sleep .", "Label : 0 1 no Paris"] * 3
SOURCES = ["rte sentence1: The dogs sleep .", "x", "cola sentence: caf\u00e9 \u4e2d, 3.4!"]
TARGETS = ["1", "Paris, France", "-3.4", "(no)"]


def trained(split: Any, decode: Any, begin: bool = False) -> Any:
    """A byte-pair tokenizer trained on a few words."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = split, decode
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": [BEGIN, END], "initial_alphabet": alphabet}
    trainer = trainers.BpeTrainer(vocab_size=400, **options)
    raw.train_from_iterator(CORPUS, trainer)
    if begin:
        raw.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, bos_token=BEGIN)


def byte_level() -> Any:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return trained(split, decoders.ByteLevel())


def llama3() -> Any:
    """Splits digits from the space in front of them, as Llama 3 does, and begins every text."""
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), whole])
    return trained(split, decoders.ByteLevel(), begin=True)


def llama2() -> Any:
    """Marks every space, also one in front of the text, and begins every text."""
    split = pre_tokenizers.Metaspace(prepend_scheme="first")
    return trained(split, decoders.Metaspace(prepend_scheme="first"), begin=True)


def test_answers_of_an_encoder_decoder_end() -> None:
    """Also where the tokenizer writes no end token, as those of Gemma."""
    tokenizer = llama2()
    end = tokenizer.eos_token_id
    encoder = TokenEncoder(tokenizer)
    for length in (3, 30):
        for ids in encoder.encode(SOURCES, TARGETS[:3], 30, length)["labels"]:
            assert ids[-1] == end
            assert ids.count(end) == 1
            assert len(ids) <= length
    kept = TokenEncoder(AutoTokenizer.from_pretrained(BUNDLED["tiny"].path))
    assert kept.encode(["x"], ["yes"], 9, 9)["labels"][0].count(kept.end_id) == 1


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "tiny": lambda: AutoTokenizer.from_pretrained(BUNDLED["tiny"].path),
    "gpt2": byte_level,
    "llama2": llama2,
    "llama3": llama3,
}


@functools.cache
def known(kind: str) -> CausalEncoder:
    return CausalEncoder(TOKENIZERS[kind]())


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_input_and_answer_are_the_tokens_of_the_published_text(kind: str) -> None:
    words, encoder = known(kind).tokenizer, known(kind)
    pairs = [(source, target) for source in SOURCES for target in TARGETS]
    ids = encoder.encode([s for s, _ in pairs], [t for _, t in pairs], 256, 64)
    begins = [0] if kind in ("llama2", "llama3") else []
    for (source, target), read, written in zip(pairs, ids["input_ids"], ids["labels"], strict=True):
        plain = words(f"{source} Label : {target}", add_special_tokens=False)["input_ids"]
        assert [*read, *written] == [*begins, *plain, words.eos_token_id]
        mark = words(f"{source} Label :", add_special_tokens=False)["input_ids"]
        assert read == [*begins, *mark]


@pytest.mark.parametrize("room", [12, 20, 30])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_cut_input_keeps_beginning_and_mark(kind: str, room: int) -> None:
    encoder, source = known(kind), " ".join(["dogs"] * 30)

    def encoded(length: int, answer: int) -> tuple[list[int], list[int]]:
        ids = encoder.encode([source], ["no Paris"], length, answer)
        return ids["input_ids"][0], ids["labels"][0]

    words = functools.partial(encoder.tokenizer, add_special_tokens=False)
    mark = words("x Label :")["input_ids"][len(words("x")["input_ids"]) :]
    (whole, answer), (read, written) = encoded(999, 999), encoded(room, 2)
    assert len(read) == room < len(whole)
    assert read == whole[: room - len(mark)] + mark
    assert written == [answer[0], encoder.end_id]


def test_a_tokenizer_without_pad_token() -> None:
    assert byte_level().pad_token_id is None
    assert CausalEncoder(byte_level()).pad_id == byte_level().eos_token_id


@pytest.mark.parametrize("encoder", [TokenEncoder, CausalEncoder])
def test_inputs_lose_their_end_whatever_the_tokenizer_says(encoder: Any) -> None:
    texts = ["rte dogs sleep dogs sleep dogs sleep"], ["Paris dogs sleep dogs"]
    right, left = byte_level(), byte_level()
    left.truncation_side = "left"
    expected, found = encoder(right), encoder(left)
    assert found.encode(*texts, 14, 4) == expected.encode(*texts, 14, 4)


def test_no_room_for_an_input_is_refused() -> None:
    assert len(known("tiny").encode(["x y z"], ["1"], 5, 8)["input_ids"][0]) == 5
    with pytest.raises(ConfigError, match="input_length: 4 tokens leave no room") as caught:
        known("tiny").encode(["x y z"], ["1"], 4, 8)
    assert "\n" not in str(caught.value)


def test_tokenizers_of_no_use_are_refused() -> None:
    words = byte_level()
    words.eos_token = None
    for encoder in (TokenEncoder, CausalEncoder):
        with pytest.raises(ModelError, match="no end-of-text token"):
            encoder(words)
    letters = {letter: i for i, letter in enumerate("aLbel: 1")}
    raw = Tokenizer(models.BPE({**letters, ": ": 8, END: 9}, [(":", " ")]))
    joins = CausalEncoder(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END))
    with pytest.raises(ModelError, match="joins 'Label :' with what follows") as caught:
        joins.encode(["a"], ["1"], 20, 8)
    assert "\n" not in str(caught.value)
