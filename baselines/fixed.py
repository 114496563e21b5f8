"""Two methods without training: the frozen model alone, and an unchanged stored prompt."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.errors import PromptError
from bench.method import Needs, ParameterGroup, PromptMethod, StartPrompts


@dataclass(frozen=True)
class NoPromptSettings:
    """Settings of ``no_prompt``: none."""


@dataclass(frozen=True)
class FixedSettings:
    """Settings of a stored prompt."""

    prompt: str = ""  # id in the prompt store, or a file


class NoPrompt(PromptMethod[Any]):
    """The frozen model alone: a prompt of no tokens, ``(0, d)``."""

    Settings: ClassVar[type[Any]] = NoPromptSettings
    trained: ClassVar[bool] = False
    prompt: Tensor

    def __init__(self, prompt: Tensor) -> None:
        super().__init__()
        self.register_buffer("prompt", prompt.detach().clone())

    @classmethod
    def build(cls, settings: Any, start: StartPrompts) -> NoPrompt:
        return cls(start.initial[:0])

    def parameter_groups(self) -> list[ParameterGroup]:
        return []

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return self.prompt.unsqueeze(0)


class FixedPrompt(NoPrompt):
    """A prompt from the prompt store or a file, of any length ``r``."""

    Settings: ClassVar[type[Any]] = FixedSettings

    @classmethod
    def needs(cls, settings: Any) -> Needs:
        if not settings.prompt:
            raise ValueError("prompt: name a stored prompt by its id or file: fixed:prompt=ID|FILE")
        return Needs(stored=settings.prompt)

    @classmethod
    def build(cls, settings: Any, start: StartPrompts) -> FixedPrompt:
        stored, width = start.stored, start.initial.shape[1]
        if stored is None or stored.matrix.shape[1:] != (width,):
            raise PromptError(
                f"prompt {settings.prompt!r} is missing or not as wide as the model, (r, {width}): "
                "use a prompt of the same model"
            )
        return cls(stored.matrix)
