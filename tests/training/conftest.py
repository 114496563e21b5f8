"""A module that trains in microseconds, and the loop around it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.config import TrainingSettings
from bench.method import Batch, ParameterGroup, Trainable
from bench.training.callbacks import Callback, TrainingInfo
from bench.training.loop import TrainingResult, Validation, train

INFO = TrainingInfo("wsc.fixed-pt-16-42-0123456789ab", "wsc.fixed pt 16 shots seed 42")


class StubModel:
    """What the loop needs of a language model: a device and the training mode."""

    device = torch.device("cpu")
    prefixes = None

    @contextmanager
    def training(self) -> Iterator[None]:
        yield


class Pull(Trainable):
    """Pulls a vector towards the batch's mean, with noise like dropout."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        self.vector = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(1))

    def parameter_groups(self) -> list[ParameterGroup]:
        vector = ParameterGroup("vector", [self.vector], 0.1, 0.01)
        return [vector, ParameterGroup("scale", [self.scale], 0.02, eps=0.5)]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        target = batch.input_ids.float().mean() + self.noise * torch.randn(4)
        return ((self.scale * self.vector - target) ** 2).sum()

    def diagnostics(self) -> dict[str, Any]:
        return {"first": float(self.vector.detach()[0])}


class At(Callback):
    """Acts behind a step, and notes the step that training began with."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.step, self.act = step, act

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        self.started = step

    def on_step(self, step: int, total: int) -> None:
        if step == self.step:
            self.act()


class Stream:
    """Batches of two rows, drawn from the global random state."""

    examples = 8

    def seen(self, steps: int) -> int:
        return 2 * steps

    def batch(self, step: int) -> Batch:
        ids = torch.randint(step + 5, (2, 3))
        return Batch(ids, torch.ones_like(ids), ids)


SETTINGS = {"steps": 7, "epochs": None, "batch_size": 2, "warmup_steps": 2, "evaluate_every": 3}
SETTINGS |= {"gradient_clip": 1.0, "patience": None, "evaluation_batch_size": 4}
OPTIONS = ("checkpoint", "callbacks", "stop", "warn")


@pytest.fixture
def run() -> Callable[..., TrainingResult]:
    """Trains a module; scores come in their order, or follow from the module."""

    def start(module: Any, *scores: float, batches: Any = None, **given: Any) -> TrainingResult:
        remaining = iter(scores)

        def validate() -> Validation:
            score = next(remaining) if scores else -float(module.vector.detach().sum())
            return Validation({"accuracy": score}, score, 0.5)

        options = {name: given.pop(name) for name in OPTIONS if name in given}
        check, model, stream = given.pop("validate", validate), StubModel(), batches or Stream()
        settings: Any = TrainingSettings(**SETTINGS | given)
        return train(model, module, stream, settings, 1, check, info=INFO, **options)

    return start
