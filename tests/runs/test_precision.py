"""Whole runs with frozen weights in bfloat16, beside runs in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench.reports import load_results, render_tables

METHODS = {"pt", "spot", "attempt", "mpt", "dtvg"}


@pytest.fixture(scope="module", params=["tiny", "tiny-llama"])
def both(
    request: pytest.FixtureRequest,
    configure: Any,
    run: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """One cell of each method in bf16, and then PT and DTVG in float32 in the same folder."""
    folder = tmp_path_factory.mktemp("precision")
    grid = {"model": request.param, "tasks": ["cb"], "seeds": [42], "sources": ["sst2", "qnli"]}
    half = run(configure(**grid, precision="bf16"), folder)
    return half, run(configure(**grid, methods=["pt", "dtvg"]), folder)


def test_five_methods_train_in_bf16(both: Any) -> None:
    half, _ = both
    assert {cell.training.method.name for cell in half.outcome.finished} == METHODS
    assert not half.outcome.failed
    for prompt in half.folder.prompts.folder.glob("*.safetensors"):
        tensors = safetensors.torch.load_file(prompt)
        floats = {t.dtype for t in tensors.values() if t.is_floating_point()}
        assert floats == {torch.float32}
        assert all(torch.isfinite(t).all() for t in tensors.values())


def test_precisions_share_neither_cells_nor_prompts(both: Any) -> None:
    full = both[1]
    assert len(full.outcome.finished) == 2  # Nothing was found done.
    plans = [set(found.grid.plan.trainings) for found in both]
    assert not plans[0] & plans[1]
    cells = [{cell.digest for cell in found.grid.plan.cells} for found in both]
    assert not cells[0] & cells[1]
    stored = {path.stem for path in full.folder.prompts.folder.glob("*.safetensors")}
    assert stored == plans[0] | plans[1]


def test_records_and_tables_name_the_precision(both: Any) -> None:
    half, _ = both
    results = load_results(half.folder.folder)
    precisions = {record.cell.precision for record in results.records}
    assert precisions == {"float32", "bf16"}
    for record in results.records:
        assert (record.cell.precision == "bf16") == ("precision=bf16" in record.cell.preset)
    starts = {r.training.initial_digest for r in results.records if r.training is not None}
    assert len(starts) == 1  # P_init is the same.
    table = render_tables(results, "markdown")
    captions = [line for line in table.splitlines() if line.startswith("**Table")]
    assert sorted("precision=bf16" in line for line in captions) == [False, True]


def test_the_same_run_in_bf16_gives_the_same_bits(
    both: Any, run: Any, comparable: Any, tmp_path: Path
) -> None:
    import dataclasses

    half, _ = both
    config = dataclasses.replace(half.grid.requested, methods=("dtvg",))
    again = run(config, tmp_path / "out")
    (record,) = again.records.values()
    (before,) = [
        r
        for r in load_results(half.folder.folder).records
        if (r.cell.method.name, r.cell.precision) == ("dtvg", "bf16")
    ]
    assert comparable(record) == comparable(before)
