"""Vanilla prompt tuning (PT).

Lester, Al-Rfou and Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning"
(arXiv:2104.08691), section "Prompt Tuning": with the language model frozen, gradient ascent on

    log Pr(Y | [P; X])

moves only the soft prompt ``P`` ``(r, d)`` in front of the input ``X``. ``P`` starts from
``P_init``, the embeddings of ``r`` random tokens, the same for every task of one model and seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from bench.protocol import Ingredients, Needs, ParameterGroup, PromptMethod


@dataclass(frozen=True)
class PTSettings:
    """Settings of PT; the other baselines, trained by the same trainer, add their own.

    Attributes:
        learning_rate: peak rate of the prompt.
        weight_decay: decoupled weight decay (AdamW).

    Raises:
        ValueError: a value is out of range.
    """

    learning_rate: float = 0.3
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError("learning_rate must be above 0")
        if not self.weight_decay >= 0:
            raise ValueError("weight_decay must be 0 or more")


PTSettingsT = TypeVar("PTSettingsT", bound=PTSettings)


class PromptTuning(PromptMethod[PTSettingsT]):
    """One soft prompt for all inputs, trained as it is.

    Args:
        start: ``(r, d)``, where the prompt starts.
        settings: of the method.
    """

    Settings: ClassVar[type[Any]] = PTSettings

    def __init__(self, start: Tensor, settings: PTSettingsT) -> None:
        super().__init__()
        self.settings = settings
        self.prompt = nn.Parameter(start.detach().clone())

    @classmethod
    def needs(cls, settings: PTSettingsT) -> Needs:
        """Nothing but ``P_init``."""
        return Needs()

    @classmethod
    def build(cls, settings: PTSettingsT, ingredients: Ingredients) -> PromptTuning[PTSettingsT]:
        """Start from ``P_init``."""
        return cls(ingredients.initial, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The prompt: ``r * d`` scalars."""
        settings = self.settings
        return [
            ParameterGroup("prompt", [self.prompt], settings.learning_rate, settings.weight_decay)
        ]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The prompt as ``(1, r, d)``, whatever the input."""
        return self.prompt.unsqueeze(0)

    @torch.no_grad()
    def merged_prompt(self) -> Tensor:
        """The prompt ``(r, d)``, detached."""
        return self.prompt.clone()
