"""Who wants to know how training goes: the callback protocol of the training loop.

For each training the loop tells every listener, in this order: ``on_start`` once, ``on_step`` after
each optimiser step, ``on_evaluation`` after each evaluation on validation, ``on_finish`` once. A
listener overrides what it needs. Listeners watch: what they return is ignored, and tensors are kept
from them, so that they cannot change a result.

A step tells no loss, as reading it would make the program wait for the device at every step; the
mean loss comes with each evaluation.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, one_line

if TYPE_CHECKING:
    from bench.training.loop import TrainingResult


class ListenerError(BenchError):
    """A listener failed; training stops, and continues from its last checkpoint when run again."""


@dataclass(frozen=True)
class TrainingInfo:
    """Which training an event belongs to.

    Attributes:
        digest: SHA-256 of everything that decides it; the name of its prompt in the prompt store.
        task: target task, or ``sources`` for a multi-task source stage.
        method: name of the method.
        label: the method with the settings that the user wrote, as tables have it.
        shots: training examples in total; None: all.
        seed: of the training.
    """

    digest: str
    task: str
    method: str
    label: str
    shots: int | None
    seed: int

    @property
    def folder_name(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>-<digest>``; safe whatever the names hold."""
        shots = "full" if self.shots is None else str(self.shots)
        parts = (self.task, self.method, shots, str(self.seed), self.digest[:12])
        return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts)).lstrip(".-")

    def describe(self) -> str:
        """One short line: task, method, shots, seed."""
        shots = "full data" if self.shots is None else f"{self.shots} shots"
        return f"{self.task} {self.label} {shots} seed {self.seed}"


@dataclass(frozen=True)
class EvaluationEvent:
    """One evaluation on validation.

    Attributes:
        step: optimiser steps done.
        total: optimiser steps planned.
        loss: mean training loss since the last evaluation.
        score: mean of ``scores``, which chooses the best step.
        scores: percent by metric name; in a source stage by source task.
        valid_label_share: share (0 to 1) of answers that are a label; None if there are none.
        learning_rates: by parameter group, at this step.
        diagnostics: what the method tells of its state, JSON-ready; empty for most methods.
        best_step: step of the best score so far.
        best_score: that score.
        seconds: training time up to the last checkpoint, over all processes that worked on it.
    """

    step: int
    total: int
    loss: float
    score: float
    scores: Mapping[str, float]
    valid_label_share: float | None
    learning_rates: Mapping[str, float]
    diagnostics: Mapping[str, Any]
    best_step: int
    best_score: float
    seconds: float


class Listener:
    """Hears of trainings, one after the other; this one does nothing.

    One listener serves all trainings of a run; where several share their passes (``--pack``), each
    of them has its own.
    """

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        """A training begins, or continues after ``step`` steps; ``total`` steps are planned."""

    def on_step(self, step: int, total: int) -> None:
        """An optimiser step is done. Called often: be quick."""

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """The module was evaluated on validation; the checkpoint is saved after this."""

    def on_finish(self, result: TrainingResult | None) -> None:
        """The training is over: with its result, or None if it failed or was interrupted."""


class Listeners(Listener):
    """Tells several listeners, in their order.

    Raises:
        ListenerError: from every event, if a listener raises an exception; it names the listener.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self._tell("on_start", training, step, total)

    def on_step(self, step: int, total: int) -> None:
        self._tell("on_step", step, total)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._tell("on_evaluation", event)

    def on_finish(self, result: TrainingResult | None) -> None:
        self._tell("on_finish", result)

    def abort(self) -> None:
        """Tell all that training ended by an exception, which no fault of theirs shall hide."""
        for listener in self._listeners:
            with contextlib.suppress(Exception):
                listener.on_finish(None)

    def _tell(self, event: str, *values: object) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, event)(*values)
            except Exception as error:
                raise ListenerError(
                    f"listener {type(listener).__name__} failed in {event} ({one_line(error)}): "
                    "mend it or leave it out, and give the same command again to continue"
                ) from error


__all__ = ["EvaluationEvent", "Listener", "ListenerError", "Listeners", "TrainingInfo"]
