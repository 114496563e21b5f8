"""One vector, added to every token of the initial prompt."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.protocol import Ingredients, Needs, ParameterGroup, PromptMethod

from .settings import OffsetSettings


class OffsetPrompt(PromptMethod[OffsetSettings]):
    Settings: ClassVar[type[Any]] = OffsetSettings

    def __init__(self, initial: Tensor, settings: OffsetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("initial", initial.clone())
        self.offset = nn.Parameter(torch.zeros(initial.shape[1]))

    @classmethod
    def needs(cls, settings: OffsetSettings) -> Needs:
        return Needs()

    @classmethod
    def build(cls, settings: OffsetSettings, ingredients: Ingredients) -> OffsetPrompt:
        return cls(ingredients.initial, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("offset", [self.offset], self.settings.learning_rate)]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return (self.initial + self.offset).unsqueeze(0)

    @torch.no_grad()
    def merged_prompt(self) -> Tensor:
        return self().squeeze(0)
