"""The loop: best state, patience, divergence, and resuming to the same bits."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import StopRequested
from bench.protocol import Batch, ParameterGroup, Trainable
from bench.training.checkpoints import CheckpointError, CheckpointFile
from bench.training.listeners import Listener
from bench.training.loop import DivergedError, ScoreError, Trainer, Validation
from bench.training.settings import TrainingSettings
from bench.training.stopping import Stop


class StubModel:
    """Stands in for a language model: the loop only needs its device and its training mode."""

    device = torch.device("cpu")

    @contextmanager
    def training(self) -> Iterator[None]:
        yield


class Quadratic(Trainable[Any]):
    """Pulls a vector to the batch mean, with noise that stands in for dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(4))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("vector", [self.vector], 0.1)]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        noise = 0.1 * torch.randn(4)
        return ((self.vector - batch.input_ids.float().mean() + noise) ** 2).sum()

    def diagnostics(self) -> dict[str, Any]:
        return {"first": float(self.vector.detach()[0])}


class Stream:
    examples = 8

    def seen(self, steps: int) -> int:
        return 2 * steps

    def batch(self, step: int) -> Batch:
        ids = torch.full((2, 1), step % 5)
        return Batch(ids, torch.ones_like(ids), ids)


class KilledError(BaseException):
    """As a kill, no exception that anything handles."""


class KillAt(Listener):
    """Raises at a step, as a kill would end the process there."""

    def __init__(self, step: int) -> None:
        self.kill_step = step

    def on_step(self, step: int, total: int) -> None:
        if step == self.kill_step:
            raise KilledError


def settings(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {
        "steps": 12,
        "epochs": None,
        "batch_size": 2,
        "warmup_steps": 2,
        "evaluate_every": 3,
        "gradient_clip": 1.0,
        "patience": None,
        "evaluation_batch_size": 4,
    }
    return TrainingSettings(**{**values, **changes})


def trainer(module: Quadratic, validate: Any, **options: Any) -> Trainer:
    changes = options.pop("changes", {})
    return Trainer(
        StubModel(),  # type: ignore[arg-type]
        module,
        Stream(),
        settings(**changes),
        seed=1,
        validate=validate,
        **options,
    )


def scripted(*scores: float) -> Any:
    remaining = iter(scores)
    return lambda: Validation({"accuracy": next(remaining)})


def test_module_ends_in_its_best_state() -> None:
    module = Quadratic()
    seen: list[Tensor] = []
    scores = iter([10.0, 30.0, 30.0, 20.0])

    def validate() -> Validation:
        seen.append(module.vector.detach().clone())
        return Validation({"accuracy": next(scores), "f1": 0.0})

    result = trainer(module, validate).run()
    # The first of equal scores stays the best; a score is the mean of the task's metrics.
    assert (result.best_step, result.best_score, result.steps) == (6, 15.0, 12)
    assert torch.equal(module.vector, seen[1])
    assert [point["step"] for point in result.curve] == [3, 6, 9, 12]
    assert [point["step"] for point in result.history] == [0, 3, 6, 9, 12]


def test_last_step_is_evaluated_even_off_the_interval() -> None:
    result = trainer(Quadratic(), scripted(1, 2, 3), changes={"steps": 8}).run()
    assert [point["step"] for point in result.curve] == [3, 6, 8]


def test_patience_stops() -> None:
    result = trainer(Quadratic(), scripted(5, 4, 3, 9), changes={"patience": 2}).run()
    assert (result.steps, result.best_step, result.stopped_early) == (9, 3, True)


def test_divergence_is_an_error_and_never_the_best(tmp_path: Path) -> None:
    class Explodes(Quadratic):
        def loss(self, model: Any, batch: Batch) -> Tensor:
            good = super().loss(model, batch)
            return good * float("nan") if self.steps_done() > 5 else good

        def steps_done(self) -> int:
            self.count = getattr(self, "count", 0) + 1
            return self.count

    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(DivergedError, match="before step 6"):
        trainer(Explodes(), scripted(1, 99), checkpoint=file).run()
    saved = file.load()
    assert saved is not None
    assert saved.progress.best_step == 3
    assert torch.isfinite(saved.best["vector"]).all()


def test_a_score_that_is_no_number_is_an_error_and_never_the_best(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(ScoreError, match="validation after step 6 gave accuracy nan"):
        trainer(Quadratic(), scripted(1, float("nan")), checkpoint=file).run()
    saved = file.load()
    assert saved is not None
    assert (saved.progress.best_step, saved.progress.best_score) == (3, 1)


@pytest.mark.parametrize("kill", range(1, 13))
def test_resumed_training_gives_the_same_bits(kill: int, tmp_path: Path) -> None:
    def validate_of(module: Quadratic) -> Any:
        return lambda: Validation({"accuracy": float(-module.vector.detach().sum())})

    undisturbed = Quadratic()
    expected = trainer(undisturbed, validate_of(undisturbed)).run()

    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    first = Quadratic()
    with pytest.raises(KilledError):
        trainer(first, validate_of(first), checkpoint=file, listeners=[KillAt(kill)]).run()
    torch.manual_seed(999)  # A new process has another global state.
    second = Quadratic()
    result = trainer(second, validate_of(second), checkpoint=file).run()

    assert torch.equal(undisturbed.vector, second.vector)
    assert result.curve == expected.curve
    assert result.history == expected.history
    assert (result.best_step, result.steps) == (expected.best_step, expected.steps)


@pytest.mark.parametrize("fault", ["truncated", "flipped"])
def test_a_damaged_checkpoint_means_a_new_start(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    reference = Quadratic()
    trainer(reference, scripted(1, 2, 3, 4), checkpoint=CheckpointFile(path)).run()
    damaged = bytearray(path.read_bytes())
    if fault == "truncated":
        del damaged[-7:]
    else:
        damaged[-7] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=re.escape(f"checkpoint {path} is damaged")):
        CheckpointFile(path).load()
    again = Quadratic()
    trainer(again, scripted(1, 2, 3, 4), checkpoint=CheckpointFile(path)).run()
    assert torch.equal(reference.vector, again.vector)


@pytest.mark.parametrize("step", range(1, 13))
def test_stopped_training_continues_from_that_very_step_to_the_same_bits(
    step: int, tmp_path: Path
) -> None:
    def validate_of(module: Quadratic) -> Any:
        return lambda: Validation({"accuracy": float(-module.vector.detach().sum())})

    undisturbed = Quadratic()
    expected = trainer(undisturbed, validate_of(undisturbed)).run()

    class Asks(Listener):
        def on_step(self, done: int, total: int) -> None:
            if done == step:
                stop.request(signal.SIGTERM)

    file, stop = CheckpointFile(tmp_path / "checkpoint.safetensors"), Stop()
    first = Quadratic()
    with pytest.raises(StopRequested) as caught:
        trainer(first, validate_of(first), checkpoint=file, listeners=[Asks()], stop=stop).run()
    assert caught.value.exit_code == 143
    saved = file.load()
    assert saved is not None
    assert saved.progress.step == step
    torch.manual_seed(999)
    second = Quadratic()
    result = trainer(second, validate_of(second), checkpoint=file).run()
    assert torch.equal(undisturbed.vector, second.vector)
    assert (result.curve, result.history) == (expected.curve, expected.history)


def test_a_stop_within_an_evaluation_repeats_it(tmp_path: Path) -> None:
    file, stop = CheckpointFile(tmp_path / "checkpoint.safetensors"), Stop()

    def stopped() -> Validation:
        stop.request(signal.SIGINT)
        raise AssertionError("a stop comes at once in here")

    first = Quadratic()
    with pytest.raises(StopRequested) as caught:
        trainer(first, stopped, checkpoint=file, stop=stop).run()
    assert caught.value.exit_code == 130
    saved = file.load()
    assert saved is not None
    assert (saved.progress.step, saved.progress.curve) == (3, [])
    second, whole = Quadratic(), Quadratic()
    result = trainer(second, scripted(1, 2, 3, 4), checkpoint=file).run()
    assert result.curve == trainer(whole, scripted(1, 2, 3, 4)).run().curve
    assert torch.equal(second.vector, whole.vector)


def test_parameters_that_are_no_numbers_are_never_the_best(tmp_path: Path) -> None:
    """A finite loss does not show that the last update of the interval broke the module."""

    class Breaks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 6:
                with torch.no_grad():
                    module.vector[2] = float("nan")

    module = Quadratic()
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(DivergedError, match=r"before step 6 .NaN or infinite parameters"):
        trainer(module, scripted(1, 99), checkpoint=file, listeners=[Breaks()]).run()
    saved = file.load()
    assert saved is not None
    assert saved.progress.best_step == 3
