"""Stages that an interrupted pretraining has ended: they are not trained again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from bench.files import atomic_write
from tools.pretrain_tiny.students import Student


class FinishedStages:
    """Weights by what gave them: recipes of a stage and of those before it, and torch's version.

    Args:
        folder: of one file per stage; need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def model(self, stages: Sequence[Student]) -> nn.Module | None:
        """The averaged model after the last of these stages; None: it has not ended before."""
        path = self._path(stages)
        if not path.exists():
            return None
        model = stages[0].initial_model()
        tensors = safetensors.torch.load_file(path)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(tensors[name])
        return model

    def keep(self, stages: Sequence[Student], model: nn.Module) -> None:
        """Note that the last of these stages has ended with this averaged model."""
        atomic_write(self._path(stages), weights_file(model))

    def remove(self) -> None:
        """Forget all stages: the model is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, stages: Sequence[Student]) -> Path:
        # Equal recipes have equal texts: they hold numbers, words and tables in one order.
        made_by = repr(([stage.recipe for stage in stages], str(torch.__version__)))
        digest = hashlib.sha256(made_by.encode()).hexdigest()[:16]
        return self._folder / f"{len(stages)}-{digest}.safetensors"


def weights_file(model: nn.Module) -> bytes:
    """The parameters in safetensors, each shared tensor once."""
    tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})
