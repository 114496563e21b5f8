"""What the benchmarks share: a model of t5-small's shape, real rows, clocks, and made-up results.

Each figure is printed and kept in ``extra_info``, where possible as a ratio within one run: seconds
belong to a machine and to what else it does.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import datasets
import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from bench.data import EncodedExamples, encode_examples, load_splits, open_source
from bench.files import UNSEALED, sealed
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.records import Record, read_record
from bench.runs.cells import Cell
from bench.tasks import get_task

GOLDEN = Path(__file__).parents[1] / "reports/golden/records/mrpc-pt-16-42-116a5c186f16.json"

Encoded = Callable[[str, Literal["train", "validation", "test"]], EncodedExamples]


@dataclass(frozen=True)
class Times:
    """What repetitions of an action took, in seconds.

    Attributes:
        wall: by the clock.
        processor: of this process, all threads together; other processes hardly change it.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def over(self, other: Times) -> dict[str, float]:
        """Medians as multiples of those of another action."""
        return {
            clock: round(statistics.median(mine) / statistics.median(theirs), 3)
            for clock, mine, theirs in (
                ("wall", self.wall, other.wall),
                ("processor", self.processor, other.processor),
            )
        }

    def medians(self) -> dict[str, float]:
        """Seconds by clock."""
        return {
            "wall": round(statistics.median(self.wall), 6),
            "processor": round(statistics.median(self.processor), 6),
        }


InTurn = Callable[[Sequence[Callable[[], object]], int], list[Times]]
Report = Callable[..., None]


@pytest.fixture(scope="session")
def in_turn() -> InTurn:
    """Times actions in turn, so that whatever else the machine does hits all of them alike."""

    def measure(actions: Sequence[Callable[[], object]], rounds: int) -> list[Times]:
        """Each action once in each round, and once before that is not counted."""
        times = [Times() for _ in actions]
        for action in actions:
            action()
        for _ in range(rounds):
            for action, kept in zip(actions, times, strict=True):
                wall, processor = time.perf_counter(), time.process_time()
                action()
                kept.wall.append(time.perf_counter() - wall)
                kept.processor.append(time.process_time() - processor)
        return times

    return measure


@pytest.fixture
def report(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> Report:
    """Prints figures and keeps them with the benchmark."""

    def tell(**figures: object) -> None:
        benchmark.extra_info.update(figures)
        with capsys.disabled():
            for name, figure in figures.items():
                print(f"\n{benchmark.name}: {name.replace('_', ' ')}: {figure}", end="")
            print()

    return tell


@pytest.fixture(scope="session")
def untrained() -> Callable[[], T5ForConditionalGeneration]:
    """Makes a T5 of t5-small's shape with random weights, always the same."""

    def make() -> T5ForConditionalGeneration:
        torch.manual_seed(0)
        # The defaults are t5-small, with dropout.
        return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0))

    return make


@pytest.fixture(scope="session")
def tokenizer(shared: Path) -> Any:
    """The real one of T5."""
    return AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")


@pytest.fixture(scope="session")
def t5_small(
    untrained: Callable[[], T5ForConditionalGeneration], tokenizer: Any
) -> EncoderDecoderLM:
    """That T5 with the real tokenizer, in evaluation mode."""
    return EncoderDecoderLM(untrained(), tokenizer, torch.device("cpu"))


@pytest.fixture(scope="session")
def encoded(
    shared: Path, t5_small: EncoderDecoderLM, tmp_path_factory: pytest.TempPathFactory
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
def store_records() -> Callable[[Path, Iterable[Cell]], None]:
    """Writes a finished record for each cell; the scores are those of one golden record."""
    golden = read_record(GOLDEN)

    def made_up(cell: Cell) -> Record:
        training = cell.training
        spec = training.method
        block = dataclasses.replace(
            golden.cell,
            method=dataclasses.replace(
                golden.cell.method, name=spec.name, settings=spec.values(), label=spec.label
            ),
            task=training.task,
            shots=training.shots,
            seed=training.seed,
            preset=cell.preset,
        )
        return dataclasses.replace(golden, digest=cell.digest, cell=block, seal=UNSEALED)

    def store(folder: Path, cells: Iterable[Cell]) -> None:
        folder.mkdir(parents=True)
        for cell in cells:
            record = made_up(cell)
            # The seal stands first; checking against the JSON Schema would take minutes.
            values = {"seal": UNSEALED, **dataclasses.asdict(record)}
            (folder / record.file_name).write_bytes(sealed(json.dumps(values).encode()))

    return store
