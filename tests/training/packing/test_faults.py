"""Trainings in shared passes that are disturbed: faults, stops, kills, too little memory."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.errors import StopRequested
from bench.protocol import Batch, PromptMethod
from bench.training.checkpoints import CheckpointFile
from bench.training.listeners import Listener
from bench.training.loop import DivergedError, Trainer, TrainingResult
from bench.training.packing import train_together
from bench.training.stopping import Stop


class Faulty(Listener):
    """Puts NaN into a module after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.module: PromptMethod[Any] | None = None

    def on_step(self, step: int, total: int) -> None:
        if step == self.step and self.module is not None:
            with torch.no_grad():
                next(self.module.parameters()).fill_(float("nan"))


@pytest.mark.parametrize("fault", ["diverges", "raises", "raises backwards"])
def test_a_faulty_mate_ends_alone(
    fault: str, assert_same: Any, method_of: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")

    class Raises(type(method_of("pt", model, 1))):  # type: ignore[misc]
        def prompt_for(self, model: Any, batch: Batch) -> Tensor:
            self.passes = getattr(self, "passes", 0) + 1
            if fault == "raises" and self.passes > 8:
                raise ValueError("no prompt")
            prompt: Tensor = super().prompt_for(model, batch)
            if fault == "raises backwards" and self.passes > 8:
                prompt.register_hook(self.fail)  # type: ignore[no-untyped-call]
            return prompt

        def fail(self, gradient: Tensor) -> Tensor:
            raise ValueError("no prompt")

    alone = [trainer(model, "pt", 0), trainer(model, "attempt", 2)]
    expected = [each.run() for each in alone]
    packed = [trainer(model, "pt", 0), trainer(model, "pt", 1), trainer(model, "attempt", 2)]
    bad = packed[1]
    if fault == "diverges":
        listener = Faulty(8)
        packed[1] = bad = trainer(model, "pt", 1, listeners=[listener])
        listener.module = bad.trainable  # type: ignore[assignment]
    else:
        bad.trainable.__class__ = Raises
    outcomes = run_all(packed)
    if fault == "diverges":
        assert isinstance(outcomes[1], DivergedError)
        assert "before step 10" in str(outcomes[1])
    else:
        assert isinstance(outcomes[1], ValueError)
        assert bad.progress.step == 8
    for place, other, result in zip((0, 2), alone, expected, strict=True):
        assert_same(packed[place], outcomes[place], other, result)


def test_a_stop_leaves_a_checkpoint_of_every_mate(
    tmp_path: Path, assert_same: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    """From these each continues to where it would have come undisturbed, here in another pack."""
    model = model_of("t5")
    methods = ("pt", "dtvg", "attempt")

    def trainers(stop: Stop, *listeners: Listener) -> list[Trainer]:
        return [
            trainer(
                model,
                method,
                number,
                checkpoint=CheckpointFile(tmp_path / method),
                stop=stop,
                listeners=listeners if number == 1 else (),
            )
            for number, method in enumerate(methods)
        ]

    class Asks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 8:
                stop.request(signal.SIGTERM)

    stop, ended = Stop(), list[Any]()
    with pytest.raises(StopRequested) as caught:
        train_together(trainers(stop, Asks()), lambda *outcome: ended.append(outcome))
    assert caught.value.exit_code == 143
    assert ended == []
    saved = [CheckpointFile(tmp_path / method).load() for method in methods]
    # The last one had the gradients of its eighth step, but had not used them yet.
    assert [each.progress.step for each in saved if each is not None] == [8, 8, 7]

    again = trainers(Stop())
    outcomes = [again[0].run(), *run_all(again[1:])]  # The first alone: its mates may be others.
    for number, (mine, outcome) in enumerate(zip(again, outcomes, strict=True)):
        alone = trainer(model, methods[number], number)
        assert_same(mine, outcome, alone, alone.run())


def test_a_killed_pack_continues_from_the_last_checkpoints(
    tmp_path: Path, assert_same: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")

    class KilledError(BaseException):
        """As a kill, no exception that anything handles."""

    class Kill(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 8:
                raise KilledError

    def trainers(*listeners: Listener) -> list[Trainer]:
        return [
            trainer(
                model,
                m,
                n,
                checkpoint=CheckpointFile(tmp_path / m),
                listeners=listeners if n else (),
            )
            for n, m in enumerate(("pt", "mpt"))
        ]

    with pytest.raises(KilledError):
        run_all(trainers(Kill()))
    saved = CheckpointFile(tmp_path / "pt").load()
    assert saved is not None
    assert saved.progress.step == 5
    again = trainers()
    for number, (mine, outcome) in enumerate(zip(again, run_all(again), strict=True)):
        alone = trainer(model, ("pt", "mpt")[number], number)
        assert_same(mine, outcome, alone, alone.run())


def test_what_ends_the_run_saves_the_mates(tmp_path: Path, model_of: Any, trainer: Any) -> None:
    """A full disk, or a listener that fails: who is told of it decides, by raising it."""
    model = model_of("t5")
    file = CheckpointFile(tmp_path / "checkpoint")

    class Breaks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 7:
                raise OSError("disk full")

    heard: list[Any] = []

    class Ears(Listener):
        def on_finish(self, result: TrainingResult | None) -> None:
            heard.append(result)

    def ended(trainer: Trainer, outcome: TrainingResult | Exception) -> None:
        assert isinstance(outcome, Exception)
        raise outcome

    with pytest.raises(Exception, match="listener Breaks failed in on_step"):
        train_together(
            [
                trainer(model, number=0, checkpoint=file, listeners=[Ears()]),
                trainer(model, number=1, listeners=[Breaks()]),
            ],
            ended,
        )
    saved = file.load()
    assert saved is not None
    assert saved.progress.step == 7
    assert heard == [None]


def test_out_of_memory_halves_the_pack(
    assert_same: Any, batch_rows: Any, count_passes: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")
    methods = ("pt", "spot", "dtvg", "attempt")

    def trainers() -> list[Trainer]:
        return [trainer(model, method, n, steps=5) for n, method in enumerate(methods)]

    alone = trainers()
    expected = [each.run() for each in alone]
    packed, passes = trainers(), count_passes(most=2 * batch_rows)
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, outcome.micro_batch_size) == (2, None)
    assert passes == [2 * batch_rows] * 2 * 5


def test_out_of_memory_ends_with_parts_of_single_batches(
    assert_same: Any, batch_rows: Any, count_passes: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")
    alone = [trainer(model, "pt", number, steps=5) for number in range(3)]
    expected = [each.run() for each in alone]
    packed = [trainer(model, "pt", number, steps=5) for number in range(3)]
    passes = count_passes(most=batch_rows - 1)
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, outcome.micro_batch_size) == (None, 2)
    assert passes == [2, 1] * 3 * 5
