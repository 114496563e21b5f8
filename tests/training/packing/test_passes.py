"""Trainings in shared passes: each as if it were alone, and which of them share."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.models.encoder_decoder import EncoderDecoderLM
from bench.protocol import IGNORED_LABEL, Batch, Ingredients, tensor_digest
from bench.registry import parse_method
from bench.training.loop import Trainer, TrainingResult
from bench.training.packing import concatenate, shares_passes

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")


class Repeated:
    """A stream of one batch, again and again."""

    examples = 60

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def seen(self, steps: int) -> int:
        return steps * len(self._batch)

    def batch(self, step: int) -> Batch:
        return self._batch


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_packed_prompts_equal_those_trained_alone(
    kind: str, assert_same: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    """All methods, each on a task of its own and with its own seed; lengths differ."""
    model = model_of(kind)

    def trainers() -> list[Trainer]:
        return [
            trainer(model, method, number, 42 + number, rows=2 + number % 2)
            for number, method in enumerate(METHODS)
        ]

    alone, packed = trainers(), trainers()
    before = [tensor_digest(each.trained[0]) for each in packed]
    expected = [each.run() for each in alone]
    outcomes = run_all(packed)
    for mine, outcome, other, result in zip(packed, outcomes, alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, result.trainings_per_pass) == (5, None)
    assert [tensor_digest(each.trained[0]) for each in packed] != before
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert not model.model.training


def test_a_pack_makes_one_pass_a_step(
    batch_rows: Any, count_passes: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    passes = count_passes()
    model = model_of("t5")
    run_all([trainer(model, seed=seed, steps=4) for seed in (1, 2, 3)])
    assert passes == [3 * batch_rows] * 4


def test_trainings_of_different_length_leave_one_after_the_other(
    assert_same: Any, batch_rows: Any, count_passes: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")
    steps = {"pt": 20, "dtvg": 7, "attempt": 13}

    def trainers() -> list[Trainer]:
        return [trainer(model, m, n, steps=steps[m]) for n, m in enumerate(steps)]

    alone = trainers()
    expected = [each.run() for each in alone]
    passes, packed = count_passes(), trainers()
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
    assert passes == [3 * batch_rows] * 7 + [2 * batch_rows] * 6 + [batch_rows] * 7


def test_what_is_too_long_together_but_not_alone_is_trained_apart(
    assert_same: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    """A causal model has room for so many tokens: the longest input beside the longest answer."""
    model = model_of("llama")

    def filled(inputs: int, answers: int) -> Batch:
        ids = torch.full((2, inputs), 7)
        return Batch(ids, torch.ones_like(ids), torch.full((2, answers), 9))

    def trainers() -> list[Trainer]:
        streams = Repeated(filled(60, 2)), Repeated(filled(2, 60))
        return [trainer(model, steps=3, number=n, stream=s) for n, s in enumerate(streams)]

    alone, packed = trainers(), trainers()
    expected = [each.run() for each in alone]
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert outcome.trainings_per_pass is None


def test_prompts_of_other_lengths_have_passes_of_their_own(
    batch_rows: Any, count_passes: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")
    longer = parse_method("pt", {})
    module = longer.load().build(longer.settings, Ingredients(model.initial_prompt(9, 1)))
    passes = count_passes()
    trainers = [
        trainer(model, steps=2),
        trainer(model, module=module, steps=2),
        trainer(model, steps=2),
    ]
    outcomes = run_all(trainers)
    assert passes == [2 * batch_rows, batch_rows] * 2
    assert [o.trainings_per_pass for o in outcomes if isinstance(o, TrainingResult)] == [2, None, 2]


def test_a_module_with_a_loss_of_its_own_shares_no_pass(
    batch_rows: Any, count_passes: Any, method_of: Any, model_of: Any, run_all: Any, trainer: Any
) -> None:
    model = model_of("t5")
    plain = type(method_of("pt", model, 1))

    class Own(plain):  # type: ignore[valid-type,misc]
        def loss(self, model: Any, batch: Batch) -> Tensor:
            loss: Tensor = super().loss(model, batch) + 0.1 * self().square().mean()
            return loss

    assert shares_passes(plain)
    assert not shares_passes(Own)
    own = [trainer(model, number=1, steps=3) for _ in range(2)]
    for each in own:
        each.trainable.__class__ = Own
    expected = own[0].run()
    passes = count_passes()
    outcomes = run_all([trainer(model, steps=3), own[1], trainer(model, number=2, steps=3)])
    assert passes == [2 * batch_rows, batch_rows] * 3
    # Its passes are those of a training alone, to the bit.
    assert isinstance(outcomes[1], TrainingResult)
    assert outcomes[1].curve == expected.curve


def test_with_dropout_rows_have_masks_of_their_own_and_a_pack_repeats(
    model_of: Any, run_all: Any, trainer: Any
) -> None:
    """Two equal trainings in one pass differ, as their rows do; the same pack gives the same."""
    model = model_of("t5", dropout=0.2)
    states: list[list[str]] = []
    for _ in range(2):
        pair = [trainer(model, steps=3) for _ in range(2)]
        torch.manual_seed(len(states))  # What was drawn before has no part in it.
        run_all(pair)
        states.append([tensor_digest(each.trained[0]) for each in pair])
    assert states[0] == states[1]
    assert states[0][0] != states[0][1]


def test_times_of_mates_add_up_to_that_of_the_pack(
    monkeypatch: pytest.MonkeyPatch, model_of: Any, run_all: Any, trainer: Any
) -> None:
    """By a clock that moves one second with every pass of the model."""
    clock = 0.0
    run = EncoderDecoderLM.run

    def slow(self: Any, prompt: Tensor, batch: Batch) -> Any:
        nonlocal clock
        clock += 1.0
        return run(self, prompt, batch)

    monkeypatch.setattr(EncoderDecoderLM, "run", slow)
    for place in ("loop", "packing"):
        monkeypatch.setattr(f"bench.training.{place}.time.perf_counter", lambda: clock)
    model = model_of("t5")
    outcomes = run_all([trainer(model, steps=6, rows=rows, number=rows) for rows in (2, 6)])
    seconds = [outcome.seconds for outcome in outcomes if isinstance(outcome, TrainingResult)]
    assert seconds == pytest.approx([6 * 2 / 8, 6 * 6 / 8])


def test_joined_batches_keep_every_row(made_up_batch: Any) -> None:
    batches = [made_up_batch(number, 1) for number in range(3)]
    whole = concatenate(batches, pad_id=0)
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch))
        for name, padding in (("input_ids", 0), ("mask", 0), ("labels", IGNORED_LABEL)):
            one, all_rows = getattr(batch, name), getattr(whole, name)[rows]
            assert torch.equal(all_rows[:, : one.shape[1]], one)
            assert (all_rows[:, one.shape[1] :] == padding).all()
        start += len(batch)
    assert len(whole) == start
    assert dataclasses.asdict(whole)["task_ids"] is None
