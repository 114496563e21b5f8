"""Figures with their aims in processor time, and a T5 of t5-small's shape on real rows."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from bench.data import Examples, open_source
from bench.models.encoder_decoder import EncoderDecoderLM

Action = Callable[[], object]
Times = tuple[list[float], list[float]]
"""Seconds of each round: wall time, processor time."""


@pytest.fixture
def figure(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Prints a figure, keeps it with the benchmark, and compares it with its aim."""

    def tell(name: str, value: float, least: float = 0, most: float = math.inf) -> None:
        benchmark.extra_info[name] = value
        with capsys.disabled():
            text = f"{name}: {value:.3f} (aim: {least:g} to {most:g})"
            print(f"\n{benchmark.name}: {text}", end="", flush=True)
        assert least <= value <= most

    return tell


@pytest.fixture
def in_turn(benchmark: Any) -> Callable[..., list[Times]]:
    """Does actions in turn, so that whatever else the machine does hits all of them alike."""

    def measure(*actions: Action, rounds: int) -> list[Times]:
        times: list[Times] = [([], []) for _ in actions]

        def do_rounds() -> None:
            for _ in range(rounds):
                for action, (wall, processor) in zip(actions, times, strict=True):
                    began = time.perf_counter(), sum(os.times()[:4])
                    action()
                    wall.append(time.perf_counter() - began[0])
                    processor.append(sum(os.times()[:4]) - began[1])

        benchmark.pedantic(do_rounds, rounds=1)
        return times

    return measure


@pytest.fixture
def seconds(in_turn: Any, figure: Any) -> Callable[..., None]:
    """Compares the least seconds of an action with an aim."""

    def compare(action: Action, rounds: int, most: float) -> None:
        [(wall, processor)] = in_turn(action, rounds=rounds)
        figure("seconds, wall time", min(wall))
        figure("seconds, processor time", min(processor), most=most)

    return compare


@pytest.fixture
def ratio(in_turn: Any, figure: Any) -> Callable[..., None]:
    """Compares the median seconds of one action, as a multiple of another's, with an aim."""

    def compare(name: str, first: Action, second: Action, rounds: int, **aim: float) -> None:
        times = in_turn(first, second, rounds=rounds)
        wall, processor = (median(a) / median(b) for a, b in zip(*times, strict=True))
        figure(f"{name}, wall time", wall)
        figure(f"{name}, processor time", processor, **aim)

    return compare


@pytest.fixture(scope="session")
def untrained() -> Callable[[], T5ForConditionalGeneration]:
    """Makes a T5 of t5-small's shape with random weights, always equal ones."""

    def make() -> T5ForConditionalGeneration:
        torch.manual_seed(0)
        # The defaults are t5-small, with dropout.
        return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))

    return make


@pytest.fixture(scope="session")
def t5_small(untrained: Callable[[], T5ForConditionalGeneration], shared: Path) -> EncoderDecoderLM:
    """That T5 with its real tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")
    return EncoderDecoderLM(untrained(), tokenizer, torch.device("cpu"))


@pytest.fixture(scope="session")
def examples(shared: Path, t5_small: EncoderDecoderLM) -> Examples:
    """Real rows of all tasks."""
    return Examples(open_source(str(shared / "data")), t5_small.encoder, data_seed=42)
