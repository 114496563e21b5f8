"""Frozen weights in bfloat16: near float32, with everything that is trained in float32."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.pt import PromptTuning, PTSettings
from bench.data.batches import Example, collate
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.protocol import Batch, tensor_digest
from bench.training.loop import Trainer, Validation
from bench.training.settings import TrainingSettings

MODELS = ("tiny", "tiny-llama")
LENGTH = 6
SOURCES = ["sst2 sentence: the cook likes the small boat .", "cola sentence: she the house sees ."]
TARGETS = ["1", "a longer answer"]


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> tuple[FrozenLM, FrozenLM]:
    """A model in float32, and the same in bf16."""
    return load(request.param), load(request.param, precision="bf16")


def batch_of(lm: FrozenLM) -> Batch:
    ids = lm.encoder.encode(SOURCES, TARGETS, 64, 20)
    rows = [
        Example(input_ids=source, labels=target)
        for source, target in zip(ids["input_ids"], ids["labels"], strict=True)
    ]
    return collate(rows, lm.encoder.pad_id)


def gradient(lm: FrozenLM) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, logits and the gradient of the initial prompt, without dropout."""
    prompt = lm.initial_prompt(LENGTH, 42).requires_grad_()
    output = lm.run(prompt.unsqueeze(0), batch_of(lm))
    output.loss.backward()  # type: ignore[no-untyped-call]
    assert prompt.grad is not None
    return output.loss.detach(), output.logits.detach(), prompt.grad


def test_only_the_weights_are_rounded(pair: tuple[FrozenLM, FrozenLM]) -> None:
    full, half = pair
    weights = dict(half.model.named_parameters())
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    for name, weight in full.model.named_parameters():
        assert torch.equal(weights[name], weight.bfloat16())
    buffers = dict(half.model.named_buffers())
    for name, buffer in full.model.named_buffers():  # Frequencies of positions among them.
        assert torch.equal(buffers[name], buffer)
    assert half.parameter_count() == full.parameter_count()


def test_weights_that_were_shared_still_are() -> None:
    lm = load("tiny", precision="bf16")
    config = lm.model.config
    heads = lm.model.get_output_embeddings()  # type: ignore[operator]
    assert config.tie_word_embeddings == (heads.weight is lm.embedding.weight)


def test_prompts_start_where_they_do_in_float32(pair: tuple[FrozenLM, FrozenLM]) -> None:
    """Task vectors are differences to this start, which must not depend on the precision."""
    full, _ = pair
    starts = [lm.initial_prompt(LENGTH, 42) for lm in pair]
    assert tensor_digest(starts[0]) == tensor_digest(starts[1])
    words = {tuple(row.tolist()) for row in full.embedding.weight.detach()}
    assert all(tuple(row.tolist()) in words for row in starts[1])
    assert not torch.equal(starts[1], starts[1].bfloat16().float())  # They would not be so again.


def test_loss_and_gradient_are_near_those_of_float32(pair: tuple[FrozenLM, FrozenLM]) -> None:
    """A bf16 number has 8 bits, so each rounding errs by at most 2^-9 = 0.2 % of it.

    Five percent is what some twenty in a row, of layers and their parts, come to in the worst case.
    Logits and gradients are differences of larger numbers, so they are compared as a whole: by
    their directions, within some twenty-five degrees.
    """
    full, half = (gradient(lm) for lm in pair)
    assert half[0] == pytest.approx(float(full[0]), rel=0.05)
    for exact, rounded in zip(full[1:], half[1:], strict=True):
        assert rounded.dtype == torch.float32
        cosine = (rounded * exact).sum() / (rounded.norm() * exact.norm())
        assert 0.9 < cosine < 1
        assert float(rounded.norm()) == pytest.approx(float(exact.norm()), rel=0.1)


def test_the_loss_is_that_of_the_logits_in_float32(pair: tuple[FrozenLM, FrozenLM]) -> None:
    _, half = pair
    batch = batch_of(half)
    output = half.run(half.initial_prompt(LENGTH, 42).unsqueeze(0), batch)
    scores = output.logits.double().log_softmax(-1)
    counted = batch.labels != -100
    by_hand = -scores[counted].gather(1, batch.labels[counted].unsqueeze(1)).mean()
    assert output.loss.dtype == torch.float32
    # Float32 has 24 bits; in bf16 the loss itself would be off by up to 2e-3 of it.
    assert float(output.loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-6)


def test_rows_are_added_up_in_float32() -> None:
    """Of equal rows the gradient of a prompt is a multiple of one row's, to the last bits."""
    lm = load("tiny", precision="bf16")
    one = batch_of(lm)
    one = Batch(one.input_ids[:1], one.mask[:1], one.labels[:1])
    seven = Batch(*(t.expand(7, -1) for t in (one.input_ids, one.mask, one.labels)))
    prompt = lm.initial_prompt(LENGTH, 42).requires_grad_()
    rows = prompt.expand(7, -1, -1).detach().clone().requires_grad_()
    for start in (prompt.unsqueeze(0), rows):
        lm.run(start, seven).loss.backward()  # type: ignore[no-untyped-call]
    assert prompt.grad is not None
    assert rows.grad is not None
    assert torch.allclose(prompt.grad, rows.grad.sum(dim=0), rtol=1e-6, atol=0)


class Stream:
    """The same batch at every step."""

    examples = 2

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def seen(self, steps: int) -> int:
        return 2 * steps

    def batch(self, step: int) -> Batch:
        return self._batch


@pytest.mark.parametrize("precision", [0, 1], ids=["float32", "bf16"])
def test_only_the_prompt_has_gradient_and_optimiser_state(
    pair: tuple[FrozenLM, FrozenLM], precision: int, tmp_path: Path
) -> None:
    lm = pair[precision]
    before = copy.deepcopy(lm.model.state_dict())
    start = lm.initial_prompt(LENGTH, 42)
    method = PromptTuning(start, PTSettings())
    seen: list[dict[str, Tensor]] = []

    class Watching(Stream):
        def batch(self, step: int) -> Batch:
            # Before the second step the moments of the first are there.
            states = list(trainer.optimiser.state.items())
            for parameter, state in states:
                assert parameter is method.prompt
                seen.append(dict(state))
            assert all(p.grad is None for p in lm.model.parameters())
            return super().batch(step)

    settings = TrainingSettings(4, None, 2, 0, 4, 1.0, None, 2)
    trainer = Trainer(
        lm, method, Watching(batch_of(lm)), settings, 1, lambda: Validation({"accuracy": 1.0})
    )
    trainer.run()
    assert len(seen) == 3
    for state in seen:
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == start.shape
        assert {value.dtype for value in state.values()} == {torch.float32}
        assert state["exp_avg"].abs().sum() > 0
    assert not any(p.requires_grad for p in lm.model.parameters())
    assert method.prompt.dtype == torch.float32
    assert not torch.equal(method.prompt.detach(), start)
    assert all(torch.equal(value, before[name]) for name, value in lm.model.state_dict().items())


def test_answers_in_bf16(pair: tuple[FrozenLM, FrozenLM]) -> None:
    _, half = pair
    prompt = half.initial_prompt(LENGTH, 42).unsqueeze(0)
    batch = batch_of(half)
    answers = half.answer(prompt, batch, 5)
    assert answers == half.answer(prompt, batch, 5)
    assert len(answers) == len(SOURCES)
