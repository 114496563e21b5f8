"""Seconds from loads: a straight line for each kind of work, fitted to what was observed.

A step takes a time of its own and one per position; an evaluation one per batch, per token that may
be written, and per position. Methods differ in the first, and those whose prompt depends on the
input in the second. Coefficients are never negative, and the fit weighs relative errors, so that
it holds for short inputs and long ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bench.runs.cells import Training
from bench.runs.estimate.loads import EvaluationLoad, TrainingLoad
from bench.runs.estimate.sizes import Sizes

MERGED = "merged prompt"
"""Kind of evaluation of all methods whose prompt is one matrix after training."""

Kind = TypeVar("Kind", bound=Hashable)


@dataclass(frozen=True)
class Observation(Generic[Kind]):
    """Work of one kind that was timed; ``features`` are what its seconds are thought to follow."""

    kind: Kind
    features: tuple[float, ...]
    seconds: float


class Lines(Generic[Kind]):
    """One line through the origin for each kind, and one for all other kinds together.

    Args:
        observations: at least one.
    """

    def __init__(self, observations: Iterable[Observation[Kind]]) -> None:
        kinds: dict[Kind, list[Observation[Kind]]] = defaultdict(list)
        for observation in observations:
            kinds[observation.kind].append(observation)
        self._lines = {kind: _fit(found) for kind, found in kinds.items()}
        self._all = _fit([each for found in kinds.values() for each in found])

    def __contains__(self, kind: Kind) -> bool:
        """Whether the kind itself was observed."""
        return kind in self._lines

    def seconds(self, kind: Kind, features: Sequence[float]) -> float:
        """What work takes; of a kind that was not observed, as the others on average."""
        line = self._lines.get(kind, self._all)
        return sum(rate * value for rate, value in zip(line, features, strict=True))


def _fit(observations: Sequence[Observation[Kind]]) -> tuple[float, ...]:
    """Coefficients of 0 or more with the least squares of relative errors."""
    import numpy as np
    from scipy.optimize import nnls

    timed = [each for each in observations if each.seconds > 0]
    if not timed:
        return tuple(0.0 for _ in observations[0].features)
    rows = np.array([[value / each.seconds for value in each.features] for each in timed])
    scale = np.abs(rows).max(axis=0)
    scale[scale == 0] = 1.0
    rates, _ = nnls(rows / scale, np.ones(len(timed)))
    return tuple(float(rate) for rate in rates / scale)


TrainingKind = tuple[str, bool]
"""A method with its settings, and whether it is its source stage."""


def method_kind(name: str, settings: Mapping[str, Any]) -> str:
    """A method with its settings as one text."""
    return f"{name} {json.dumps(settings, sort_keys=True)}"


def training_kind(training: Training) -> TrainingKind:
    """Trainings of one kind differ in their data alone."""
    method = training.method
    return method_kind(method.name, method.values()), training.is_source_stage


def evaluation_kind(training: Training) -> str:
    """Evaluations of one kind differ in their data alone."""
    method = training.method
    if not method.load().instance_dependent:
        return MERGED
    return method_kind(method.name, method.values())


def step_features(load: TrainingLoad) -> tuple[float, ...]:
    """Of one step."""
    return 1.0, load.positions


def evaluation_features(load: EvaluationLoad) -> tuple[float, ...]:
    """Of one pass over a split, or over several."""
    return load.batches, load.answer_steps, load.positions


@dataclass(frozen=True)
class Costs:
    """What work takes on some machine.

    Attributes:
        steps: seconds of one step.
        evaluations: seconds of one evaluation.
        per_training: further seconds of a training: what is made before, and stored after.
        per_evaluation: of an evaluation within a training: its checkpoint.
        per_cell: of a cell: its record.
        start: seconds until a process has loaded model and data; 0: not known.
        sizes: of the files.
        origin: what all this was taken from, in words.
        share: of the planned steps that observed trainings with patience came to; None: none were.
        notes: what a reader must know.
    """

    steps: Lines[TrainingKind]
    evaluations: Lines[str]
    per_training: float
    per_evaluation: float
    per_cell: float
    start: float
    sizes: Sizes
    origin: str
    share: float | None = None
    notes: tuple[str, ...] = field(default=())

    def training(self, kind: TrainingKind, load: TrainingLoad, validation: EvaluationLoad) -> float:
        """Seconds of a training whose steps are all done; validation is with a merged prompt,
        unless the method has none."""
        step = self.steps.seconds(kind, step_features(load))
        once = self.per_evaluation + self.evaluations.seconds(
            self._evaluated_as(kind), evaluation_features(validation)
        )
        return self.per_training + load.steps * step + load.evaluations * once

    def cell(self, kind: str, test: EvaluationLoad) -> float:
        """Seconds of a cell whose prompt is trained."""
        return self.per_cell + self.evaluations.seconds(kind, evaluation_features(test))

    def _evaluated_as(self, kind: TrainingKind) -> str:
        method, _ = kind
        return method if method in self.evaluations else MERGED
