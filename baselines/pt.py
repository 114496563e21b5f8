"""Vanilla prompt tuning (PT).

Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning" (arXiv:2104.08691):
with the language model frozen, gradient ascent on ``log Pr(Y | [P; X])`` moves only the soft
prompt ``P`` ``(r, d)`` in front of the input ``X``. ``P`` starts from ``P_init``, the embeddings
of ``r`` random tokens, which all tasks of one model and seed share.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.method import Ingredients, ParameterGroup, PromptMethod


@dataclass(frozen=True)
class PTSettings:
    """Settings of PT; the other trained baselines add their own."""

    learning_rate: PositiveFloat = 0.3  # peak rate
    weight_decay: NonNegativeFloat = 1e-5  # decoupled (AdamW)


class PromptTuning(PromptMethod[Any]):
    """One soft prompt for all inputs, trained from ``start`` ``(r, d)``."""

    Settings: ClassVar[type[Any]] = PTSettings

    def __init__(self, start: Tensor, settings: PTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.prompt = nn.Parameter(start.detach().clone())

    @classmethod
    def build(cls, settings: Any, ingredients: Ingredients) -> PromptTuning:
        """Method that starts from ``P_init``."""
        return cls(ingredients.initial, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The prompt: ``r * d`` scalars."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return [ParameterGroup("prompt", [self.prompt], rate, decay)]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The prompt as ``(1, r, d)``."""
        return self.prompt.unsqueeze(0)
