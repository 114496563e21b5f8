"""Memory that runs out in training: smaller parts, the same training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data.samples import SIZES, generate
from bench.models.encoder_decoder import EncoderDecoderLM


@pytest.fixture
def plenty(tmp_path: Path) -> Path:
    """A data folder with enough rows of one task for a batch of 32."""
    (tmp_path / "data" / "cb").mkdir(parents=True)
    for split in SIZES["cb"]:
        rows = generate("cb", split, 40 if split == "train" else 20)
        target = tmp_path / "data" / "cb" / f"{split}.parquet"
        datasets.Dataset.from_list(rows).to_parquet(target)
    return tmp_path / "data"


@pytest.fixture
def without_dropout(model: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dropout_rate": 0.0}))
    return folder


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a pass over more rows than fit fail as PyTorch does."""
    passes: list[int] = []

    def limit(rows: int) -> list[int]:
        run = EncoderDecoderLM.run

        def limited(self: Any, prompt: Any, batch: Any) -> Any:
            if len(batch) > rows:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ...")
            passes.append(len(batch))
            return run(self, prompt, batch)

        monkeypatch.setattr(EncoderDecoderLM, "run", limited)
        return passes

    return limit


def test_a_batch_of_32_in_parts_of_8(
    plenty: Path,
    without_dropout: Path,
    configure: Any,
    run: Any,
    tmp_path: Path,
    little_memory: Any,
) -> None:
    config = configure(
        "training.batch_size=32",
        "training.steps=6",
        "training.evaluate_every=1",
        data=str(plenty),
        model=str(without_dropout),
        tasks=["cb"],
        methods=["pt"],
        seeds=[42],
        shots=[32],
    )
    (whole,) = run(config, tmp_path / "whole").records.values()
    passes = little_memory(8)
    (parted,) = run(config, tmp_path / "parted").records.values()
    assert passes == [8] * 4 * 6
    assert whole.training.micro_batch_size is None
    assert parted.training.micro_batch_size == 8
    losses = [[point.loss for point in record.training.curve] for record in (whole, parted)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][0] != pytest.approx(losses[0][-1], abs=1e-3)  # It did learn something.
    assert parted.training.best_step == whole.training.best_step


def test_a_row_that_does_not_fit_fails_its_cell_alone(
    configure: Any, run: Any, tmp_path: Path, little_memory: Any
) -> None:
    config = configure(tasks=["cb"], methods=["pt"], seeds=[42])
    passes = little_memory(0)
    done = run(config, tmp_path)
    (record,) = done.records.values()
    assert record.status == "failed"
    assert "can't allocate memory" in record.error.message
    assert passes == []
