"""ATTEMPT: attentional mixtures of soft prompts.

Asai et al. 2022, "ATTEMPT: Parameter-Efficient Multi-task Tuning via Attentional Mixtures of Soft
Prompts" (arXiv:2205.11961), section on target prompt training. Frozen source prompts
``P_1 .. P_S`` and a trained target prompt ``P_t`` are mixed anew for every input ``X``:

    x   = maxpool over tokens of X
    k_j = maxpool over tokens of P_j                        j = 1..S and t
    h   = LayerNorm(W_up SiLU(W_down x))
    a   = softmax over j of (k_j . h / T),                  T = e d
    P(x) = P_t + sum_j a_j P_j                              the target is one of the j as well

The published code takes the maximum over padding too, so that a prediction depends on what else
is in the batch. Here padding is masked; without padding both are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.pt import PTSettings
from bench.protocol import (
    Ingredients,
    Needs,
    ParameterGroup,
    PromptError,
    PromptMethod,
    require_same_shape,
)


@dataclass(frozen=True)
class AttemptSettings(PTSettings):
    """Settings of ATTEMPT: those of PT, and the attention's.

    Attributes:
        hidden: width of the bottleneck in the attention network.
        temperature: ``T`` of the softmax; None: ``e * d``.
        train_norm: whether the layer normalisation is trained. The paper counts it among its
            232 K parameters; the published code leaves it at its start.
    """

    hidden: int = 100
    temperature: float | None = None
    train_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 1:
            raise ValueError("hidden must be at least 1")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError("temperature must be above 0")


class AttemptPrompt(PromptMethod[AttemptSettings]):
    """A mixture of source prompts and target prompt, weighted by attention for each input.

    ``W_down`` and ``W_up`` start as :class:`torch.nn.Linear` does, from PyTorch's global random
    state: seed it before.

    Args:
        target: ``(r, d)``, where ``P_t`` starts.
        sources: ``(S, r, d)`` source prompts, which stay as they are.
        hidden: width of the bottleneck.
        temperature: ``T``; None: ``e * d``.
        source_names: for the diagnostics; None: their numbers.
        **settings: the other fields of :class:`AttemptSettings`.

    Raises:
        PromptError: the shapes of target and sources do not fit.
    """

    Settings: ClassVar[type[Any]] = AttemptSettings
    instance_dependent: ClassVar[bool] = True

    sources: Tensor
    source_keys: Tensor
    attention_sum: Tensor

    def __init__(
        self,
        target: Tensor,
        sources: Tensor,
        hidden: int = AttemptSettings.hidden,
        temperature: float | None = AttemptSettings.temperature,
        *,
        source_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if sources.dim() != 3 or sources.shape[1:] != target.shape:
            raise PromptError(
                f"source prompts have shape {tuple(sources.shape)}, the target prompt "
                f"{tuple(target.shape)}: expected (S, r, d) and (r, d)"
            )
        self.settings = AttemptSettings(hidden=hidden, temperature=temperature, **settings)
        number, _, width = sources.shape
        self.source_names = tuple(source_names or map(str, range(number)))
        self.temperature = math.e * width if temperature is None else temperature
        self.target = nn.Parameter(target.detach().clone())
        self.down = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(hidden, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.norm.requires_grad_(self.settings.train_norm)
        # Fixed ingredients and bookkeeping are no part of the state that training changes.
        self.register_buffer("sources", sources.detach().clone(), persistent=False)
        self.register_buffer("source_keys", max_pool(self.sources), persistent=False)
        self.register_buffer("attention_sum", sources.new_zeros(number + 1), persistent=False)
        self.attention_rows = 0

    @classmethod
    def needs(cls, settings: AttemptSettings) -> Needs:
        """The source prompts."""
        return Needs(sources=True)

    @classmethod
    def build(cls, settings: AttemptSettings, ingredients: Ingredients) -> AttemptPrompt:
        """Start ``P_t`` from the first source prompt [published code], wherever that started.

        Raises:
            PromptError: shapes do not fit, or there are no sources.
        """
        prompts = ingredients.sources
        if not prompts:
            raise PromptError("ATTEMPT mixes source prompts, but there are none")
        require_same_shape(ingredients.initial, prompts)
        return cls(
            target=prompts[0].matrix,
            sources=torch.stack([prompt.matrix for prompt in prompts]),
            source_names=[prompt.task for prompt in prompts],
            **vars(settings),
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P_t``, ``W_down``, ``W_up`` and the norm: ``r*d + 2*hidden*d + 2*d`` scalars.

        One rate for all: the published code names a second one for the attention, but never
        applies it.
        """
        networks = (
            (self.down, self.up, self.norm) if self.settings.train_norm else (self.down, self.up)
        )
        attention = [parameter for network in networks for parameter in network.parameters()]
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return [
            ParameterGroup("target prompt", [self.target], rate, decay),
            ParameterGroup("attention", attention, rate, decay),
        ]

    def attention(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights of the prompts for each input.

        Args:
            inputs: ``(B, L, d)`` input embeddings.
            mask: ``(B, L)`` 1 on tokens, 0 on padding; None: no padding.

        Returns:
            ``(B, S+1)``, sources first, target last; each row sums to 1.
        """
        pooled = max_pool(inputs, mask).to(self.down.weight.dtype)  # (B, d)
        query = self.norm(self.up(F.silu(self.down(pooled))))  # (B, d)
        keys = torch.cat([self.source_keys, max_pool(self.target.unsqueeze(0))])  # (S+1, d)
        return torch.softmax(query @ keys.T / self.temperature, dim=-1)

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The prompt of each input, ``P(x) = P_t + sum_j a_j P_j``, as ``(B, r, d)``."""
        if inputs is None:
            raise ValueError("the prompt depends on the input: pass its embeddings")
        weights = self.attention(inputs, mask)
        if not torch.is_grad_enabled():
            self.attention_sum += weights.sum(dim=0)
            self.attention_rows += len(weights)
        prompts = torch.cat([self.sources, self.target.unsqueeze(0)])  # (S+1, r, d)
        return self.target + torch.einsum("bj,jrd->brd", weights, prompts)

    def merged_prompt(self) -> None:
        """None: every input has its own prompt."""

    def diagnostics(self) -> dict[str, Any]:
        """Mean attention per prompt over the inputs evaluated since the last reading.

        Only calls without gradients count, that is evaluation and not training, so a resumed run
        reports what an undisturbed one does. Empty if nothing was evaluated.
        """
        if not self.attention_rows:
            return {}
        *sources, target = (self.attention_sum / self.attention_rows).tolist()
        self.attention_sum.zero_()
        self.attention_rows = 0
        by_name = dict(zip(self.source_names, sources, strict=True))
        return {"attention": {"sources": by_name, "target": target}}


def max_pool(vectors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Maximum over tokens, padding left out.

    Args:
        vectors: ``(B, L, d)``.
        mask: ``(B, L)`` 1 on tokens, 0 on padding; None: no padding.

    Returns:
        ``(B, d)``; zeros for a row that is all padding.
    """
    if mask is None:
        return vectors.max(dim=1).values
    tokens = mask.bool().unsqueeze(-1)
    highest = vectors.masked_fill(~tokens, -torch.inf).max(dim=1).values
    return highest.masked_fill(~tokens.any(dim=1), 0.0)
