"""Task prompt vectors (Zhang et al. 2025, arXiv:2503.18063, stage 1).

Each source task and the target is prompt-tuned separately from one ``P_init``. The difference
``T = P - P_init`` is the task prompt vector, valid only with the ``P_init`` it was learned from.
"""

from __future__ import annotations

from torch import Tensor

from bench.errors import PromptError


def task_vectors(prompts: Tensor, initial: Tensor) -> Tensor:
    """Vectors ``T = P - P_init`` of prompts ``(..., r, d)`` from ``P_init`` ``(r, d)``.

    PromptError for other shapes.
    """
    if initial.dim() != 2 or prompts.shape[-2:] != initial.shape:
        raise PromptError(
            f"prompts have shape {tuple(prompts.shape)}, the initial prompt "
            f"{tuple(initial.shape)}: expected (..., r, d) and (r, d)"
        )
    return prompts - initial
