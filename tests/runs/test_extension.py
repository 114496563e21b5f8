"""A method that the harness has never seen runs after one line in the registry."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from bench.protocol import Ingredients, Needs, ParameterGroup, PromptMethod
from bench.registry import METHODS, MethodEntry


@dataclasses.dataclass(frozen=True)
class ShiftSettings:
    learning_rate: float = 0.5


class Shift(PromptMethod[ShiftSettings]):
    """One trained vector, added to every token of the mean source prompt."""

    Settings: ClassVar[type[Any]] = ShiftSettings
    start: Tensor

    def __init__(self, start: Tensor, settings: ShiftSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("start", start)
        self.shift = nn.Parameter(torch.zeros(start.shape[1]))

    @classmethod
    def needs(cls, settings: ShiftSettings) -> Needs:
        return Needs(sources=True)

    @classmethod
    def build(cls, settings: ShiftSettings, ingredients: Ingredients) -> Shift:
        return cls(torch.stack([p.matrix for p in ingredients.sources]).mean(0), settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("shift", [self.shift], self.settings.learning_rate)]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return (self.start + self.shift).unsqueeze(0)

    def merged_prompt(self) -> Tensor:
        return (self.start + self.shift).detach()


def test_a_new_method_is_one_module_and_one_line(
    configure: Any, run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = MethodEntry(__name__, "Shift", "a shifted mean")
    monkeypatch.setitem(METHODS, "shift", entry)
    config = configure(methods=["shift:learning_rate=0.2"], tasks=["cb"], seeds=[42])
    done = run(config, tmp_path / "out", prompts=folder / "prompts")
    assert done.grid.work.prompts == []  # All it needs was trained for others.
    (record,) = done.records.values()
    assert record.cell.method.label == "shift:learning_rate=0.2"
    matrix = done.folder.prompts.load(record.training.prompt).matrix
    assert record.training.trainable_parameters == matrix.shape[1]
    sources = [done.folder.prompts.load(digest).matrix for digest in record.cell.requires]
    difference = matrix - torch.stack(sources).mean(0)
    assert difference.abs().max() > 0
    assert torch.allclose(difference, difference[:1].expand_as(matrix), atol=1e-6)
