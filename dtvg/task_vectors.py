"""Task prompt vectors (Zhang et al. 2025, arXiv:2503.18063, stage 1).

Every source task and the target is prompt-tuned alone from one ``P_init``. What tuning added is
the task prompt vector

    T = P - P_init

It is valid only with the ``P_init`` it was learned from, so the two are kept together.
"""

from __future__ import annotations

from torch import Tensor, nn

from bench.errors import PromptError


def task_vectors(prompts: Tensor, initial: Tensor) -> Tensor:
    """Vectors ``T = P - P_init`` of prompts ``(..., r, d)`` from ``P_init`` ``(r, d)``."""
    if initial.dim() != 2 or prompts.shape[-2:] != initial.shape:
        raise PromptError(
            f"prompts have shape {tuple(prompts.shape)}, the initial prompt "
            f"{tuple(initial.shape)}: expected (..., r, d) and (r, d)"
        )
    return prompts - initial


class TaskVectors(nn.Module):
    """Fixed vectors ``sources`` ``(S, r, d)`` of source prompts, and their ``P_init`` ``(r, d)``.

    A module, so that both move to a device together; not part of a checkpoint.
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
