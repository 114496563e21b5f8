"""Task prompt vectors (Zhang et al. 2025, arXiv:2503.18063, stage 1).

Every source task and the target is prompt-tuned alone from the same ``P_init``. What tuning added
is the task prompt vector

    T = P - P_init

It means something only with the ``P_init`` it was learned from, so the two are kept together, and
a prompt that started elsewhere is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.protocol import PromptError, SoftPrompt, require_same_initial


def task_vectors(prompts: Tensor, initial: Tensor) -> Tensor:
    """``T = P - P_init``.

    Args:
        prompts: ``(..., r, d)``.
        initial: ``(r, d)``, ``P_init``.

    Returns:
        ``(..., r, d)``.

    Raises:
        PromptError: the shapes do not fit.
    """
    if initial.dim() != 2 or prompts.shape[-2:] != initial.shape:
        raise PromptError(
            f"prompts have shape {tuple(prompts.shape)}, the initial prompt "
            f"{tuple(initial.shape)}: expected (..., r, d) and (r, d)"
        )
    return prompts - initial


def stack_prompts(initial: Tensor, prompts: Sequence[SoftPrompt]) -> Tensor:
    """Matrices of prompts that were all trained from ``initial``.

    Args:
        initial: ``(r, d)``, ``P_init``.
        prompts: ``S`` of them, possibly none.

    Returns:
        ``(S, r, d)``.

    Raises:
        PromptError: a prompt has another shape.
        InitialPromptMismatchError: a prompt started elsewhere, or its start is unknown.
    """
    require_same_initial(initial, prompts)
    if not prompts:
        return initial.new_empty(0, *initial.shape)
    return torch.stack([prompt.matrix for prompt in prompts])


class TaskVectors(nn.Module):
    """The fixed vectors of the source tasks with the ``P_init`` they belong to.

    A module, so that both move to a device together; no part of the state that training changes.

    Args:
        initial: ``(r, d)``, ``P_init``.
        sources: ``(S, r, d)``, source prompts trained from it.

    Attributes:
        initial: ``(r, d)``.
        sources: ``(S, r, d)``, the source vectors ``T_s``.

    Raises:
        PromptError: the shapes do not fit.
    """

    initial: Tensor
    sources: Tensor

    def __init__(self, initial: Tensor, sources: Tensor) -> None:
        super().__init__()
        if sources.dim() != 3:
            raise PromptError(f"source prompts have shape {tuple(sources.shape)}: not (S, r, d)")
        self.register_buffer("initial", initial.detach().clone(), persistent=False)
        self.register_buffer("sources", task_vectors(sources, initial).detach(), persistent=False)

    def of(self, prompt: Tensor) -> Tensor:
        """Vector ``(r, d)`` of another prompt ``(r, d)`` from the same ``P_init``."""
        return task_vectors(prompt, self.initial)
