"""Finished runs on the bundled models, small random models, and files of tensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench.config import load_config
from bench.grid import make_grid
from bench.record import Record
from bench.runner import run_grid
from bench.store import ResultStore

TASK, LENGTH, WIDTH = "rte", 6, 128

Run = Callable[..., dict[str, Record]]


@pytest.fixture(scope="session")
def run() -> Run:
    """Does short runs into a store; gives their records by label."""
    steps = [
        f"{stage}.{item}"
        for stage in ("training", "source_training")
        for item in ("steps=4", "evaluate_every=4", "warmup_steps=1", "batch_size=4")
    ]
    sizes = [f"prompt_length={LENGTH}", "input_length=64", "validation_rows=20"]

    def run(store: ResultStore, *methods: str, model: str = "tiny") -> dict[str, Record]:
        options = {"model": model, "suites": [], "tasks": [TASK], "shots": [8], "seeds": [42]}
        options |= {"methods": list(methods), "sources": ["sst2", "qnli"]}
        grid = make_grid(load_config(options=options, items=[*steps, *sizes]), store)
        run_grid(grid, store, verbosity="quiet")
        found = [(each.method.label, store.find(each)) for each in grid.reported.values()]
        return {label: record for label, record in found if record}

    return run


@pytest.fixture(scope="session")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    """One run of several methods on rte with 8 shots."""
    store = ResultStore(tmp_path_factory.mktemp("finished"))
    assert len(run(store, "pt", "dtvg", "attempt", "no_prompt")) == 4
    return store


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "out")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes tensors into a file; the suffix decides the format."""

    def save(content: Any, name: str = "prompt.safetensors", **options: Any) -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path, **options)
        return path

    return save


@pytest.fixture
def adapter(tmp_path: Path) -> Callable[..., Path]:
    """Writes an adapter as PEFT does; keywords change its configuration."""

    def write(rows: int = LENGTH, **changes: Any) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir(exist_ok=True)
        config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM"}
        config |= {"num_virtual_tokens": LENGTH, "num_transformer_submodules": 1}
        (folder / "adapter_config.json").write_text(json.dumps(config | changes))
        tensors = {"prompt_embeddings": torch.randn(rows, WIDTH)}
        safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
        return folder

    return write
