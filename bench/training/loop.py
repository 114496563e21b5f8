"""The training loop: one optimiser step after the other, evaluated and checkpointed on the way.

Every random draw of step ``n`` (batch, dropout, task sampling) is seeded by (seed, n) alone, so a
killed run that continues from its last checkpoint gives the same bits as an undisturbed one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.errors import BenchError, StopRequested
from bench.models.base import FrozenLM
from bench.protocol import Batch, Trainable
from bench.seeding import derive_seed
from bench.training.checkpoints import Checkpoint, CheckpointError, CheckpointFile, Progress
from bench.training.listeners import EvaluationEvent, Listener, Listeners, TrainingInfo
from bench.training.memory import is_out_of_memory, parts, release_memory
from bench.training.optimisation import (
    adamw,
    learning_rates,
    optimiser_tensors,
    restore_optimiser,
    schedule_factor,
    set_learning_rates,
    trained_tensors,
)
from bench.training.outcome import TrainingResult, Validation
from bench.training.settings import TrainingSettings
from bench.training.stopping import Stop


class DivergedError(BenchError):
    """The training loss is no longer a finite number."""


class ScoreError(BenchError):
    """A validation score is no finite number, so that nothing can be best by it."""


class BatchStream(Protocol):
    """Training batches by step number."""

    examples: int

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches, each as often as it was in one."""
        ...

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1)."""
        ...


Validate = Callable[[], Validation]


class Trainer:
    """Trains one module on one stream of batches.

    Args:
        model: the frozen language model.
        trainable: the module to train; on return it holds its best state.
        stream: training batches.
        settings: steps, batch size, intervals.
        seed: of the cell; every step's dropout follows from it.
        validate: scores the module on validation.
        checkpoint: where to save and resume; None: keep nothing.
        listeners: told about progress, in their order.
        info: what listeners are told of whose training this is.
        stop: asked after each step whether to stop, leaving a checkpoint.
    """

    def __init__(
        self,
        model: FrozenLM,
        trainable: Trainable[Any],
        stream: BatchStream,
        settings: TrainingSettings,
        seed: int,
        validate: Validate,
        checkpoint: CheckpointFile | None = None,
        listeners: Sequence[Listener] = (),
        info: TrainingInfo | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.model = model
        self.trainable = trainable.to(model.device)
        self.stream = stream
        self.settings = settings
        self.seed = seed
        self.validate = validate
        self.checkpoint = checkpoint
        self.listeners = Listeners(listeners)
        self.info = info or TrainingInfo("", "", "", "", None, seed)
        self.stop = stop or Stop()
        self.total = settings.total_steps(stream.examples)
        self.optimiser = adamw(trainable.parameter_groups())
        self.trained = trained_tensors(self.optimiser)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self._losses = torch.zeros((), device=model.device)  # Sum since the last evaluation.
        self._since = 0.0

    def run(self) -> TrainingResult:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            DivergedError: the loss or the module became infinite or no number.
            ScoreError: a validation score is infinite or no number.
            ListenerError: a listener failed.
            StopRequested: as asked for; the checkpoint is saved.
        """
        with self.model.training(), self.stop.deferred():
            step = self.begin()
            while step is not None:
                step = self.go_on(self.gradients(step))
            return self.finish()

    # The parts of a run. Whoever drives several trainings at once calls them in the order of
    # ``run``, within the same contexts; the pass over a batch is then his to make.

    def begin(self) -> int | None:
        """Start, or continue from the checkpoint; the first step to do, None: there is none.

        Raises:
            BaseException: as :meth:`run`, after which the training is over.
        """
        with self._working():
            self._resume()
            self._losses.fill_(self.progress.losses)
            if not self.progress.history:
                self.progress.history.append({"step": 0, **self.trainable.diagnostics()})
            self.listeners.on_start(self.info, self.progress.step, self.total)
            return self._next_step()

    def gradients(self, step: int) -> Tensor:
        """One pass over the batch of a step; its detached loss, without waiting for the device.

        Where memory runs out it is made over smaller parts, from now on.

        Raises:
            BaseException: as :meth:`begin`.
        """
        with self._working():
            loss = self._accumulate(step)
            while loss is None:
                loss = self._accumulate(step)
            return loss

    def go_on(self, loss: Tensor) -> int | None:
        """Move the module by its gradients and evaluate if due; the next step, None: no more.

        Args:
            loss: of the batch that the gradients are of, detached.

        Raises:
            BaseException: as :meth:`begin`.
        """
        with self._working():
            progress = self.progress
            factor = schedule_factor(progress.step + 1, self.total, self.settings.warmup_steps)
            set_learning_rates(self.optimiser, factor)
            if self.settings.gradient_clip is not None:
                torch.nn.utils.clip_grad_norm_(self.trained, self.settings.gradient_clip)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self._losses += loss
            progress.step += 1
            self.listeners.on_step(progress.step, self.total)
            self.stop.check()
            return self._next_step()

    def finish(self) -> TrainingResult:
        """Put the best state into the module, and tell what training gave.

        Raises:
            ListenerError: a listener failed.
        """
        with self._working():
            self.trainable.load_state_dict(self.best)
        result = self._result()
        self.listeners.on_finish(result)
        return result

    def interrupt(self) -> None:
        """Leave off between two steps, with a checkpoint of the last one."""
        try:
            with self._working():
                self._save()
        finally:
            self.listeners.abort()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Time in here is counted; an error in here ends the training."""
        self._since = time.perf_counter()
        try:
            yield
        except BaseException as error:
            try:
                if isinstance(error, StopRequested):
                    self._save()
            finally:
                self.listeners.abort()
            raise
        self._count_time()

    def _count_time(self) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._since
        self._since = now

    def _next_step(self) -> int | None:
        progress = self.progress
        if self._evaluation_is_due():
            self._evaluate(float(self._losses) / (progress.step - self._evaluated()))
            self._losses.zero_()
            self._save()
            self.stop.check()
        return None if self._finished() else progress.step + 1

    def _accumulate(self, step: int) -> Tensor | None:
        """The gradients of a batch; None if memory ran out, with smaller parts from now on."""
        batch = self.batch(step)
        rows = self.progress.micro_batch_size
        try:
            if rows is None:
                loss = self.trainable.loss(self.model, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.detach()
            total = torch.zeros((), device=self.model.device)
            for part, share in parts(batch, rows):
                loss = self.trainable.loss(self.model, part) * share
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            return total
        except Exception as error:
            rows = rows or len(batch)
            if rows == 1 or not is_out_of_memory(error):
                raise
        # Out of the handler, as the error holds on to the tensors of the pass.
        self.progress.micro_batch_size = (rows + 1) // 2
        self.optimiser.zero_grad()
        release_memory()
        return None

    def batch(self, step: int) -> Batch:
        """The batch of a step; what is drawn at random after this follows from seed and step."""
        torch.manual_seed(derive_seed("step", self.seed, step))
        return self.stream.batch(step)

    def _evaluate(self, mean_loss: float) -> None:
        progress = self.progress
        if not math.isfinite(mean_loss):
            raise DivergedError(
                f"training diverged before step {progress.step} (loss {mean_loss}); lower the "
                "learning rate or set training.gradient_clip"
            )
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self.trained):
            raise DivergedError(
                f"training diverged before step {progress.step} (NaN or infinite parameters); "
                "lower the learning rate or set training.gradient_clip"
            )
        with self.stop.at_once():
            validation = self.validate()
        scores = dict(validation.scores)
        score = sum(scores.values()) / len(scores)
        if not math.isfinite(score):
            told = ", ".join(f"{name} {value}" for name, value in scores.items())
            raise ScoreError(
                f"validation after step {progress.step} gave {told}; a task's metrics must give "
                "finite numbers for any predictions"
            )
        progress.curve.append(
            {
                "step": progress.step,
                "loss": mean_loss,
                "validation": scores,
                "valid_label_share": validation.valid_label_share,
            }
        )
        diagnostics = self.trainable.diagnostics()
        progress.history.append({"step": progress.step, **diagnostics})
        if score > progress.best_score:
            progress.best_step, progress.best_score, progress.stale = progress.step, score, 0
            self.best = snapshot(self.trainable)
        else:
            progress.stale += 1
        self.listeners.on_evaluation(
            EvaluationEvent(
                step=progress.step,
                total=self.total,
                loss=mean_loss,
                score=score,
                scores=scores,
                valid_label_share=validation.valid_label_share,
                learning_rates=learning_rates(self.optimiser),
                diagnostics=copy.deepcopy(diagnostics),
                best_step=progress.best_step,
                best_score=progress.best_score,
                seconds=progress.seconds,
            )
        )

    def _evaluated(self) -> int:
        """The step of the last evaluation; 0: none yet."""
        return int(self.progress.curve[-1]["step"]) if self.progress.curve else 0

    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        due = step % self.settings.evaluate_every == 0 or step == self.total
        return due and step > self._evaluated()

    def _finished(self) -> bool:
        return self.progress.step >= self.total or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.progress.stale >= patience

    def _save(self) -> None:
        self._count_time()
        self.progress.losses = float(self._losses)
        if self.checkpoint is not None:
            self.checkpoint.save(
                Checkpoint(
                    self.progress,
                    snapshot(self.trainable),
                    self.best,
                    optimiser_tensors(self.optimiser),
                )
            )

    def _resume(self) -> None:
        try:
            saved = None if self.checkpoint is None else self.checkpoint.load()
        except CheckpointError:
            return  # Whoever owns the file warns; training begins anew.
        if saved is None:
            return
        self.progress, self.best = saved.progress, saved.best
        self.trainable.load_state_dict(saved.current)
        restore_optimiser(self.optimiser, saved.optimiser)

    def _result(self) -> TrainingResult:
        progress = self.progress
        examples = self.stream.seen(progress.step)
        return TrainingResult(
            steps=progress.step,
            best_step=progress.best_step,
            best_score=progress.best_score,
            stopped_early=progress.step < self.total,
            curve=progress.curve,
            history=progress.history,
            seconds=progress.seconds,
            examples_per_second=examples / progress.seconds if progress.seconds else 0.0,
            micro_batch_size=progress.micro_batch_size,
            trainings_per_pass=progress.trainings_per_pass,
        )


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


__all__ = [
    "BatchStream",
    "DivergedError",
    "ScoreError",
    "Trainer",
    "TrainingResult",
    "Validate",
    "Validation",
    "snapshot",
]
