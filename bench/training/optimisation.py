"""AdamW over a method's parameter groups, with the published linear schedule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.protocol import ParameterGroup

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adamw(groups: Sequence[ParameterGroup]) -> torch.optim.AdamW:
    """AdamW with one optimiser group per parameter group (betas 0.9 and 0.999, eps 1e-8)."""
    return torch.optim.AdamW(
        [
            {
                "params": list(group.parameters),
                "lr": group.learning_rate,
                "weight_decay": group.weight_decay,
                "peak": group.learning_rate,
                "name": group.name,
            }
            for group in groups
        ],
        betas=BETAS,
        eps=EPSILON,
    )


def schedule_factor(step: int, total: int, warmup: int) -> float:
    """Share of the peak learning rate at optimiser step ``step`` (from 1).

    Linear from 0 over ``warmup`` steps, then linear to 0 at ``total``: the values that
    ``transformers.get_linear_schedule_with_warmup`` gives to the same step.
    """
    done = step - 1
    if done < warmup:
        return done / max(1, warmup)
    return max(0.0, (total - done) / max(1, total - warmup))


def set_learning_rates(optimiser: torch.optim.AdamW, factor: float) -> None:
    """Scale every group's rate to ``factor`` of its peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def learning_rates(optimiser: torch.optim.AdamW) -> dict[str, float]:
    """Every group's present rate by the group's name."""
    return {group["name"]: float(group["lr"]) for group in optimiser.param_groups}


def trained_tensors(optimiser: torch.optim.AdamW) -> list[nn.Parameter]:
    """All tensors the optimiser moves, in a fixed order."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def optimiser_tensors(optimiser: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    """The optimiser's moments by name, for a checkpoint."""
    tensors = {}
    for index, parameter in enumerate(trained_tensors(optimiser)):
        for name, value in optimiser.state[parameter].items():
            tensors[f"{index}.{name}"] = value
    return tensors


def restore_optimiser(optimiser: torch.optim.AdamW, tensors: dict[str, torch.Tensor]) -> None:
    """Put moments from :func:`optimiser_tensors` back."""
    for index, parameter in enumerate(trained_tensors(optimiser)):
        if f"{index}.step" not in tensors:
            continue  # It has had no gradient yet, so it has no moments.
        state = {}
        for name in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors[f"{index}.{name}"]
            state[name] = value if name == "step" else value.to(parameter.device)
        optimiser.state[parameter] = state
