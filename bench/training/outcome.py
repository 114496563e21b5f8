"""What training and its evaluations on validation give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Validation:
    """How the trainable does on validation as it is now.

    Attributes:
        scores: percent by metric name; their mean chooses the best checkpoint.
        valid_label_share: share (0 to 1) of answers that are a label; None if there are none.
    """

    scores: Mapping[str, float]
    valid_label_share: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What training gave; the trainable holds its best state.

    Attributes:
        steps: optimiser steps done.
        best_step: step of the best validation score.
        best_score: mean of the validation metrics there.
        stopped_early: whether patience ran out.
        curve: one entry per evaluation.
        history: the method's diagnostics at the start and at each evaluation.
        seconds: training time, evaluation on validation included; of passes that were shared with
            other trainings, the share of its rows.
        examples_per_second: training examples by that time.
        micro_batch_size: rows per pass, if memory ran out with a whole batch.
        trainings_per_pass: most trainings that shared a pass, this one among them; None: it had
            every pass to itself.
    """

    steps: int
    best_step: int
    best_score: float
    stopped_early: bool
    curve: list[dict[str, Any]]
    history: list[dict[str, Any]]
    seconds: float
    examples_per_second: float
    micro_batch_size: int | None = None
    trainings_per_pass: int | None = None


__all__ = ["TrainingResult", "Validation"]
