"""Equality with the published computation, on cases it was run on."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from dtvg import DTVGPrompt, pairwise_similarity, select_group

assert_values = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)
assert_gradients = partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)


@pytest.fixture
def module(case: dict[str, Tensor]) -> DTVGPrompt:
    module = DTVGPrompt(case["init"], case["target"], case["sources"])
    module.target_scale.data.copy_(case["alpha_t"])
    module.source_scales.data.copy_(case["alpha_s"])
    return module


def test_group(case: dict[str, Tensor]) -> None:
    width = case["init"].shape[1]
    target = case["alpha_t"].unsqueeze(1) * (case["target"] - case["init"])
    sources = case["alpha_s"].unsqueeze(2) * (case["sources"] - case["init"])

    group = select_group(target, sources)

    # The published similarity is the paper's formula divided by the width.
    assert_values(group.similarities / width, case["sims"])
    assert group.order.tolist() == case["order"].tolist()
    assert group.kept == case["n_pos"]
    consistencies = group.consistencies.double() / width
    assert_values(consistencies, case["kc"].double())
    assert group.members == case["selected"].tolist()


def test_prompt_and_gradients(case: dict[str, Tensor], module: DTVGPrompt) -> None:
    prompt = module()
    (prompt * case["probe"]).sum().backward()

    assert_values(prompt[0], case["prompt"])
    assert_gradients(module.target.grad, case["grad_target"])
    assert_gradients(module.target_scale.grad, case["grad_alpha_t"])
    assert_gradients(module.source_scales.grad, case["grad_alpha_s"])


def test_module_chooses_the_published_group(case: dict[str, Tensor], module: DTVGPrompt) -> None:
    group = module.group()

    assert group.members == case["selected"].tolist()
    assert_values(group.similarities / case["init"].shape[1], case["sims"])


def test_similarity_is_the_formula_of_the_paper(case: dict[str, Tensor]) -> None:
    first, second = (case["target"] - case["init"]).double(), (case["sources"][0]).double()
    length = len(first)
    formula = sum(v @ w for v in first for w in second) / length**2

    value = pairwise_similarity(torch.stack([first, second]))[0, 1]

    torch.testing.assert_close(value, formula)
