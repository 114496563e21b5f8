"""Processes that share a batch compute what one computes."""

from __future__ import annotations

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bench.models.catalog import BUNDLED
from bench.models.pretraining.batches import batches
from bench.models.pretraining.data_parallel import DataParallel
from bench.models.pretraining.recipe import RECIPES
from bench.models.pretraining.students import Student, student_of
from bench.models.pretraining.training import pretrain
from bench.protocol import Batch

SMALL = {
    "tiny": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1},
    "tiny-llama": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)  # type: ignore[no-any-return]


def _student(name: str, processes: int, tokenizer: PreTrainedTokenizerBase) -> Student:
    recipe = RECIPES[name][0]
    small = recipe.architecture | SMALL[name]
    recipe = replace(recipe, architecture=small, processes=processes, batch_size=7, chunk=2)
    return student_of(recipe, tokenizer)


def _batches(student: Student, count: int) -> list[Batch]:
    return list(islice(batches(student), count))


@pytest.mark.parametrize(("name", "processes"), [("tiny", 3), ("tiny-llama", 2)])
def test_gradients_are_those_of_the_whole_batch(
    name: str, processes: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    student = _student(name, processes, tokenizer)
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


def test_weights_repeat_and_probing_between_stages_changes_none(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """The frozen adapter sets how attention is computed, which a helper would not know."""
    student = _student("tiny", 2, tokenizer)

    def probed(step: int, loss: float, model: nn.Module) -> None:
        student.adapter(model, tokenizer, torch.device("cpu"))

    stages = [replace(student.recipe, steps=2), replace(student.recipe, steps=1)]
    students = [student_of(stage, tokenizer) for stage in stages]
    one, two = (pretrain(students, report) for report in (probed, lambda *_: None))
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_killed_helper_ends_the_training_and_is_not_waited_for(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    student = _student("tiny", 2, tokenizer)
    batch = _batches(student, 1)[0]
    with DataParallel(student, student.initial_model()) as shared:
        shared.backward(batch)
        for pid in shared._helpers[0]._processes:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            shared.backward(batch)
