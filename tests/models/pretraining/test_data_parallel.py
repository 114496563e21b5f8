"""Processes that share a batch compute what one computes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from bench.models.pretraining.batches import batches
from bench.models.pretraining.data_parallel import DataParallel
from bench.models.pretraining.recipe import Fronts, Recipe
from bench.models.pretraining.students import Student, student_of
from bench.models.pretraining.training import pretrain
from bench.protocol import Batch

Make = Callable[..., Student]


@pytest.fixture(scope="module")
def make(tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]) -> Make:
    """A student that is trained by so many processes, which get unequal shares of a batch."""

    def student(name: str, processes: int, fronts: Fronts | None = None) -> Student:
        recipe = replace(small_recipes[name], processes=processes, batch_size=7)
        if fronts is not None:
            no_drills = {"first_drill_share": 0.0, "last_drill_share": 0.0}
            recipe = replace(recipe, fronts=fronts, **no_drills)
        return student_of(recipe, tokenizer)

    return student


def _batches(student: Student, count: int) -> list[Batch]:
    return list(islice(batches(student), count))


@pytest.mark.parametrize(
    ("name", "processes", "fronts"),
    [("tiny", 3, Fronts(filler_share=1.0, noise=2.0)), ("tiny-llama", 2, None)],
    ids=["tiny-3-blurred", "tiny-llama-2"],
)
def test_gradients_are_those_of_the_whole_batch(
    name: str, processes: int, fronts: Fronts | None, make: Make
) -> None:
    student = make(name, processes, fronts)
    model, alone = student.initial_model(), student.initial_model()
    with DataParallel(student, model) as shared:
        for batch in _batches(student, 2):
            expected = student.loss(alone, batch)
            alone.zero_grad()
            expected.backward()  # type: ignore[no-untyped-call]
            model.zero_grad()
            assert shared.backward(batch) == pytest.approx(expected.item(), rel=1e-5)
            for one, other in zip(model.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
            with torch.no_grad():  # Helpers must see what an optimiser does to the weights.
                for weight in (*model.parameters(), *alone.parameters()):
                    weight.mul_(1.1)


def test_weights_repeat_and_probing_between_stages_changes_none(make: Make) -> None:
    """The frozen adapter sets how attention is computed, which a helper would not know."""
    student = make("tiny", 2)

    def probed(step: int, loss: float, model: nn.Module) -> None:
        student.adapter(model, student.tokenizer, torch.device("cpu"))

    stages = [replace(student.recipe, steps=2), replace(student.recipe, steps=1)]
    students = [student_of(stage, student.tokenizer) for stage in stages]
    one, two = (pretrain(students, report) for report in (probed, lambda *_: None))
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_killed_helper_ends_the_training_and_is_not_waited_for(make: Make) -> None:
    student = make("tiny", 2)
    batch = _batches(student, 1)[0]
    with DataParallel(student, student.initial_model()) as shared:
        shared.backward(batch)
        for pid in shared._helpers[0]._processes:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            shared.backward(batch)
