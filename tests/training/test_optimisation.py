"""Schedule and optimiser against transformers and torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from bench.protocol import ParameterGroup
from bench.training.optimisation import (
    adamw,
    optimiser_tensors,
    restore_optimiser,
    schedule_factor,
    set_learning_rates,
)


@pytest.mark.parametrize(("total", "warmup"), [(10, 0), (10, 3), (7, 7), (500, 50), (3, 10)])
def test_schedule_is_that_of_transformers(total: int, warmup: int) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    peer = torch.optim.SGD([parameter], lr=1.0)
    schedule = get_linear_schedule_with_warmup(peer, warmup, total)
    for step in range(1, total + 1):
        assert schedule_factor(step, total, warmup) == pytest.approx(schedule.get_last_lr()[0])
        peer.step()
        schedule.step()


def two_groups() -> tuple[list[nn.Parameter], torch.optim.AdamW]:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]
    groups = [
        ParameterGroup("prompt", parameters[:1], 0.3, 1e-5),
        ParameterGroup("scale", parameters[1:], 0.01),
    ]
    return parameters, adamw(groups)


def test_first_step_is_adamw_by_hand() -> None:
    parameters, optimiser = two_groups()
    before = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = torch.full_like(p, 0.5)
    set_learning_rates(optimiser, 0.5)
    optimiser.step()
    # With equal gradients the first AdamW update is rate * g / (|g| + eps), after the decay.
    for p, old, rate, decay in zip(parameters, before, (0.15, 0.005), (1e-5, 0.0), strict=True):
        torch.testing.assert_close(p.detach(), old * (1 - rate * decay) - rate)


def test_restored_moments_continue_to_the_same_bits() -> None:
    first_parameters, first = two_groups()
    second_parameters, second = two_groups()
    gradients = [[torch.randn_like(p) for p in first_parameters] for _ in range(6)]

    def run(optimiser: torch.optim.AdamW, parameters: list[nn.Parameter], steps: range) -> None:
        for step in steps:
            for p, g in zip(parameters, gradients[step], strict=True):
                p.grad = g.clone()
            optimiser.step()

    run(first, first_parameters, range(6))
    run(second, second_parameters, range(3))
    third_parameters, third = two_groups()
    with torch.no_grad():
        for p, old in zip(third_parameters, second_parameters, strict=True):
            p.copy_(old)
    restore_optimiser(third, optimiser_tensors(second))
    run(third, third_parameters, range(3, 6))
    for p, q in zip(first_parameters, third_parameters, strict=True):
        assert torch.equal(p, q)


def test_a_tensor_without_a_gradient_so_far_is_restored_without_moments() -> None:
    parameters, optimiser = two_groups()
    parameters[0].grad = torch.ones_like(parameters[0])
    optimiser.step()
    _, fresh = two_groups()
    restore_optimiser(fresh, optimiser_tensors(optimiser))
    assert len(fresh.state) == 1
