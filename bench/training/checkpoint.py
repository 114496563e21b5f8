"""Checkpoint file of a training; resumed training gives bit-identical results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.errors import RecordError, one_line
from bench.files import atomic_write

STATE = "state"  # The only metadata key, as safetensors writes several in random order.


@dataclass
class TrainingResult:
    """Result of a training, final or so far."""

    steps: int = 0
    best_step: int = 0
    best_score: float = float("-inf")  # Mean of the selection metrics on validation.
    stopped_early: bool = False  # Whether patience ran out.
    curve: list[dict[str, Any]] = field(default_factory=list)  # One entry per evaluation.
    history: list[dict[str, Any]] = field(default_factory=list)  # Diagnostics, from step 0.
    seconds: float = 0.0  # Evaluations on validation included; over all processes that trained.
    examples_per_second: float = 0.0
    micro_batch_size: int | None = None  # Rows per pass, if reduced for lack of memory.
    stale: int = 0  # Evaluations since the best one.
    losses: float = 0.0  # Sum since the last evaluation.


@dataclass(frozen=True)
class Checkpoint:
    """Progress, current and best state of the module, and optimiser state by parameter index."""

    progress: TrainingResult
    current: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Tensor]

    def restore(self, module: nn.Module, optimiser: Optimizer) -> None:
        module.load_state_dict(self.current)
        state = optimiser.state_dict()
        for key, value in self.optimiser.items():
            index, _, name = key.partition(".")
            state["state"].setdefault(int(index), {})[name] = value
        optimiser.load_state_dict(state)


def save_checkpoint(
    path: Path,
    progress: TrainingResult,
    module: nn.Module,
    best: dict[str, Tensor],
    optimiser: Optimizer,
) -> None:
    """Write a checkpoint and a SHA-256 of its content, atomically."""
    tensors = {f"current/{name}": value for name, value in snapshot(module).items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}.{name}": value.cpu() for name, value in state.items()}
    values = asdict(progress)
    metadata = json.dumps({"progress": values, "sha256": _digest(values, tensors)})
    atomic_write(path, safetensors.torch.save(tensors, metadata={STATE: metadata}))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is none, RecordError if it is damaged."""
    if not path.exists():
        return None
    parts: dict[str, dict[str, Tensor]] = {"current": {}, "best": {}, "optimiser": {}}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()[STATE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _digest(metadata["progress"], tensors):
            raise ValueError("its SHA-256 differs")
        progress = TrainingResult(**metadata["progress"])  # TypeError for unknown fields.
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise RecordError(f"checkpoint {path} is damaged: {one_line(error)}") from error
    for name, tensor in tensors.items():
        part, _, key = name.partition("/")
        parts[part][key] = tensor
    return Checkpoint(progress, **parts)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A contiguous copy of a module's state on the CPU."""
    state = module.state_dict().items()
    return {name: value.detach().cpu().contiguous().clone() for name, value in state}


def _digest(progress: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    content = json.dumps(progress, sort_keys=True).encode() + safetensors.torch.save(tensors)
    return sha256(content).hexdigest()
