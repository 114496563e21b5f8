"""Estimates of grids: arithmetic, and what is counted."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from bench.config import load_config
from bench.data import load_splits, open_source
from bench.data.splits import declared_rows
from bench.errors import DataError, ModelError
from bench.estimate import COLUMNS, amounts, estimate, fit, render_estimate
from bench.grid import Grid, make_grid
from bench.models.loading import KNOWN
from bench.runner import run_grid
from bench.store import ResultStore
from bench.tasks import Task, get_task, list_tasks

STEPS, TRIES = 10, "pt:learning_rate=0.3|0.2"
ITEMS = (
    *("training.steps=10", "source_training.steps=10", "training.evaluate_every=5"),
    *("source_training.evaluate_every=5", "sources=[sst2, qnli]", "validation_rows=20"),
    *("training.batch_size=8", "input_length=64"),
)
OPTIONS: dict[str, Any] = {"suites": [], "tasks": ["cb"], "seeds": [42]}
OPTIONS["methods"] = [TRIES, "attempt", "spot:source=all"]


def lay_out(store: ResultStore, **options: Any) -> Grid:
    return make_grid(load_config(options=OPTIONS | options, items=ITEMS), store)


def test_amounts_of_a_known_case() -> None:
    pairs = [(3, 2), (5, 1), (4, 4)]
    # Two batches, 2 x (10 + 5 + 2) and 1 x (10 + 4 + 4) positions; answers of 2 and 4 tokens.
    assert amounts(pairs, 2, 10, shared=False, answers=False).tolist() == [2, 34 + 18, 19]
    assert amounts(pairs, 2, 10, shared=False, answers=True).tolist() == [6, 34 + 18, 19]
    # Read once: 10 + 2 x (5 + 2) and 10 + 1 x (4 + 4).
    assert amounts(pairs, 2, 10, shared=True, answers=True).tolist() == [6, 24 + 18, 19]


@given(
    rates=st.tuples(st.floats(1e-4, 1), st.floats(1e-4, 1)),
    loads=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=2, unique=True),
)
def test_fit_finds_exact_rates(rates: tuple[float, float], loads: list[tuple[int, int]]) -> None:
    vectors = [np.array([passes, positions, 7]) for passes, positions in loads]
    exact = [(vector, float(vector[:2] @ rates)) for vector in vectors]
    rate = fit({"pt": exact, "other": [(vector, 3 * seconds) for vector, seconds in exact]})
    for vector, seconds in exact:
        assert rate("pt") @ vector == pytest.approx(seconds, rel=1e-3)
        assert rate("other") @ vector == pytest.approx(3 * seconds, rel=1e-3)


@pytest.fixture(scope="module")
def planned_and_done(tmp_path_factory: Any) -> tuple[dict[str, Any], ResultStore]:
    """An estimate by calibration, and the results of the runs."""
    store = ResultStore(tmp_path_factory.mktemp("out"))
    values = estimate(lay_out(store), store, 1, print)
    assert not any(path.is_file() for path in store.folder.rglob("*"))
    run_grid(lay_out(store), store, verbosity="quiet")
    return values, store


def test_counts_follow_from_the_configuration(planned_and_done: Any) -> None:
    values, store = planned_and_done
    assert values["costs_from"] == "short calibrations"
    total, parts = values["total"], values["parts"]
    # Three methods; two source prompts, one of their mixture, and two tries.
    assert (values["runs_to_run"], values["runs_done"]) == (3, 0)
    assert {key: (part["runs"], part["prompts"], part["steps"]) for key, part in parts.items()} == {
        TRIES: (1, 0, 0),
        "attempt": (1, 1, STEPS),
        "spot:source=all": (1, 1, STEPS),
        "prompts by pt": (0, 5, 5 * STEPS),
    }
    for name in COLUMNS:
        assert total[name] == pytest.approx(sum(part[name] for part in parts.values()), abs=3)
    finished = [store.find(run) for run in lay_out(store).reported.values()]
    tested = [record.rows.test for record in finished if record and record.rows]
    assert tested == 3 * [150]
    assert json.loads(json.dumps(values)) == values
    text = render_estimate(values)
    assert "runs: 3 to run, 0 done" in text
    assert "prompts by pt" in text


def test_finished_grid_costs_nothing(planned_and_done: Any, monkeypatch: Any) -> None:
    _, store = planned_and_done
    monkeypatch.delattr("bench.estimate.load")
    values = estimate(lay_out(store), store, 2, print)
    assert (values["runs_to_run"], values["runs_done"], values["hours"]) == (0, 3, 0)
    assert set(values["total"].values()) == {0}
    assert values["parts"] == {}
    assert "runs: 0 to run, 3 done" in render_estimate(values)


def test_prompts_that_exist_are_not_counted_again(planned_and_done: Any, monkeypatch: Any) -> None:
    _, store = planned_and_done
    monkeypatch.setattr("bench.estimate.calibrated", lambda *given: fit({}))  # Rates of zero.
    values = estimate(lay_out(store, tasks=["cb", "wic"]), store, 1, print)
    prompts = {key: part["prompts"] for key, part in values["parts"].items()}
    assert prompts == {TRIES: 0, "attempt": 1, "spot:source=all": 1, "prompts by pt": 2}
    assert values["runs_done"] == 3


def test_a_model_that_is_not_here(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    options: dict[str, Any] = {"tasks": ["cb"], "suites": [], "methods": ["pt"], "seeds": [42]}
    config, store = load_config("paper", options=options), ResultStore(tmp_path / "out")
    with pytest.raises(ModelError, match="the Hub could not be reached"):
        make_grid(config, store)
    grid = make_grid(config, store, offline=True)
    values = estimate(grid, store, 1, print)
    assert "not checked against the hub" in values["costs_from"]
    # cb: 250 rows train, of 56 half each validates and tests; texts of 256 and 20 tokens, prompt
    # 100. Half of T5-base's 222,903,552 parameters take 4 operations in training, 2 in answers.
    training, answers = 30_000 * 32 * 376, (30 * 28 + 28) * 376
    operations = 222_903_552 / 2 * (4 * training + 2 * answers)
    assert values["total"]["seconds"] == pytest.approx(operations / 40e12, rel=1e-3)
    assert values["total"]["training_tokens"] == 30_000 * 32 * 276
    # A given prompt is not checked either; of data that is here, the rows are counted.
    given: dict[str, Any] = {"methods": ["attempt"], "sources": ["sst2"]}
    given["source_prompts"] = {"sst2": str(tmp_path / "prompt.safetensors")}
    save_file({"prompt": torch.zeros(100, 768)}, tmp_path / "prompt.safetensors")
    assert make_grid(load_config("paper", None, options | given), store, offline=True).to_run == 1
    grid = make_grid(load_config("paper", None, options | {"data": "bundled"}), store, offline=True)
    monkeypatch.setattr("bench.estimate.declared_rows", None)
    parts = load_splits(open_source("bundled"), get_task("cb"))
    rows = 30 * len(parts.validation) + len(parts.test)
    assert estimate(grid, store, 1, print)["total"]["evaluation_tokens"] == rows * 276


def test_few_declared_rows() -> None:
    task = replace(get_task("qnli"), splits=("train", "test"), rows={"train": 800, "test": 9})
    assert declared_rows(task) == (720, 80, 9)
    splits = ("train", "validation", "test")
    three = replace(task, splits=splits, rows={**task.rows, "validation": 7})
    assert declared_rows(three) == (720, 80, 9)  # The last tests.
    for rows in ({"train": 9, "test": 9}, {}):
        with pytest.raises(DataError, match="declares no or too few rows"):
            declared_rows(replace(task, rows=rows))


SHAPES: dict[str, Any] = {  # Of their configurations on the hub.
    "google-t5/t5-small": T5Config(d_model=512, d_ff=2048, num_layers=6, num_heads=8),
    "google-t5/t5-base": T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12),
    "google-t5/t5-large": T5Config(d_model=1024, d_ff=4096, num_layers=24, num_heads=16),
    "google-t5/t5-3b": T5Config(d_model=1024, d_ff=16384, d_kv=128, num_layers=24, num_heads=32),
    "meta-llama/Llama-3.2-1B": (128256, 2048, 8192, 16, 32, 8, 64),
    "meta-llama/Llama-3.2-3B": (128256, 3072, 8192, 28, 24, 8, 128),
    "HuggingFaceTB/SmolLM2-135M": (49152, 576, 1536, 30, 9, 3, 64),
    "HuggingFaceTB/SmolLM2-360M": (49152, 960, 2560, 32, 15, 5, 64),
    "HuggingFaceTB/SmolLM2-1.7B": (49152, 2048, 8192, 24, 32, 32, 64),
}
LLAMA = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
LLAMA += ("num_attention_heads", "num_key_value_heads", "head_dim")


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_those_of_transformers(name: str) -> None:
    shape = SHAPES[name]
    with torch.device("meta"):
        if isinstance(shape, tuple):
            named = dict(zip(LLAMA, shape, strict=True))
            model: Any = LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **named))
        else:
            model = T5ForConditionalGeneration(shape)
    width = model.get_input_embeddings().embedding_dim
    kind = "encoder-decoder" if model.config.is_encoder_decoder else "decoder-only"
    assert KNOWN[name] == [kind, sum(p.numel() for p in model.parameters()), width]


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_declared_rows_are_those_of_the_splits(task: Task) -> None:
    rows = {name: np.arange(task.rows[name]) for name in task.splits}
    assert sum(declared_rows(task)) <= sum(map(len, rows.values()))
    source = SimpleNamespace(
        kind="hub",
        splits=lambda task: tuple(rows),
        load=lambda task, split: Dataset(pa.table({"row": rows[split]}), fingerprint="rows"),
    )
    parts = load_splits(source, replace(task, doubt_of=None, defect_of=None))
    assert declared_rows(task) == tuple(map(len, (parts.train, parts.validation, parts.test)))
