"""Several trainings in one pass: one forward and backward over the batches of all of them.

As the language model is frozen, trainings of one model (other seeds, methods or tasks) can share
its passes. Every row has the prompt of its own training in front, and no row sees another, so the
gradients of each training are those of a pass of its own, to floating-point order. All else each
training keeps to itself: loss, optimiser, schedule, evaluation, checkpoint and best state.

Dropout is the one exception: its mask is drawn for the whole pass, so it depends on who shares it.
With dropout a packed training is another draw of the same distribution.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import StopRequested
from bench.models.base import FrozenLM
from bench.protocol import IGNORED_LABEL, Batch, PromptMethod, Trainable
from bench.seeding import derive_seed
from bench.training.loop import Trainer, TrainingResult
from bench.training.memory import is_out_of_memory, release_memory

Ended = Callable[[Trainer, TrainingResult | Exception], None]
"""Told of each training of a pack as soon as it ends, with its result or the error it ended by."""


def shares_passes(kind: type[Trainable[Any]]) -> bool:
    """Whether the loss of a module is that of its prompt alone, so that it can share a pass."""
    return issubclass(kind, PromptMethod) and kind.loss is PromptMethod.loss


def train_together(trainers: Sequence[Trainer], ended: Ended) -> None:
    """Train several modules on one model in shared passes, each from its last checkpoint.

    A training that fails or diverges ends alone; the others go on without it. Where memory runs
    out, passes are shared by half as many, down to one, which then goes over smaller parts.

    Args:
        trainers: of one model, all asking the same :class:`~bench.training.stopping.Stop`.
        ended: may raise, which ends the trainings that still run.

    Raises:
        StopRequested: as asked for; every training that was begun has saved a checkpoint.
        BaseException: from ``ended``; the same.
    """
    if trainers:
        model, stop = trainers[0].model, trainers[0].stop
        with model.training(), stop.deferred():
            _Pack(model, trainers, ended).run(trainers)


@dataclass(frozen=True)
class _Part:
    """What a training brings to a pass.

    Attributes:
        trainer: of the training.
        step: that the pass is for.
        batch: of that step, ``B`` rows.
        prompt: ``(1, r, d)`` or ``(B, r, d)``.
    """

    trainer: Trainer
    step: int
    batch: Batch
    prompt: Tensor


class _Pack:
    """Drives trainings side by side, one step of each in every round."""

    def __init__(self, model: FrozenLM, trainers: Sequence[Trainer], ended: Ended) -> None:
        self._model = model
        self._ended = ended
        self._most = len(trainers)  # Trainings that share a pass; fewer once memory ran out.
        self._steps: dict[Trainer, int] = {}  # What each training that runs wants to do next.

    def run(self, trainers: Sequence[Trainer]) -> None:
        try:
            for trainer in trainers:
                self._advance(trainer, trainer.begin)
            while self._steps:
                self._round()
        except BaseException as error:
            self._leave_off(error)

    def _round(self) -> None:
        sharing: list[Trainer] = []
        alone: list[Trainer] = []
        for trainer in self._steps:
            whole = trainer.progress.micro_batch_size is None
            fits = whole and shares_passes(type(trainer.trainable))
            (sharing if fits else alone).append(trainer)
        for start in range(0, len(sharing), self._most):
            self._share(sharing[start : start + self._most])
        for trainer in alone:
            self._share([trainer])

    def _share(self, trainers: list[Trainer]) -> None:
        """One step of each, in one pass if that is possible."""
        if len(trainers) == 1:
            (trainer,) = trainers
            step = self._steps[trainer]
            self._advance(trainer, lambda: trainer.go_on(trainer.gradients(step)))
            return
        try:
            losses = self._gradients(trainers)
        except Exception as error:
            # Whose error it is shows when each is alone.
            losses = None
            if is_out_of_memory(error):
                self._most = (len(trainers) + 1) // 2
        if losses is None:  # Out of the handler, as the error holds on to the tensors of the pass.
            for trainer in trainers:
                trainer.optimiser.zero_grad()
            release_memory()
            middle = (len(trainers) + 1) // 2
            self._share(trainers[:middle])
            self._share(trainers[middle:])
            return
        for trainer, loss in losses.items():
            self._advance(trainer, partial(trainer.go_on, loss))

    def _advance(self, trainer: Trainer, move: Callable[[], int | None]) -> None:
        """Move a training on to where it wants the next gradients, or to its end."""
        self._steps.pop(trainer, None)  # An error in here ends it, whatever the error is.
        outcome: TrainingResult | Exception
        try:
            step = move()
            if step is not None:
                self._steps[trainer] = step
                return
            outcome = trainer.finish()
        except Exception as error:
            outcome = error
        self._ended(trainer, outcome)

    def _gradients(self, trainers: Sequence[Trainer]) -> dict[Trainer, Tensor]:
        """The detached loss of each training; its gradients are where its parameters are."""
        by_length: defaultdict[int, list[_Part]] = defaultdict(list)
        for trainer in trainers:
            began, step = time.perf_counter(), self._steps[trainer]
            batch, module = trainer.batch(step), trainer.trainable
            assert isinstance(module, PromptMethod)  # As only these share passes.
            prompt = module.prompt_for(self._model, batch)
            by_length[prompt.shape[1]].append(_Part(trainer, step, batch, prompt))
            trainer.progress.seconds += time.perf_counter() - began
        losses: dict[Trainer, Tensor] = {}
        for parts in by_length.values():
            found = self._pass(parts)
            losses |= {part.trainer: loss for part, loss in zip(parts, found, strict=True)}
        return {trainer: losses[trainer] for trainer in trainers}

    def _pass(self, parts: Sequence[_Part]) -> list[Tensor]:
        """Forward and backward over the rows of all parts, whose prompts are equally long."""
        began = time.perf_counter()
        batch = concatenate([part.batch for part in parts], self._model.encoder.pad_id)
        prompt = torch.cat([part.prompt.expand(len(part.batch), -1, -1) for part in parts])
        where = chain.from_iterable((part.trainer.seed, part.step) for part in parts)
        torch.manual_seed(derive_seed("pack", *where))
        logits = self._model.run(prompt, batch).logits  # (B of all, T of the longest, V)
        rows = torch.split(logits, [len(part.batch) for part in parts])
        losses = [_loss(own, part.batch.labels) for own, part in zip(rows, parts, strict=True)]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        seconds = time.perf_counter() - began
        for part in parts:
            progress = part.trainer.progress
            progress.seconds += seconds * len(part.batch) / len(batch)
            if len(parts) > 1:
                progress.trainings_per_pass = max(progress.trainings_per_pass or 0, len(parts))
        return [loss.detach() for loss in losses]

    def _leave_off(self, error: BaseException) -> NoReturn:
        """End what still runs; with checkpoints, but where the process itself is ended."""
        for trainer in self._steps:
            if isinstance(error, (Exception, StopRequested)):
                try:
                    trainer.interrupt()
                except Exception as another:  # Such as of a full disk: then that is to be told.
                    error = another
            else:
                trainer.listeners.abort()
        raise error


def concatenate(batches: Sequence[Batch], pad_id: int) -> Batch:
    """The rows of several batches as one, padded on the right to the longest of all.

    Args:
        batches: at least one; their ``task_ids`` are left out.
        pad_id: fills up the input ids; labels are filled with :data:`IGNORED_LABEL`.
    """
    return Batch(
        input_ids=_joined([batch.input_ids for batch in batches], pad_id),
        mask=_joined([batch.mask for batch in batches], 0),
        labels=_joined([batch.labels for batch in batches], IGNORED_LABEL),
    )


def _joined(parts: Sequence[Tensor], value: int) -> Tensor:
    """``(rows of all, longest)``."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[1]), value=value) for part in parts])


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy averaged over the target tokens, as of a pass of these rows alone.

    Args:
        logits: ``(B, T of the longest, V)``.
        labels: ``(B, T)``.
    """
    own = logits[:, : labels.shape[1]].flatten(0, 1).float()
    return F.cross_entropy(own, labels.flatten(), ignore_index=IGNORED_LABEL)


__all__ = ["concatenate", "shares_passes", "train_together"]
