"""The five methods, unchanged, on a decoder-only model."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import RunConfig
from bench.data import open_source
from bench.errors import ModelError
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.reports import load_results, render_tables
from bench.runs.cells import Training
from bench.runs.examples import Examples
from bench.runs.jobs import SourceStageJob, TargetJob
from bench.runs.plan import Plan
from bench.runs.prompts import StoredPrompt

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
MODEL = "tiny-llama"
POSITIONS = 1024
"""As many tokens it takes."""


@pytest.fixture(scope="module")
def finished(configure: Any, run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One cell of each method, run once; look, but do not change it."""
    config = configure(model=MODEL, tasks=["cb"], seeds=[42], sources=["sst2", "qnli"])
    return run(config, tmp_path_factory.mktemp("causal"))


def test_five_methods_fill_a_table(finished: Any) -> None:
    assert len(finished.outcome.finished) == len(METHODS)
    assert not finished.outcome.failed
    for record in finished.records.values():
        assert record.cell.model.kind == "decoder-only"
        assert record.cell.model.note
        assert record.cell.training["beams"] == 1
        assert all(torch.isfinite(torch.tensor(p.loss)) for p in record.training.curve)
    table = render_tables(load_results(finished.folder.folder), "markdown")
    assert "decoder-only" in table
    assert all(f"| {method} " in table for method in METHODS)


def test_the_same_run_gives_the_same_bits(
    finished: Any, configure: Any, run: Any, comparable: Any, tmp_path: Path
) -> None:
    config: RunConfig = finished.grid.requested
    again = run(dataclasses.replace(config, methods=("dtvg",)), tmp_path / "out")
    key = ("cb", "dtvg", 42)
    assert comparable(again.records[key]) == comparable(finished.records[key])


def test_rows_that_are_too_long_show_before_any_training(
    configure: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*arguments: object) -> None:
        raise AssertionError("this must not be called")

    monkeypatch.setattr("bench.runs.workshop.Trainer", no_training)
    config = configure(model=MODEL, tasks=["wic", "cb"], methods=["pt"], seeds=[42])
    examples = Examples(open_source(config.data), load(MODEL).encoder, 42, config.input_length)
    longest = {
        task: max(
            max(examples.training(task, config.shots[0], 42).encoded.lengths),
            *(max(examples.evaluation(task, part).lengths) for part in ("validation", "test")),
        )
        for task in config.tasks
    }
    assert longest["wic"] < longest["cb"]  # The first task fits, the second does not.
    room = POSITIONS - longest["cb"] - examples.task("cb").target_length
    config = dataclasses.replace(config, prompt_length=room + 1)
    message = f"have {POSITIONS + 1} tokens together, the model takes {POSITIONS}"
    with pytest.raises(ModelError, match=message):
        run(config, tmp_path / "out")


@pytest.fixture(scope="module")
def frozen() -> FrozenLM:
    return load(MODEL)


def fingerprint(model: FrozenLM) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(model.model.state_dict().items()):
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("method", [*METHODS, "mpt sources"])
def test_one_step_moves_the_prompt_and_nothing_of_the_model(
    method: str, finished: Any, frozen: FrozenLM
) -> None:
    plan: Plan = finished.grid.plan
    (training,) = [
        training
        for training in plan.trainings.values()
        if training.method.name == method.split()[0]
        and training.is_source_stage == method.endswith("sources")
        and training.task in ("cb", "sources")
    ]
    config = finished.grid.config
    examples = Examples(open_source(config.data), frozen.encoder, 42, config.input_length)

    def supply(required: Any) -> StoredPrompt:
        assert isinstance(required, Training)
        return finished.folder.prompts.load(required.digest)

    job = (SourceStageJob if training.is_source_stage else TargetJob)(
        training, frozen, examples, supply
    )
    trained = [p for group in job.module.parameter_groups() for p in group.parameters]
    named = {id(parameter) for parameter in trained}
    before = fingerprint(frozen)
    kept = {name: value.clone() for name, value in job.module.state_dict().items()}
    job.module.loss(frozen, job.stream.batch(1)).backward()
    torch.optim.SGD(trained, lr=100.0).step()
    assert fingerprint(frozen) == before
    assert all(p.grad is None for p in frozen.model.parameters())
    parameters = dict(job.module.named_parameters())
    moved = {name for name, value in job.module.state_dict().items() if (value != kept[name]).any()}
    assert moved
    assert moved <= {name for name, value in parameters.items() if id(value) in named}
    assert any(job.module.state_dict()[name].shape[-1] == frozen.width for name in moved)
