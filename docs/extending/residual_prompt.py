"""Residual prompt tuning.

Razdaibiedina et al. 2023, "Residual Prompt Tuning: Improving Prompt Tuning with Residual
Reparameterization" (arXiv:2305.03937): a small network, shared by all prompt tokens, changes the
prompt ``P`` ``(r, d)`` in front of the input,

    P' = P + LayerNorm(relu(P W_down) W_up),  W_down (d, m), W_up (m, d)

After training only ``P'`` is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.method import ParameterGroup, PromptMethod, StartPrompts


@dataclass(frozen=True)
class ResidualSettings:
    """Fields that ``--method residual:bottleneck=32`` may set."""

    learning_rate: float = 0.3
    network_learning_rate: float = 0.01
    bottleneck: int = 16

    def __post_init__(self) -> None:
        if self.bottleneck < 1:
            raise ValueError("bottleneck must be 1 or more")


class ResidualPrompt(PromptMethod[ResidualSettings]):
    """A prompt with a residual network over each of its tokens."""

    Settings: ClassVar[type[Any]] = ResidualSettings

    def __init__(self, start: Tensor, settings: ResidualSettings) -> None:
        super().__init__()
        self.settings = settings
        width = start.shape[1]
        self.prompt = nn.Parameter(start.detach().clone())
        self.network = nn.Sequential(
            nn.Linear(width, settings.bottleneck, bias=False),
            nn.ReLU(),
            nn.Linear(settings.bottleneck, width, bias=False),
            nn.LayerNorm(width),
        )

    @classmethod
    def build(cls, settings: ResidualSettings, start: StartPrompts) -> ResidualPrompt:
        return cls(start.initial, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        settings, network = self.settings, list(self.network.parameters())
        return [
            ParameterGroup("prompt", [self.prompt], settings.learning_rate),
            ParameterGroup("network", network, settings.network_learning_rate),
        ]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        residual: Tensor = self.network(self.prompt)  # (r, d)
        return (self.prompt + residual).unsqueeze(0)  # (1, r, d)


METHODS = {"residual": ResidualPrompt}
