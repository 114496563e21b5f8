"""A small world for runs: parquet rows, a T5 that trains in a second, and one finished grid."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.config import RunConfig, load_config
from bench.data.sources import SAMPLES, bundled_rows
from bench.models.catalog import BUNDLED
from bench.records import Record, read_records
from bench.runs.grid import Grid, execute, lay_out
from bench.runs.local import Outcome
from bench.runs.results import ResultFolder
from bench.tasks import SUITES

TASKS = ("cb", "sst2")
METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
SEEDS = (42, 43)
LENGTH, WIDTH = 6, 16
ROWS = {"train": 30}
EVALUATION_ROWS = 20

Configure = Callable[..., RunConfig]


@pytest.fixture(scope="session", autouse=True)
def quiet(quiet_machine: Path) -> None:
    """For all tests of this folder."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few rows of every task that the tests name."""
    folder = tmp_path_factory.mktemp("data")
    for task in dict.fromkeys([*SUITES["sources"], *TASKS, "rte", "wic"]):
        (folder / task).mkdir()
        for file in (SAMPLES / task).iterdir():
            rows = bundled_rows(task, file.stem).take(ROWS.get(file.stem, EVALUATION_ROWS))
            rows.to_parquet(folder / task / file.name)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a T5 that answers with one digit, which depends on what it reads."""
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("model")
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    words.save_pretrained(folder)
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(
        vocab_size=len(words), decoder_start_token_id=words.pad_token_id, dropout_rate=0.1, **sizes
    )
    answers = torch.tensor([words(digit)["input_ids"] for digit in "012"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t5 = T5ForConditionalGeneration(config)
        embeddings = t5.shared.requires_grad_(False)
        embeddings.weight[answers] *= 4  # What it can say stands out from the other tokens.
        optimiser = torch.optim.Adam([p for p in t5.parameters() if p.requires_grad], lr=0.02)
        for _ in range(60):
            inputs = torch.randint(len(words), (16, 12))
            chosen = embeddings(inputs).sum(dim=1)[:, :3].argmax(dim=1)
            t5(input_ids=inputs, labels=answers[chosen]).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    t5.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def configure(data: Path, model: Path) -> Configure:
    """Makes configurations of short runs; keywords are options, the items go to ``--set``."""

    def make(*items: str, **options: Any) -> RunConfig:
        values = {"data": str(data), "model": str(model), "suites": [], "shots": [4]}
        values |= {"tasks": list(TASKS), "methods": list(METHODS), "seeds": list(SEEDS)}
        short = ("steps=4", "evaluate_every=2", "warmup_steps=1", "batch_size=4")
        stages = [f"{stage}.{item}" for stage in ("training", "source_training") for item in short]
        sizes = [f"prompt_length={LENGTH}", "input_length=48", "validation_rows=null"]
        return load_config(options=values | options, items=[*stages, *sizes, *items])

    return make


@dataclass(frozen=True)
class Finished:
    """A grid that was run, with what it left."""

    grid: Grid
    outcome: Outcome

    @property
    def folder(self) -> ResultFolder:
        return self.grid.folder

    @cached_property
    def records(self) -> dict[tuple[str, str, int], Record]:
        """By task, method label and seed."""
        found, warnings = read_records(self.folder.records)
        assert not warnings
        return {(r.cell.task, r.cell.method.label, r.cell.seed): r for r in found}


Run = Callable[..., Finished]


@pytest.fixture(scope="session")
def run() -> Run:
    """Lays out and executes a configuration in a folder."""

    def run(config: RunConfig, folder: Path, overwrite: Any = "never", **options: Any) -> Finished:
        grid = lay_out(config, ResultFolder(folder, **options), overwrite)
        return Finished(grid, execute(grid))

    return run


@pytest.fixture(scope="session")
def finished(configure: Configure, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All five methods on three tasks with two seeds, run once; look, but do not change it."""
    return run(configure(), tmp_path_factory.mktemp("out"))


@pytest.fixture
def folder(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished grid's folder, to be changed."""
    return Path(shutil.copytree(finished.folder.folder, tmp_path / "copy"))


@pytest.fixture
def bench_until(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Callable[[], bool], signal.Signals, list[str]], tuple[Any, str]]]:
    """Runs ``bench`` here until something is so, then sends it a signal.

    Gives its exit code and what it and its workers said.
    """

    def run(so: Callable[[], bool], number: signal.Signals, words: list[str]) -> tuple[Any, str]:
        def send() -> None:
            deadline = time.monotonic() + 240
            while not so() and time.monotonic() < deadline:
                time.sleep(0.002)
            os.kill(os.getpid(), number)

        monkeypatch.setattr("sys.argv", ["bench", *words])
        sender = threading.Thread(target=send)
        sender.start()
        with pytest.raises(SystemExit) as end:
            main()
        sender.join()
        return end.value.code, capfd.readouterr().err

    # A signal that comes too late does not end the tests.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def comparable() -> Callable[[Record], dict[str, Any]]:
    """All of a record but what may differ between equal runs: times, command, work tree."""

    def strip(record: Record) -> dict[str, Any]:
        values = dataclasses.asdict(record)
        for name in ("command", "git_commit", "git_dirty"):
            del values["provenance"][name]
        del values["timing"], values["seal"]
        return values

    return strip
