"""``bench`` in this process, on a few rows, for two steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.cli import main
from bench.data.sources import bundled_rows
from bench.plugins import use_files
from bench.runs.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "extending"
SPLITS = {"train": 16, "validation": 12}
REVIEWS = ("reviews", "toy-reviews")


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str


Bench = Callable[..., Answer]


@pytest.fixture(scope="session", autouse=True)
def quiet(quiet_machine: Path) -> None:
    """For all tests of this folder."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few rows of mrpc and of the reviews that the example tasks read."""
    folder = tmp_path_factory.mktemp("data")
    for split, count in SPLITS.items():
        reviews = [
            {"text": f"{'good' if i % 2 else 'bad'} thing {i}", "label": i % 2}
            for i in range(count)
        ]
        samples = bundled_rows("mrpc", split).take(count).to_list()
        for task, rows in {"mrpc": samples, "reviews": reviews}.items():
            for name in REVIEWS if task == "reviews" else (task,):
                (folder / name).mkdir(exist_ok=True)
                datasets.Dataset.from_list(rows).to_parquet(folder / name / f"{split}.parquet")
    return folder


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Bench]:
    """Runs ``bench`` through its entry point, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        provenance.cache_clear()  # It holds the command line of the process.
        capfd.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    yield run
    use_files(())


@pytest.fixture
def cell(data: Path) -> tuple[object, ...]:
    """Options of ``bench run`` that make its cells short: two steps, each evaluated."""
    changes = [
        f"{stage}.{item}"
        for stage in ("training", "source_training")
        for item in ("steps=2", "evaluate_every=1", "warmup_steps=0", "batch_size=4")
    ]
    items = [
        word
        for item in (*changes, "prompt_length=4", "input_length=32")
        for word in ("--set", item)
    ]
    return ("run", "--data", data, "--shots", "4", "--seeds", "1", *items)
