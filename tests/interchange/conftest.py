"""A small T5 whose answers depend on what it reads, a finished run with it, and PEFT's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench.config import RunConfig, load_config
from bench.data import evaluation_batches, open_source
from bench.models.base import FrozenLM
from bench.models.catalog import BUNDLED
from bench.models.loading import load
from bench.records import Record, read_records
from bench.runs.examples import Examples
from bench.runs.grid import execute, lay_out
from bench.runs.results import ResultFolder

TASK, ROWS = "rte", 200
LENGTH, WIDTH, INPUT_LENGTH = 6, 32, 64
METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
SOURCES = ("sst2", "qnli")


@pytest.fixture(scope="session", autouse=True)
def quiet(quiet_machine: Path) -> None:
    """For all tests of this folder."""


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes folders of T5 models of one layer with random weights and the bundled tokenizer."""
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    def make(width: int, spread: float = 1.0) -> Path:
        folder = tmp_path_factory.mktemp("model")
        words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
        words.save_pretrained(folder)
        sizes = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
        config = T5Config(
            vocab_size=len(words),
            decoder_start_token_id=words.pad_token_id,
            initializer_factor=spread,
            **sizes,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            T5ForConditionalGeneration(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Path]) -> Path:
    return make_model(WIDTH, spread=2.0)


@pytest.fixture
def frozen(model: Path) -> FrozenLM:
    """Loaded anew for each test, as PEFT wraps the module in it."""
    return load(str(model))


@pytest.fixture(scope="session")
def configure(model: Path) -> Callable[..., RunConfig]:
    """Makes configurations of runs of four steps; keywords are options."""

    def make(**options: Any) -> RunConfig:
        values = {"model": str(model), "suites": [], "tasks": [TASK], "shots": [8], "seeds": [42]}
        values |= {"methods": list(METHODS), "sources": list(SOURCES)}
        short = ("steps=4", "evaluate_every=4", "warmup_steps=1", "batch_size=4")
        stages = [f"{stage}.{item}" for stage in ("training", "source_training") for item in short]
        sizes = [f"prompt_length={LENGTH}", f"input_length={INPUT_LENGTH}", "validation_rows=20"]
        return load_config(options=values | options, items=[*stages, *sizes])

    return make


@pytest.fixture(scope="session")
def results(
    configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> ResultFolder:
    """One cell of each method, trained once; look, but do not change it."""
    folder = ResultFolder(tmp_path_factory.mktemp("out"))
    outcome = execute(lay_out(configure(), folder, "never"))
    assert len(outcome.finished) == len(METHODS)
    return folder


@pytest.fixture(scope="session")
def records(results: ResultFolder) -> dict[str, Record]:
    """By method."""
    return {record.cell.method.name: record for record in read_records(results.records)[0]}


@pytest.fixture
def examples(frozen: FrozenLM) -> Examples:
    return Examples(open_source("bundled"), frozen.encoder, 42, INPUT_LENGTH)


@pytest.fixture
def peft_answers(frozen: FrozenLM, examples: Examples) -> Callable[[Any], list[str]]:
    """What a PEFT model answers on the 200 test rows, by its own ``generate``."""

    def answer(adapted: Any) -> list[str]:
        rows, task = examples.evaluation(TASK, "test"), examples.task(TASK)
        answers = [""] * len(rows)
        for indices, batch in evaluation_batches(rows, 50):
            ids = adapted.eval().generate(
                input_ids=batch.input_ids,
                attention_mask=batch.mask,
                max_new_tokens=task.target_length,
                do_sample=False,
                num_beams=1,
            )
            texts = frozen.tokenizer.batch_decode(ids, skip_special_tokens=True)
            for index, text in zip(indices, texts, strict=True):
                answers[index] = text.strip()
        assert len(answers) == ROWS
        assert len(set(answers)) > 5  # Equal answers say something.
        return answers

    return answer


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs ``bench``; gives exit code, stdout and stderr."""
    from bench.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def write_adapter() -> Callable[..., Path]:
    """Writes an adapter as PEFT does; keywords change its configuration."""

    def write(folder: Path, rows: int = LENGTH, **changes: Any) -> Path:
        folder.mkdir(exist_ok=True)
        config = {
            "peft_type": "PROMPT_TUNING",
            "task_type": "SEQ_2_SEQ_LM",
            "num_virtual_tokens": LENGTH,
            "num_transformer_submodules": 1,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config | changes))
        tensors = {"prompt_embeddings": torch.randn(rows, WIDTH)}
        safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
        return folder

    return write
