"""Memory that runs out: smaller parts, the same training and the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.sources import bundled_rows
from bench.models.encoder_decoder import EncoderDecoderLM


@pytest.fixture
def plenty(tmp_path: Path) -> Path:
    """A data folder with enough rows of one task for a batch of 32."""
    (tmp_path / "data" / "cb").mkdir(parents=True)
    for split, count in {"train": 40, "validation": 20}.items():
        target = tmp_path / "data" / "cb" / f"{split}.parquet"
        bundled_rows("cb", split).take(count).to_parquet(target)
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


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes answers to more rows than fit fail as PyTorch does."""
    sizes: list[int] = []

    def limit(rows: int) -> list[int]:
        answer = EncoderDecoderLM.answer

        def limited(self: Any, prompt: Any, batch: Any, *rest: Any) -> list[str]:
            sizes.append(len(batch))
            if len(batch) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            assert len(prompt) in (1, len(batch))
            return answer(self, prompt, batch, *rest)

        monkeypatch.setattr(EncoderDecoderLM, "answer", limited)
        return sizes

    return limit


@pytest.mark.parametrize("method", ["pt", "attempt"])
def test_answers_in_parts(
    method: str, configure: Any, run: Any, tmp_path: Path, few_at_once: Any
) -> None:
    """ATTEMPT has a prompt for each row, and counts how often it is asked for one."""
    config = configure(tasks=["cb"], methods=[method], seeds=[42])
    whole = run(config, tmp_path / "whole")
    sizes = few_at_once(3)
    parted = run(config, tmp_path / "parted")
    (one,), (two,) = whole.records.values(), parted.records.values()
    assert (one.status, two.status) == ("finished", "finished")
    assert one.training.evaluation_micro_batch_size is None
    assert two.training.evaluation_micro_batch_size == 3
    if method == "pt":  # The first evaluation finds what fits; the next asks for no more.
        assert sizes[:6] == [10, 5, 3, 3, 3, 1]
        assert (sizes.count(10), len(one.training.curve)) == (2, 2)  # And once on test.
    else:
        sources = [record.diagnostics["best"]["attention"]["sources"] for record in (one, two)]
        assert sources[0] == pytest.approx(sources[1], abs=1e-6)
    assert one.scores == two.scores
    assert one.predictions == two.predictions  # With the digest of the answers.


def test_one_row_that_cannot_be_answered_fails_its_cell(
    configure: Any, run: Any, tmp_path: Path, few_at_once: Any
) -> None:
    sizes = few_at_once(0)
    done = run(configure(tasks=["cb"], methods=["pt"], seeds=[42]), tmp_path)
    (record,) = done.records.values()
    assert record.status == "failed"
    assert record.error.type == "OutOfMemoryError"
    assert "out of memory" in record.error.message
    assert sizes[-3:] == [3, 2, 1]
