"""One file per running cell from which training continues to the same bits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from bench.errors import BenchError, one_line
from bench.files import atomic_write
from bench.protocol import tensor_digest

# One metadata entry only: safetensors writes several in no fixed order.
STATE_KEY = "state"


@dataclass
class Progress:
    """How far training has come, apart from tensors.

    Attributes:
        step: optimiser steps done.
        best_step: step of the best validation score so far; 0: none yet.
        best_score: that score.
        stale: evaluations since the best one.
        curve: one entry per evaluation (step, mean loss, validation scores).
        history: one entry at the start and per evaluation (step and the method's diagnostics).
        seconds: training time spent, over all processes that worked on this cell.
        losses: sum of the losses since the last evaluation.
        micro_batch_size: rows per pass, if memory ran out with a whole batch.
        trainings_per_pass: most trainings that shared a pass, this one among them; None: it had
            every pass to itself.
    """

    step: int = 0
    best_step: int = 0
    best_score: float = float("-inf")
    stale: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    losses: float = 0.0
    micro_batch_size: int | None = None
    trainings_per_pass: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Progress with its tensors.

    Attributes:
        progress: counters, curve and history.
        current: the method's state now.
        best: its state at the best step.
        optimiser: the optimiser's moments.
    """

    progress: Progress
    current: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Tensor]


PARTS = ("current", "best", "optimiser")


class CheckpointError(BenchError):
    """A checkpoint is damaged; the training begins anew."""


class CheckpointFile:
    """Where one cell keeps its last checkpoint, with a SHA-256 of all it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file by a new checkpoint, atomically."""
        tensors = {
            f"{part}/{name}": tensor.detach().cpu().contiguous()
            for part in PARTS
            for name, tensor in getattr(checkpoint, part).items()
        }
        progress = asdict(checkpoint.progress)
        state = json.dumps({"progress": progress, "sha256": _digest(progress, tensors)})
        atomic_write(self.path, safetensors.torch.save(tensors, metadata={STATE_KEY: state}))

    def load(self) -> Checkpoint | None:
        """The last checkpoint; None if there is none.

        Raises:
            CheckpointError: it is damaged; train anew.
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as stream:
                state = json.loads(stream.metadata()[STATE_KEY])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            if state["sha256"] != _digest(state["progress"], tensors):
                raise ValueError("its digest differs")
            progress = Progress(**state["progress"])
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {self.path} is damaged: {one_line(error)}"
            ) from error
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, tensor in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = tensor
        return Checkpoint(progress, **parts)

    def damage(self) -> str | None:
        """What is wrong with the file; None if it can be read, or is not there."""
        try:
            self.load()
        except CheckpointError as error:
            return str(error)
        return None

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)


def _digest(progress: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for name in sorted(tensors):
        # A scalar (AdamW's step) becomes a vector, as only that can be seen as bytes.
        total.update(f"{name} {tensor_digest(tensors[name].reshape(-1))}".encode())
    return total.hexdigest()
