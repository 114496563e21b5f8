"""Small models with random weights, and batches of texts."""

import functools
from typing import Any, TypeAlias

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from bench.method import Batch
from bench.models.base import FrozenLM
from bench.models.decoder_only import DecoderOnlyLM
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.loading import BUNDLED, load

Rows: TypeAlias = list[tuple[list[int], list[int]]]

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SMALL, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "bart": {
        **{"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2},
        **{"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
    },
    "llama": {**WIDE, "num_key_value_heads": 2, "tie_word_embeddings": False},
    "gpt2": SMALL,
    # Scales its embeddings, caps its scores and sees a window only.
    "gemma2": {**WIDE, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16},
    # No positions in its call: distances, counted by the mask.
    "bloom": SMALL,
    # Keeps other states than keys and values.
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}

# Not for every test.
MORE: dict[str, dict[str, Any]] = {
    "qwen2": {**WIDE, "num_key_value_heads": 2},
    "mistral": {**WIDE, "num_key_value_heads": 2, "sliding_window": 16},
    # Windows of every second layer are no part of its cache.
    "gpt_neo": {
        **{"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16},
        "attention_types": [[["global", "local"], 1]],
    },
}


def make_model(kind: str, **settings: Any) -> FrozenLM:
    """Two layers with random weights that are large enough for answers to vary."""
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    ids = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    if kind in ("t5", "bart"):
        ids["decoder_start_token_id"] = words.pad_token_id
    if kind not in ("t5", "mamba"):
        ids["max_position_embeddings"] = 96
    ids |= {"bos_token_id": None, "vocab_size": len(words)}
    config = AutoConfig.for_model(kind, **{**ids, **(MODELS | MORE).get(kind, {}), **settings})
    reads_all = config.is_encoder_decoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loader = AutoModelForSeq2SeqLM if reads_all else AutoModelForCausalLM
        module = loader.from_config(config)
        for parameter in module.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    adapter = EncoderDecoderLM if reads_all else DecoderOnlyLM
    return adapter(module, words, torch.device("cpu"))


@functools.cache
def known(kind: str) -> FrozenLM:
    """A bundled model, or one with random weights; not to be changed."""
    return load(kind) if kind in BUNDLED else make_model(kind)


@pytest.fixture(params=MODELS)
def lm(request: pytest.FixtureRequest) -> FrozenLM:
    return known(request.param)


def batch_of(rows: Rows) -> Batch:
    """Rows of (input ids, label ids), padded to the longest."""

    def pad(rows: list[list[int]], value: int) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([row + [value] * (width - len(row)) for row in rows])

    mask = pad([[1] * len(read) for read, _ in rows], 0)
    return Batch(pad([r for r, _ in rows], 0), mask, pad([w for _, w in rows], -100))


@pytest.fixture
def rows() -> Rows:
    """Twelve rows of other lengths."""
    draw = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, 20, (12, 2), generator=draw).tolist()
    ids = [[torch.randint(3, 4000, (n,), generator=draw).tolist() for n in two] for two in sizes]
    return [(read, [*written[:5], 1]) for read, written in ids]


@pytest.fixture
def batch(rows: Rows) -> Batch:
    return batch_of(rows)
