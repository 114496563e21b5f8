"""Vanilla prompt tuning (PT).

Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning" (arXiv:2104.08691):
with the language model frozen, gradient ascent on ``log Pr(Y | [P; X])`` moves only the soft
prompt ``P`` ``(r, d)`` in front of the input ``X``. ``P`` starts from ``P_init``, the embeddings
of ``r`` random tokens, which all tasks of one model and seed share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.method import ParameterGroup, PromptMethod, SourceStage, StartPrompts


@dataclass(frozen=True)
class PTSettings:
    """Settings of PT; the other trained baselines extend them."""

    learning_rate: PositiveFloat = 0.3  # peak rate
    weight_decay: NonNegativeFloat = 1e-5  # decoupled (AdamW)
    eps: PositiveFloat = 1e-8  # of AdamW

    def group(
        self, name: str, parameters: Sequence[nn.Parameter], rate: float | None = None
    ) -> ParameterGroup:
        """Parameter group with ``rate``, or else ``learning_rate``."""
        return ParameterGroup(
            name, parameters, rate or self.learning_rate, self.weight_decay, self.eps
        )


class PromptTuning(PromptMethod[Any]):
    """One soft prompt for all inputs, trained from ``start`` ``(r, d)``."""

    Settings: ClassVar[type[Any]] = PTSettings

    def __init__(self, start: Tensor, settings: PTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.prompt = nn.Parameter(start.detach().clone())

    @classmethod
    def build(cls, settings: Any, start: StartPrompts) -> PromptTuning:
        """Method that starts from ``P_init``."""
        return cls(start.initial, settings)

    @classmethod
    def source_stage(
        cls, settings: Any, start: StartPrompts, examples: Mapping[str, int]
    ) -> MixtureStage:
        """Stage that trains one prompt on several tasks, from ``P_init`` and without teachers."""
        stage = MixtureStage(start.initial, settings)
        stage.task_weights = torch.tensor(list(examples.values()), dtype=torch.float64)
        return stage

    def parameter_groups(self) -> list[ParameterGroup]:
        """The prompt: ``r * d`` scalars."""
        return [self.settings.group("prompt", [self.prompt])]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return self.prompt.unsqueeze(0)


class MixtureStage(PromptTuning, SourceStage):
    """One prompt for all source tasks, as in the generic form of SPoT."""

    task_weights: Tensor  # Number of examples of each task.

    def sample_tasks(self, batch_size: int, generator: torch.Generator) -> list[int]:
        """Source task of each row, drawn in proportion to its examples."""
        drawn = torch.multinomial(self.task_weights, batch_size, True, generator=generator)
        return [int(task) for task in drawn]

    def task_prompt(self, index: int) -> Tensor:
        return self.prompt.detach()

    def source_state(self) -> dict[str, Tensor]:
        """The prompt alone, stored like the prompt of a single task."""
        return {"prompt": self.prompt.detach().clone()}
