"""The pretraining loop, and the files it leaves."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from bench.files import atomic_write
from bench.method import Batch
from tools.pretrain_tiny.batches import batches
from tools.pretrain_tiny.data_parallel import DataParallel
from tools.pretrain_tiny.finished import FinishedStages, weights_file
from tools.pretrain_tiny.recipe import Recipe
from tools.pretrain_tiny.students import Student

Report = Callable[[int, float, nn.Module], None]
"""Told the step, the mean loss since the last report, and a copy of the model."""

AHEAD = 64
"""Batches that are made before they are needed: two chunks of the recipe."""


def pretrain(
    stages: Sequence[Student],
    report: Report,
    every: int = 500,
    steps: int | None = None,
    finished: FinishedStages | None = None,
) -> nn.Module:
    """Train a model from random weights; returns the average of its last weights.

    The average of weights does what a rate that decays to zero would do, but at any time: the first
    ``n`` steps of a run are a run of ``n`` steps. Each stage starts from the average that the one
    before leaves.

    Args:
        stages: recipe, tokenizer and architecture of each.
        report: called after every ``every`` steps of a stage and after its last, with the steps of
            all stages so far.
        every: steps between reports.
        steps: of all stages together; None: as many as the recipes say.
        finished: stages that have ended before, which are left out; those that end now are added.
    """
    average = stages[0].initial_model()
    done = 0
    for number, student in enumerate(stages, start=1):
        recipe = student.recipe
        count = recipe.steps if steps is None else min(steps - done, recipe.steps)
        whole = finished if count == recipe.steps else None
        before = whole.model(stages[:number]) if whole is not None else None
        if before is None:
            average = _stage(student, average, count, done, report, every)
            if whole is not None:
                whole.keep(stages[:number], average)
        else:
            average = before
        done += count
    return average


def _stage(
    student: Student, model: nn.Module, steps: int, before: int, report: Report, every: int
) -> nn.Module:
    """Train a model on, and return the average of its weights."""
    recipe = student.recipe
    average = copy.deepcopy(model).requires_grad_(False).eval()
    model.requires_grad_(True).train()
    optimiser = _optimiser(model, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: rate(done, recipe))
    total, since = 0.0, 0
    with DataParallel(student, model) as processes:
        for step, batch in enumerate(islice(_ahead(student), steps), start=1):
            total += processes.backward(batch)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            _follow(average, model, min(recipe.average_decay, step / (step + 9)))
            if step % every == 0 or step == steps:
                # A copy: whoever probes it changes how it runs.
                report(before + step, total / (step - since), copy.deepcopy(average))
                total, since = 0.0, step
    return average


class _Batches(IterableDataset[Batch]):
    """The batches of a student, for a process that makes them ahead of time."""

    def __init__(self, student: Student) -> None:
        self._student = student

    def __iter__(self) -> Iterator[Batch]:
        return batches(self._student)


def _ahead(student: Student) -> Iterator[Batch]:
    """Batches from a process of their own: to write the texts takes a quarter of the time."""
    return iter(
        DataLoader(_Batches(student), batch_size=None, num_workers=1, prefetch_factor=AHEAD)
    )


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an exponential moving average of weights one step on."""
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def rate(done: int, recipe: Recipe) -> float:
    """Share of the peak learning rates after ``done`` steps.

    Linear up, then constant, then the inverse square root of the step, as in T5's pretraining.
    """
    return min(1.0, (done + 1) / recipe.warmup_steps, math.sqrt(recipe.hold_steps / max(1, done)))


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    embeddings = model.get_input_embeddings().weight  # type: ignore[operator]
    others = [parameter for parameter in model.parameters() if parameter is not embeddings]
    return torch.optim.AdamW(
        [
            {"params": [embeddings], "lr": recipe.embedding_rate},
            {"params": others, "lr": recipe.learning_rate},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.0,
        fused=True,
    )


def save(model: nn.Module, recipe: Recipe, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, byte for byte."""
    atomic_write(
        folder / "config.json", (json.dumps(recipe.architecture, indent=2) + "\n").encode()
    )
    atomic_write(folder / "model.safetensors", weights_file(model))
