"""Loads of a planned grid against what its trainings and cells really did."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.data import open_source
from bench.models.loading import load
from bench.protocol import IGNORED_LABEL
from bench.runs.estimate.workload import RowsRead, SampledExamples, Workload
from bench.runs.examples import Examples
from bench.runs.grid import Grid
from bench.runs.jobs import SourceStageJob, TargetJob


@pytest.fixture(scope="module")
def lm(finished: Any) -> Any:
    return load(finished.grid.config.model)


def workload(grid: Grid, model: Any, most: int = 3000) -> Workload:
    setting = grid.plan.cells[0].training.setting
    return Workload(SampledExamples(open_source(grid.config.data), model.encoder, setting, most))


def test_every_training_of_a_grid(finished: Any, lm: Any) -> None:
    """Steps and evaluations as done; tokens and positions as in the batches it had."""
    grid = finished.grid
    work, store = workload(grid, lm), grid.folder.prompts
    examples = Examples(open_source(grid.config.data), lm.encoder, grid.config.data_seed, 48)
    stages = 0
    for training in grid.plan.trainings.values():
        load = work.training(training)
        result = store.load(training.digest).card.result
        assert (load.steps, load.evaluations) == (result["steps"], len(result["curve"]))
        make = SourceStageJob if training.is_source_stage else TargetJob
        job = make(training, lm, examples, lambda required: store.load(required.digest))
        batches = [job.stream.batch(step) for step in range(1, load.steps + 1)]
        tokens = [b.mask.sum() + (b.labels != IGNORED_LABEL).sum() for b in batches]
        assert load.tokens == int(torch.stack(tokens).sum())
        assert work.validation(training).rows == job.rows.validation
        if training.is_source_stage:
            stages += 1
            length = training.setting.prompt_length
            padded = [len(b) * (length + b.input_ids.shape[1] + b.labels.shape[1]) for b in batches]
            assert load.positions == pytest.approx(sum(padded) / len(padded))
    assert stages == 2


def test_every_cell_of_a_grid(finished: Any, lm: Any) -> None:
    work = workload(finished.grid, lm)
    for cell in finished.grid.plan.cells:
        record = finished.folder.find(cell)
        load = work.test(cell.training)
        assert load.rows == record.rows.test
        assert load.answer_steps == load.batches * 20


def test_large_splits_are_read_in_part(finished: Any, lm: Any) -> None:
    whole, part = workload(finished.grid, lm), workload(finished.grid, lm, most=7)
    training = next(t for t in finished.grid.plan.trainings.values() if t.task == "mnli")
    full, less = whole.training(training), part.training(training)
    assert part.rows_read() == RowsRead(7, 30)
    assert whole.rows_read() == RowsRead(30, 30)
    assert full.steps == less.steps
    assert less.tokens == pytest.approx(full.tokens, rel=0.3)
    assert part.validation(training).rows == whole.validation(training).rows
    # At even distances, not the first.
    rows = part.examples.rows("mnli").train["official_row"]
    assert list(rows) == [at * 30 // 7 for at in range(7)]
