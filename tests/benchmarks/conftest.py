"""What the benchmarks share: a model of t5-small's shape, real rows, and fair clocks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import datasets
import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from bench.data import EncodedExamples, encode_examples, load_splits, open_source
from bench.models.base import FrozenLM
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.tasks import get_task

Encoded = Callable[[str, Literal["train", "validation", "test"]], EncodedExamples]


@pytest.fixture(scope="session")
def t5_small(shared: Path) -> FrozenLM:
    """T5 of t5-small's shape with random weights and the real tokenizer, in evaluation mode."""
    torch.manual_seed(0)
    # The defaults are t5-small.
    model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))
    words = AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")
    return EncoderDecoderLM(model, words, torch.device("cpu"))


@pytest.fixture(scope="session")
def encoded(
    shared: Path, t5_small: FrozenLM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encoded]:
    """Encodes real rows of a task: ``encoded("mrpc", "train")``."""
    source = open_source(str(shared / "data"))

    @functools.cache
    def encode(name: str, part: Literal["train", "validation", "test"]) -> EncodedExamples:
        task = get_task(name)
        rows = getattr(load_splits(source, task), part)
        return encode_examples(rows, task, t5_small.encoder, training=part == "train")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield encode


@pytest.fixture(scope="session")
def in_turn() -> Callable[[Sequence[Callable[[], object]], int], list[list[float]]]:
    """Times actions in turn, so that whatever else the machine does hits all of them alike."""

    def measure(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
        """Seconds of each action in each of the rounds, after one round that is not counted."""
        seconds: list[list[float]] = [[] for _ in actions]
        for number in range(rounds + 1):
            for action, times in zip(actions, seconds, strict=True):
                began = time.perf_counter()
                action()
                if number:
                    times.append(time.perf_counter() - began)
        return seconds

    return measure
