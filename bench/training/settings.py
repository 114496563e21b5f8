"""How long and with what batches a prompt trains; learning rates belong to the methods."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

Batching = Literal["random", "bucketed"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class TrainingSettings:
    """Settings of one training run; the preset ``paper`` has the published values.

    Attributes:
        steps: optimiser steps; exactly one of ``steps`` and ``epochs`` is set.
        epochs: passes over the training examples.
        batch_size: examples per step.
        warmup_steps: steps of linear warm-up before the linear decay to zero.
        evaluate_every: steps between evaluations on validation, each with a checkpoint.
        gradient_clip: largest norm of all gradients together; None: no clipping.
        patience: stop after so many evaluations without a better score; None: never.
        evaluation_batch_size: examples per batch when answers are decoded.
        beams: of the search for answers, on validation and test; 1: greedy.
        batching: how the examples of an epoch are put into batches: at random, as in the published
            runs, or with inputs of about one length, which saves padding. Rows of a multi-task
            source stage are drawn with replacement, and so always at random.
    """

    steps: Annotated[int, Ge(1)] | None
    epochs: Annotated[float, Gt(0)] | None
    batch_size: Annotated[int, Ge(1)]
    warmup_steps: Annotated[int, Ge(0)]
    evaluate_every: Annotated[int, Ge(1)]
    gradient_clip: Annotated[float, Gt(0)] | None
    patience: Annotated[int, Ge(1)] | None
    evaluation_batch_size: Annotated[int, Ge(1)]
    beams: Annotated[int, Ge(1)] = 1
    batching: Batching = "random"

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs, the other to null")
        return self

    def total_steps(self, examples: int) -> int:
        """Optimiser steps on so many training examples."""
        if self.steps is not None:
            return self.steps
        epochs = 1.0 if self.epochs is None else self.epochs
        return max(1, math.ceil(epochs * math.ceil(examples / self.batch_size)))
