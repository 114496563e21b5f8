"""Dropout that keeps less: the same numbers as PyTorch's, and less memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.batches import Example, collate
from bench.models.dropout import ATTENTION, FrozenDropout
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.loading import load
from bench.protocol import Batch

SHAPE = (3, 7, 41)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("transposed", [False, True])
def test_in_float32_it_is_the_dropout_of_torch_to_the_bit(share: float, transposed: bool) -> None:
    values = torch.randn(SHAPE)
    values = values.transpose(0, 2) if transposed else values
    results = []
    for dropout in (lambda x: F.dropout(x, share), FrozenDropout(share).train()):
        start = values.clone().requires_grad_()
        torch.manual_seed(5)
        dropped = dropout(start)
        dropped.backward(values)
        assert start.grad is not None
        results.append((dropped.detach(), start.grad))
    for mine, theirs in zip(*results, strict=True):
        assert torch.equal(mine, theirs)


def test_in_bf16_shares_and_factors_are_right() -> None:
    values = torch.ones(400_001, dtype=torch.bfloat16)
    torch.manual_seed(1)
    dropped = FrozenDropout(0.1).train()(values)
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.9).bfloat16())}
    # Five standard deviations of a share of 400,001 draws.
    kept = (dropped != 0).double()
    assert abs(float(kept.mean()) - 0.9) < 5 * math.sqrt(0.09 / 400_001)
    # Neighbours are drawn from the same 64 bits: they must not depend on each other.
    for lag in (1, 2, 3, 4):
        pairs = torch.stack([kept[:-lag], kept[lag:]])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 5 / math.sqrt(400_000)


def test_no_dropout_outside_of_training() -> None:
    values = torch.randn(SHAPE)
    assert FrozenDropout(0.3).eval()(values) is values
    assert FrozenDropout(0.0).train()(values) is values


@pytest.fixture(scope="module")
def frugal() -> EncoderDecoderLM:
    """A T5 with random weights and dropout, which the bundled one has none of."""
    from transformers import T5Config, T5ForConditionalGeneration

    words = load("tiny").tokenizer
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = T5Config(
        vocab_size=len(words), decoder_start_token_id=words.pad_token_id, dropout_rate=0.1, **sizes
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EncoderDecoderLM(T5ForConditionalGeneration(config), words, torch.device("cpu"))


@pytest.fixture(scope="module")
def usual(frugal: EncoderDecoderLM) -> EncoderDecoderLM:
    """The same weights in the model as transformers makes it."""
    lm = copy.copy(frugal)
    lm.model = copy.deepcopy(frugal.model)
    for module in list(lm.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, FrozenDropout):
                setattr(module, name, nn.Dropout(child.p))
    if lm.model.config._attn_implementation == ATTENTION:
        lm.model.set_attn_implementation("sdpa")  # type: ignore[operator]
    return lm


def test_no_dropout_in_a_model_that_is_not_trained(frugal: EncoderDecoderLM) -> None:
    assert any(isinstance(module, FrozenDropout) for module in frugal.model.modules())
    assert not any(module.training for module in frugal.model.modules())


def batch_of(lm: EncoderDecoderLM) -> Batch:
    """Rows of two lengths, so that there is padding to mask."""
    texts = ["sst2 sentence: the cook likes the small boat .", "cola sentence: she sees ."]
    ids = lm.encoder.encode(texts, ["1", "a longer answer"], 64, 20)
    rows = [
        Example(input_ids=source, labels=target)
        for source, target in zip(ids["input_ids"], ids["labels"], strict=True)
    ]
    return collate(rows, lm.encoder.pad_id)


def step(lm: EncoderDecoderLM) -> tuple[float, Tensor]:
    prompt = lm.initial_prompt(6, 42).requires_grad_()
    torch.manual_seed(3)
    with lm.training():
        loss = lm.run(prompt.unsqueeze(0), batch_of(lm)).loss
    loss.backward()  # type: ignore[no-untyped-call]
    assert prompt.grad is not None
    return float(loss.detach()), prompt.grad


def test_a_step_gives_what_it_gives_with_the_dropout_of_torch(
    frugal: EncoderDecoderLM, usual: EncoderDecoderLM
) -> None:
    """Up to the order of floating-point operations; without the same masks it would be far off."""
    (loss, gradient), (expected, reference) = step(frugal), step(usual)
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        undropped = frugal.run(frugal.initial_prompt(6, 42).unsqueeze(0), batch_of(frugal)).loss
    assert abs(float(undropped) - loss) > 1e-3


def kept_bytes(run: Callable[[], object]) -> int:
    """Of what is saved for the backward pass, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = run()
    del held
    return sum(storages.values())


def test_less_is_kept_for_the_backward_pass(
    frugal: EncoderDecoderLM, usual: EncoderDecoderLM
) -> None:
    if frugal.model.config._attn_implementation != ATTENTION:
        pytest.skip("the T5 of this transformers has its own attention, which is left as it is")

    def passed(lm: EncoderDecoderLM) -> object:
        prompt = lm.initial_prompt(100, 42).requires_grad_()
        with lm.training():
            return lm.run(prompt.unsqueeze(0), batch_of(lm)).loss

    assert kept_bytes(lambda: passed(frugal)) < 0.75 * kept_bytes(lambda: passed(usual))


def test_answers_are_those_of_the_model_as_it_was(
    frugal: EncoderDecoderLM, usual: EncoderDecoderLM
) -> None:
    prompt = frugal.initial_prompt(6, 42).unsqueeze(0)
    batch = batch_of(frugal)
    assert frugal.answer(prompt, batch, 6) == usual.answer(prompt, batch, 6)
