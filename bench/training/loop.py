"""The training loop: optimiser steps, with an evaluation and a checkpoint every few steps.

Every random draw of step ``n`` (batch, dropout, source tasks) is seeded by (seed, n) alone, so
training that is killed and resumed from its last checkpoint gives the same bits as without stops.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from bench.errors import RecordError, RunError, StopRequested
from bench.method import IGNORED_LABEL, Batch, ParameterGroup, Trainable
from bench.seeding import derive_seed
from bench.training.callbacks import Callback, CallbackError, EvaluationEvent, TrainingInfo, tell
from bench.training.checkpoint import TrainingResult, load_checkpoint, save_checkpoint, snapshot
from bench.training.evaluation import halve_until_fits
from bench.training.stopping import Stop

if TYPE_CHECKING:
    from bench.config import TrainingSettings
    from bench.data import MixtureBatches, TaskBatches
    from bench.models.base import FrozenLM


@dataclass(frozen=True)
class Validation:
    """Validation scores of a module."""

    scores: Mapping[str, float]  # Percent by metric; in a source stage by source task.
    score: float  # The highest score marks the best step.
    valid_label_share: float | None


def train(
    model: FrozenLM,
    trainable: Trainable,
    batches: TaskBatches | MixtureBatches,
    settings: TrainingSettings,
    seed: int,
    validate: Callable[[], Validation],
    *,
    info: TrainingInfo,
    checkpoint: Path | None = None,
    callbacks: Sequence[Callback] = (),
    stop: Stop | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> TrainingResult:
    """Train a module, from its last checkpoint if there is one, and load its best state at the end.

    The best step is the first with the highest validation score. A module without parameters is
    validated once, at step 0. A stop takes effect after a step or during an evaluation, and saves
    a checkpoint. ``warn`` receives the message about a damaged checkpoint. Raises RunError if loss,
    parameters or scores are not finite, CallbackError, and StopRequested after a stop.
    """
    stop = stop or Stop()
    groups = trainable.to(model.device).parameter_groups()
    parameters = [parameter for group in groups for parameter in group.parameters]
    examples = batches.examples
    total = settings.total_steps(examples) if parameters else 0
    interval, warmup = settings.evaluation_interval(examples), settings.warmup(examples)
    patience = math.inf if settings.patience is None else settings.patience
    optimiser, tracers = adamw(groups), [callback for callback in callbacks if callback.traces]
    progress, best = TrainingResult(), dict[str, Tensor]()

    with stop.deferred(), model.training():
        try:
            saved = None if checkpoint is None else load_checkpoint(checkpoint)
        except RecordError as error:
            saved = None
            warn(f"{error}; training starts again")
        if saved is not None:
            progress, best = saved.progress, saved.best
            saved.restore(trainable, optimiser)
        schedule = get_linear_schedule_with_warmup(
            optimiser, warmup, total, last_epoch=progress.steps - 1
        )
        # Kept on the device and read at evaluations only, as reading waits for the device.
        losses = torch.tensor(progress.losses, device=model.device)
        started = time.perf_counter() - progress.seconds
        if total and not progress.history:
            progress.history.append({"step": 0, **trainable.diagnostics()})

        def save() -> None:
            progress.seconds, progress.losses = time.perf_counter() - started, float(losses)
            if checkpoint is not None:
                save_checkpoint(checkpoint, progress, trainable, best, optimiser)

        try:
            tell(callbacks, "on_start", info, progress.steps, total)
            while True:
                step = progress.steps
                last_evaluation = progress.curve[-1]["step"] if progress.curve else None
                due = step == total or (step > 0 and step % interval == 0)
                if due and step != last_evaluation:
                    loss = float(losses) / max(1, step - (last_evaluation or 0))
                    require_finite(loss, parameters, step)
                    validation = require_scores(validate(), step)
                    scores, share = dict(validation.scores), validation.valid_label_share
                    point = {"step": step, "loss": loss, "validation": scores}
                    progress.curve.append(point | {"valid_label_share": share})
                    diagnostics = trainable.diagnostics()
                    progress.history.append({"step": step, **diagnostics})
                    progress.stale += 1
                    if validation.score > progress.best_score:
                        progress.best_step, progress.best_score = step, validation.score
                        progress.stale, best = 0, snapshot(trainable)
                    factor = schedule.lr_lambdas[0](max(0, step - 1))  # Of the last step.
                    event = EvaluationEvent(
                        step=step,
                        total=total,
                        loss=loss,
                        score=validation.score,
                        scores=dict(scores),
                        valid_label_share=share,
                        learning_rates={g.name: g.learning_rate * factor for g in groups},
                        diagnostics=copy.deepcopy(diagnostics),
                        best_step=progress.best_step,
                        best_score=progress.best_score,
                        seconds=time.perf_counter() - started,
                    )
                    tell(callbacks, "on_evaluation", event)
                    losses.zero_()
                    save()
                    stop.check()
                if step >= total or progress.stale >= patience:
                    break

                step += 1
                if tracers:
                    tell(tracers, "on_trace", step, trainable.trace())
                step_seed = derive_seed("step", seed, step)
                torch.manual_seed(step_seed)
                batch = batches.batch(step)
                limit = progress.micro_batch_size or len(batch)
                compute = partial(backward, model, trainable, batch, step_seed)
                batch_loss, rows = halve_until_fits(compute, limit)
                if rows < limit:
                    progress.micro_batch_size = rows
                if settings.gradient_clip is not None:
                    nn.utils.clip_grad_norm_(parameters, settings.gradient_clip)
                optimiser.step()
                schedule.step()
                losses += batch_loss
                progress.steps = step
                tell(callbacks, "on_step", step, total)
                stop.check()
            trainable.load_state_dict(best)
        except BaseException as error:
            for callback in callbacks:
                with suppress(CallbackError):  # The first error is the one to report.
                    tell([callback], "on_finish", None)
            if isinstance(error, StopRequested):
                save()
            raise

    progress.stopped_early = progress.steps < total
    progress.examples_per_second = batches.seen(progress.steps) / progress.seconds
    tell(callbacks, "on_finish", progress)
    return progress


def adamw(groups: Sequence[ParameterGroup]) -> torch.optim.AdamW:
    """AdamW with one optimiser group per parameter group (an empty one if there is none)."""
    options: list[dict[str, Any]] = [
        {
            "params": list(group.parameters),
            "lr": group.learning_rate,
            "initial_lr": group.learning_rate,  # Read by the schedule when training resumes.
            "weight_decay": group.weight_decay,
            "eps": group.eps,
        }
        for group in groups
    ]
    return torch.optim.AdamW(options or [{"params": []}], betas=(0.9, 0.999))


def backward(model: FrozenLM, trainable: Trainable, batch: Batch, seed: int, rows: int) -> Tensor:
    """Compute the gradients of a batch in parts of at most ``rows``; returns the detached loss.

    Parts are weighted by target tokens, as losses are means over these; the weights are approximate
    for MPT's distance of hidden states, a mean over input tokens.
    """
    torch.manual_seed(seed)
    trainable.zero_grad()
    target_tokens = (batch.labels != IGNORED_LABEL).sum(dim=1)  # (B,)
    total = torch.zeros((), device=model.device)
    split = rows < len(batch)
    shared = split and not trainable.instance_dependent and model.prefixes is not None
    with model.sharing() if shared else nullcontext():
        for start in range(0, len(batch), rows):
            end = start + rows
            loss = trainable.loss(model, batch.rows(start, end))
            if split:
                loss = loss * (target_tokens[start:end].sum() / target_tokens.sum())
            # The gradient of a shared prompt is propagated at the end.
            loss.backward(retain_graph=shared)  # type: ignore[no-untyped-call]
            total += loss.detach()
            del loss
    return total


def require_finite(loss: float, parameters: Sequence[Tensor], step: int) -> None:
    """Raise RunError if the loss or a parameter is infinite or NaN."""
    if math.isfinite(loss) and all(bool(p.isfinite().all()) for p in parameters):
        return
    reason = "NaN or infinite parameters" if math.isfinite(loss) else f"loss {loss}"
    advice = "lower the learning rate or set training.gradient_clip"
    raise RunError(f"training diverged before step {step} ({reason}); {advice}")


def require_scores(validation: Validation, step: int) -> Validation:
    """Raise RunError if a score is infinite or NaN; returns the validation otherwise."""
    if not all(map(math.isfinite, validation.scores.values())):
        scores = ", ".join(f"{name} {value}" for name, value in validation.scores.items())
        advice = "a task's metrics must give finite numbers for any predictions"
        raise RunError(f"validation after step {step} gave {scores}; {advice}")
    return validation
