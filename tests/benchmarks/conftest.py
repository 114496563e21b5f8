"""Figures with their aims in processor time, and a T5 of t5-small's shape on real rows."""

import math
import os
import subprocess
import sys
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

HERE = Path(__file__).resolve().parent
PROMPT, BATCH = 100, 16
"""Tokens of the prompt, rows of a batch."""
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
def peaks(benchmark: Any) -> Callable[..., list[float]]:
    """GiB of memory that a program tells, for each list of its arguments."""
    if sys.platform != "linux":
        pytest.skip("other systems count memory in other units")
    path = os.pathsep.join((str(HERE.parents[1]), str(HERE)))

    def start(program: str, arguments: list[str]) -> float:
        command, own = [sys.executable, "-c", program, *arguments], {"PYTHONPATH": path}
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | own)
        return int(done.stdout) / 2**30

    def measure(program: str, *cases: list[str]) -> list[float]:
        found: list[float] = benchmark.pedantic(
            lambda: [start(program, case) for case in cases], rounds=1
        )
        return found

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


def wrapped(model: Any, kind: str) -> Any:
    """Prompt tuning by PEFT, before the encoder of an encoder-decoder."""
    peft = pytest.importorskip("peft", reason="the peer it is compared with, of the extra test")
    options = {"num_virtual_tokens": PROMPT, "num_transformer_submodules": 1}
    return peft.get_peft_model(model, peft.PromptTuningConfig(task_type=kind, **options))


def peft_trainer(model: Any, rows: Any, tokenizer: Any, folder: Path, **options: Any) -> Any:
    """The Trainer of transformers with dynamic padding."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    options |= {"per_device_train_batch_size": BATCH, "dataloader_pin_memory": False}
    options |= {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    return Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[], **options),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )


def untrained() -> T5ForConditionalGeneration:
    """A T5 of t5-small's shape with random weights, always equal ones."""
    torch.manual_seed(0)
    # The defaults are t5-small, with dropout.
    return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))


@pytest.fixture(scope="session")
def t5_small(shared: Path) -> EncoderDecoderLM:
    """That T5 with its real tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")
    return EncoderDecoderLM(untrained(), tokenizer, torch.device("cpu"))


@pytest.fixture(scope="session")
def examples(shared: Path, t5_small: EncoderDecoderLM) -> Examples:
    """Real rows of all tasks."""
    return Examples(open_source(str(shared / "data")), t5_small.encoder, data_seed=42)
