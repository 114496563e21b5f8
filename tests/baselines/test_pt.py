"""Vanilla prompt tuning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from baselines.pt import PromptTuning, PTSettings
from bench.protocol import Ingredients, Needs


def test_starts_from_the_initial_prompt(ingredients: Callable[..., Ingredients]) -> None:
    parts = ingredients()

    method = PromptTuning.build(PTSettings(), parts)

    assert torch.equal(method(), parts.initial.unsqueeze(0))
    assert PromptTuning.needs(PTSettings()) == Needs()


def test_published_rate_and_decay(ingredients: Callable[..., Ingredients]) -> None:
    (group,) = PromptTuning.build(PTSettings(), ingredients()).parameter_groups()

    assert (group.learning_rate, group.weight_decay) == (0.3, 1e-5)


@pytest.mark.parametrize(
    "values", [{"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"weight_decay": -1e-9}]
)
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        PTSettings(**values)
