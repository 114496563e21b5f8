"""Task vectors belong to one initial prompt."""

from __future__ import annotations

import pytest
import torch

from bench.errors import InitialPromptMismatchError, PromptError
from bench.protocol import SoftPrompt, tensor_digest
from dtvg.task_vectors import TaskVectors, stack_prompts, task_vectors

INITIAL = torch.arange(6.0).reshape(2, 3)


def test_vector_is_what_tuning_added() -> None:
    learned = torch.tensor([[1.0, 0.0, -2.0], [0.5, 0.0, 0.0]])

    vectors = TaskVectors(INITIAL, torch.stack([INITIAL + learned, INITIAL]))

    assert torch.equal(vectors.sources, torch.stack([learned, torch.zeros(2, 3)]))
    assert torch.equal(vectors.of(INITIAL - learned), -learned)


def test_initial_prompt_and_vectors_move_together() -> None:
    moved = TaskVectors(INITIAL, INITIAL.unsqueeze(0)).to("meta")

    assert moved.initial.device == moved.sources.device == torch.device("meta")


def test_stack_keeps_the_order() -> None:
    digest = tensor_digest(INITIAL)
    prompts = [SoftPrompt(str(k), INITIAL + k, digest) for k in (3, 1, 2)]

    assert torch.equal(stack_prompts(INITIAL, prompts)[:, 0, 0], torch.tensor([3.0, 1.0, 2.0]))
    assert stack_prompts(INITIAL, []).shape == (0, 2, 3)


@pytest.mark.parametrize("digest", [None, tensor_digest(INITIAL + 1)])
def test_other_initial_prompt_is_refused(digest: str | None) -> None:
    prompts = [
        SoftPrompt("mnli", INITIAL, tensor_digest(INITIAL)),
        SoftPrompt("sst2", INITIAL, digest),
    ]

    with pytest.raises(InitialPromptMismatchError, match=r"prompt of sst2 .* same model and seed"):
        stack_prompts(INITIAL, prompts)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3,)])
def test_other_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PromptError, match="expected"):
        task_vectors(torch.zeros(shape), INITIAL)
