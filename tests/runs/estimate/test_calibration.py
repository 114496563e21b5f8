"""Short trainings under a made-up clock give known costs, and leave nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig
from bench.runs import jobs, workshop
from bench.runs.estimate import calibration
from bench.runs.estimate.preparing import make_estimator
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder
from bench.training.loop import Trainer

Configure = Callable[..., RunConfig]
STEP, STAGE_STEP, ANSWERS = 0.5, 2.0, 4.0


class Clock:
    """Time that passes in steps and evaluations alone."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "perf_counter", lambda: self.now)
        gradients = Trainer.gradients

        def slow_gradients(trainer: Trainer, step: int) -> Any:
            self.now += STAGE_STEP if hasattr(trainer.trainable, "task_prompt") else STEP
            return gradients(trainer, step)

        patch.setattr(Trainer, "gradients", slow_gradients)
        for module in (jobs, workshop):
            patch.setattr(module, "evaluate", self._slow(module.evaluate))

    def _slow(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            self.now += ANSWERS
            return evaluate(*arguments)

        return slow


def test_known_seconds(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out"
    grid = lay_out(configure(seeds=[7]), ResultFolder(place), "never")
    told: list[str] = []
    Clock(monkeypatch)
    made = make_estimator(grid, 1, told.append)
    rows = made.total(grid.work.cells).rows
    # Four steps and two evaluations each; two tasks; a cell is one more evaluation.
    target = 2 * (4 * STEP + 2 * ANSWERS + ANSWERS)
    expected = {
        **dict.fromkeys(("pt", "spot", "attempt", "mpt", "dtvg"), target),
        "source prompts": 6 * (4 * STEP + 2 * ANSWERS),
        "shared prompts": 4 * STAGE_STEP + 2 * 6 * ANSWERS,
    }
    assert {name: row.seconds for name, row in rows.items()} == pytest.approx(expected)
    assert not place.exists()
    assert told[0] == "reading rows for 10 cells"
    assert all(line.startswith("calibrating [") for line in told[1:])


def test_few_rows_and_given_prompts(
    finished: Any, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds per batch hold for more batches than were timed; given prompts are not
    trained, unlike the target's own."""
    mnli = next(t for t in finished.grid.plan.trainings.values() if t.task == "mnli")
    config = configure(
        "training.evaluation_batch_size=3",
        seeds=[mnli.seed],
        methods=["spot"],
        tasks=["cb"],
        sources=["mnli"],
        source_prompts={"mnli": mnli.digest},
    )
    place = ResultFolder(tmp_path / "out", finished.folder.prompts.folder)
    grid = lay_out(config, place, "never")
    Clock(monkeypatch)
    made = make_estimator(grid, 1, lambda line: None, anew=True)
    rows = made.total(grid.work.cells).rows
    assert list(rows) == ["target prompts", "spot"]
    (cell,) = grid.work.cells
    validation, test = made.workload.validation(cell.training), made.workload.test(cell.training)
    assert validation.batches == test.batches == 4  # Ten rows each, in threes.
    # Two batches were timed to take 4 s, as the few rows are those of a training batch.
    each = ANSWERS / 2
    assert rows["target prompts"].seconds == pytest.approx(4 * STEP + 2 * 4 * each)
    assert rows["spot"].seconds == pytest.approx(4 * STEP + 2 * 4 * each + 4 * each)


def test_who_stands_for_a_kind(configure: Configure, tmp_path: Path) -> None:
    config = configure(seeds=[7], tasks=["cb", "sst2", "rte", "wic"], methods=["pt", "mpt"])
    grid = lay_out(config, ResultFolder(tmp_path), "never")

    class Loads:
        """Inputs as long as the name of the task; rte answers at length."""

        def training(self, training: Any) -> Any:
            return type("Load", (), {"positions": len(training.task)})

        def validation(self, training: Any) -> Any:
            steps = 80 if training.task == "rte" else 20
            return type("Load", (), {"answer_steps": steps, "batches": 1})

    trainings = list(grid.plan.trainings.values())
    chosen = calibration.representatives(trainings, Loads())  # type: ignore[arg-type]
    found = {(t.method.name, t.is_source_stage): [] for t in chosen}  # type: ignore[var-annotated]
    for training in chosen:
        found[training.method.name, training.is_source_stage].append(training.task)
    assert found == {
        ("pt", False): ["cb", "record", "rte"],
        ("mpt", False): ["cb", "sst2", "rte"],
        ("mpt", True): ["sources"],
    }
