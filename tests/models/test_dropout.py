"""Dropout that keeps less for the backward pass: the numbers of PyTorch, and less memory."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from bench.method import Batch
from bench.models.base import FrozenLM
from bench.models.dropout import ATTENTION, ByteMaskDropout
from tests.models.conftest import make_model


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("transposed", [False, True])
def test_in_float32_it_is_the_dropout_of_torch_to_the_bit(rate: float, transposed: bool) -> None:
    values = torch.randn(3, 7, 41)
    values = values.transpose(0, 2) if transposed else values
    results = []
    for dropout in (lambda x: F.dropout(x, rate), ByteMaskDropout(rate).train()):
        start = values.clone().requires_grad_()
        torch.manual_seed(5)
        dropped = dropout(start)
        dropped.backward(values)
        results.append((dropped.detach(), start.grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
    assert ByteMaskDropout(rate).eval()(values) is values
    assert ByteMaskDropout(0.0).train()(values) is values


def test_in_bf16_rates_and_factors_are_right() -> None:
    values = torch.ones(400_001, dtype=torch.bfloat16)
    torch.manual_seed(1)
    dropped = ByteMaskDropout(0.1).train()(values)
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.9).bfloat16())}
    # Five standard deviations of a share of 400,001 draws.
    kept = (dropped != 0).double()
    assert abs(float(kept.mean()) - 0.9) < 5 * math.sqrt(0.09 / 400_001)
    # Neighbours are drawn from the same 64 bits: they must not depend on each other.
    for lag in (1, 2, 3, 4):
        pairs = torch.stack([kept[:-lag], kept[lag:]])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 5 / math.sqrt(400_000)


@pytest.fixture(scope="module")
def frugal() -> FrozenLM:
    """A T5 with dropout, which the bundled one has none of."""
    return make_model("t5", dropout_rate=0.1)


@pytest.fixture(scope="module")
def usual(frugal: FrozenLM) -> FrozenLM:
    """The model as transformers makes it, with equal weights."""
    lm = copy.deepcopy(frugal)
    for module in list(lm.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, ByteMaskDropout):
                setattr(module, name, nn.Dropout(child.p))
    lm.model.set_attn_implementation("sdpa")
    return lm


@pytest.mark.parametrize("padded", [False, True])
def test_attention_has_the_gradients_of_autograd(frugal: FrozenLM, padded: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=draw) for _ in range(3))
    bias = torch.randn(1, 3, 5, 5, generator=draw)
    mask = torch.arange(5) < torch.tensor([[5], [3 if padded else 5]])
    mask = mask[:, None, None, :].expand(2, 1, 5, 5)
    module = nn.Module().train()

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.transpose(-1, -2) + bias.masked_fill(~mask, -1e30)
        return (F.dropout(scores.softmax(dim=-1), 0.3) @ value).transpose(1, 2)

    def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attend: Any = AttentionInterface()[ATTENTION]
        options = {"dropout": 0.3, "scaling": 1.0, "position_bias": bias}
        return attend(module, query, key, value, mask, **options)[0]  # type: ignore[no-any-return]

    results = []
    for attention in (plain, ours):
        inputs = [part.clone().requires_grad_() for part in (query, key, value)]
        torch.manual_seed(4)
        found = attention(*inputs)
        found.backward(torch.ones_like(found).cumsum(dim=1))
        results.append([found.detach(), *(part.grad for part in inputs)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_that_with_usual_dropout(frugal: FrozenLM, usual: FrozenLM, batch: Batch) -> None:
    """Up to the order of floating-point operations; without equal masks it would be far off."""
    results = []
    for lm in (frugal, usual):
        prompt = lm.initial_prompt(6, 42).requires_grad_()
        torch.manual_seed(3)
        with lm.training():
            loss = lm.run(prompt.unsqueeze(0), batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
        results.append((float(loss.detach()), prompt.grad))
    (loss, gradient), (expected, reference) = results
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-5)
    with frugal.inference():
        start = frugal.initial_prompt(6, 42).unsqueeze(0)
        assert abs(float(frugal.run(start, batch).loss) - loss) > 1e-3
    assert frugal.answer(start, batch, 6) == usual.answer(start, batch, 6)


def kept_bytes(lm: FrozenLM, batch: Batch) -> int:
    """Of what is saved for the backward pass, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    prompt = lm.initial_prompt(100, 42).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), lm.training():
        held = lm.run(prompt.unsqueeze(0), batch)
    del held
    return sum(storages.values())


def test_less_is_kept_for_backward(frugal: FrozenLM, usual: FrozenLM, batch: Batch) -> None:
    if frugal.model.get_correct_attn_implementation(None) != "sdpa":
        pytest.skip("the T5 of this transformers has its own attention, which is left as it is")
    assert kept_bytes(frugal, batch) < 0.75 * kept_bytes(usual, batch)
