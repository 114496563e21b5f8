"""Attentional mixture of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.attempt import AttemptPrompt, AttemptSettings
from bench.errors import PromptError
from bench.protocol import Ingredients, Needs, SoftPrompt

ARCHIVE = "attempt.npz"

Make = Callable[..., Ingredients]


@pytest.fixture
def module(case: dict[str, Tensor]) -> AttemptPrompt:
    temperature = case["temperature"].item()
    module = AttemptPrompt(case["target_prompt"], case["source_prompts"], temperature=temperature)
    module.down.weight.data.copy_(case["w_down"])
    module.up.weight.data.copy_(case["w_up"])
    module.norm.weight.data.copy_(case["ln_weight"])
    module.norm.bias.data.copy_(case["ln_bias"])
    return module


def test_published_attention_prompt_and_gradients(
    case: dict[str, Tensor], module: AttemptPrompt
) -> None:
    inputs = case["inputs_embeds"]
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)

    prompt = module(inputs, mask)
    (prompt * case["probe"]).sum().backward()

    assert_values = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)
    assert_values(module.attention(inputs, mask), case["attention"])
    assert_values(module.attention(inputs), case["attention"])
    assert_values(prompt, case["prompt"])
    gradients = {
        "grad_target_prompt": module.target.grad,
        "grad_w_down": module.down.weight.grad,
        "grad_w_up": module.up.weight.grad,
        "grad_ln_weight": module.norm.weight.grad,
        "grad_ln_bias": module.norm.bias.grad,
    }
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, case[name], atol=1e-4, rtol=1e-4)


def random_module(seed: int = 0, **options: Any) -> AttemptPrompt:
    torch.manual_seed(seed)
    # A low temperature, so that attention depends on the input strongly.
    return AttemptPrompt(torch.randn(3, 8), torch.randn(4, 3, 8), temperature=1.0, **options)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    padding=st.integers(0, 4),
    filler=st.sampled_from([0.0, 50.0, float("inf"), float("nan")]),
)
def test_prompt_depends_neither_on_padding_nor_on_other_rows(
    seed: int, lengths: list[int], padding: int, filler: float
) -> None:
    module = random_module(seed)
    longest = max(1, *lengths, 1) + padding
    inputs = torch.full((len(lengths), longest, 8), filler)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        inputs[row, :length] = torch.randn(length, 8)
        mask[row, :length] = 1

    together = module(inputs, mask)

    assert torch.isfinite(together).all()
    for row, length in enumerate(lengths):
        if length:
            alone = module(inputs[row : row + 1, :length])
            torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)


def test_attention_differs_between_inputs() -> None:
    module = random_module()
    first, second = module.attention(torch.randn(2, 5, 8))

    torch.testing.assert_close(first.sum(), torch.tensor(1.0))
    assert (first - second).abs().max() > 0.01


def test_temperature_is_e_times_the_width_unless_given() -> None:
    module = AttemptPrompt(torch.zeros(2, 768), torch.zeros(1, 2, 768))

    assert module.temperature == pytest.approx(math.e * 768)
    assert int(module.temperature) == 2087  # the paper's figure for T5-base
    assert random_module().temperature == 1.0


def test_weights_follow_the_global_seed() -> None:
    first, second, other = random_module(1), random_module(1), random_module(2)

    assert torch.equal(first.down.weight, second.down.weight)
    assert not torch.equal(first.down.weight, other.down.weight)


def test_mean_attention_of_evaluated_rows_since_the_last_reading() -> None:
    module = random_module(source_names=["mnli", "qnli", "sst2", "squad"])
    inputs = torch.randn(5, 6, 8)
    module(inputs)  # a training step does not count
    assert module.diagnostics() == {}

    with torch.no_grad():
        module(inputs[:2])
        module(inputs[2:])
    told = module.diagnostics()["attention"]

    expected = module.attention(inputs).mean(dim=0).tolist()
    assert list(told["sources"]) == ["mnli", "qnli", "sst2", "squad"]
    assert [*told["sources"].values(), told["target"]] == pytest.approx(expected)
    assert module.diagnostics() == {}
    with torch.no_grad():
        module(inputs[:1])
    assert module.diagnostics()["attention"]["target"] == pytest.approx(
        module.attention(inputs[:1])[0, -1].item()
    )


def test_evaluation_leaves_the_state() -> None:
    module = random_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}

    with torch.no_grad():
        module(torch.randn(2, 3, 8))

    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_build_starts_from_the_first_source(ingredients: Make) -> None:
    parts = ingredients()

    method = AttemptPrompt.build(AttemptSettings(hidden=7, temperature=2.0), parts)

    assert torch.equal(method.target, parts.sources[0].matrix)
    assert method.down.weight.shape == (7, parts.initial.shape[1])
    assert method.temperature == 2.0
    assert method.source_names == ("mnli", "qnli", "sst2")
    assert AttemptPrompt.needs(AttemptSettings()) == Needs(sources=True)


def test_source_may_have_started_anywhere_but_must_fit(
    ingredients: Make, stray: SoftPrompt
) -> None:
    method = AttemptPrompt.build(AttemptSettings(), ingredients(sources=(stray,)))

    assert torch.equal(method.target, stray.matrix)
    with pytest.raises(PromptError, match=r"prompt of stray has shape \(4, 6\)"):
        AttemptPrompt.build(AttemptSettings(), ingredients(length=5, sources=(stray,)))


def test_missing_sources_and_wrong_shapes_are_refused(ingredients: Make) -> None:
    with pytest.raises(PromptError, match="there are none"):
        AttemptPrompt.build(AttemptSettings(), ingredients(sources=()))
    with pytest.raises(PromptError, match=r"\(2, 3, 4\).*\(3, 5\)"):
        AttemptPrompt(torch.zeros(3, 5), torch.zeros(2, 3, 4))


def test_inputs_are_required() -> None:
    with pytest.raises(ValueError, match="depends on the input"):
        random_module()()


@pytest.mark.parametrize("values", [{"hidden": 0}, {"temperature": 0.0}, {"learning_rate": -1.0}])
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        AttemptSettings(**values)
