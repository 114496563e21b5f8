"""Score predictions by one metric, or by all metrics of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import DataError, UnknownNameError
from bench.tasks.metrics.correlation import parse_number
from bench.tasks.metrics.definitions import METRICS
from bench.tasks.metrics.generation import MetricUnavailableError
from bench.tasks.task import Task

if TYPE_CHECKING:
    from bench.tasks.metrics.module import MetricModule

References = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class TaskScores:
    """All scores of a task on one split.

    Attributes:
        metrics: percent by the task's metric names, in the task's order.
        valid_label_share: share of predictions, 0 to 1, that are answers the task knows (a label,
            or a number for stsb), right or wrong; None where any text is an answer.
        left_out: why a metric of the task is missing, by its name.
    """

    metrics: dict[str, float]
    valid_label_share: float | None
    left_out: dict[str, str] = field(default_factory=dict)


def load(name: str) -> MetricModule:
    """The ``evaluate`` module of a metric, to be used like one from the hub.

    Raises:
        UnknownNameError: there is no such metric.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    from bench.tasks.metrics.module import MetricModule

    return MetricModule(METRICS[name])


def score(
    metric: str,
    predictions: Sequence[str],
    references: References,
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """Compute one metric.

    Args:
        metric: name of the metric module.
        predictions: one answer per example.
        references: the right answer of each example, or a sequence of right answers.
        groups: what each example belongs to; only for metrics that judge groups.

    Returns:
        Percent, 0 to 100 (correlations -100 to 100), by score name.

    Raises:
        UnknownNameError: there is no such metric.
        DataError: no predictions, or lengths that differ, or references that do not fit.
        MetricUnavailableError: something the metric needs is not installed.
    """
    module = load(metric)
    inputs: dict[str, Sequence[object]] = {"predictions": predictions, "references": references}
    if module.metric.grouped:
        if groups is None:
            raise DataError(f"{metric}: judges groups of examples; say which group each belongs to")
        inputs["groups"] = groups
    if not predictions:
        raise DataError(f"{metric}: there are no predictions to score; give at least one example")
    for name, values in inputs.items():
        if len(values) != len(predictions):
            raise DataError(
                f"{metric}: {len(predictions)} predictions but {len(values)} {name}; "
                "give one of each per example"
            )
    scores: dict[str, float] = module.compute(**{k: list(v) for k, v in inputs.items()})
    return scores


def score_task(
    task: Task,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str | None] | None = None,
) -> TaskScores:
    """Compute all metrics of a task; white space around predictions is ignored.

    Args:
        task: says which metrics.
        predictions: one decoded answer per example.
        references: all right answers of each example.
        groups: what each example belongs to; only multirc has groups.

    Raises:
        DataError: no predictions, or lengths that differ, or references that do not fit.
    """
    answers = [prediction.strip() for prediction in predictions]
    named = None if groups is None or None in groups else [str(group) for group in groups]
    scores: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for scorer in _scorers(task):
        try:
            scores.update(score(scorer, answers, references, named))
        except MetricUnavailableError as error:
            left_out.update(dict.fromkeys(METRICS[scorer].outputs, str(error)))
    return TaskScores(
        metrics={name: scores[name] for name in task.metrics if name in scores},
        valid_label_share=_valid_label_share(task, answers),
        left_out=left_out,
    )


def majority_scores(
    task: Task,
    training_labels: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str | None] | None = None,
) -> dict[str, float] | None:
    """What always answering the most frequent training label would score.

    Args:
        task: a classification task.
        training_labels: targets of the training examples; the lowest class wins a tie.
        references: all right answers of each test example.
        groups: as in :func:`score_task`.

    Returns:
        Percent by metric name; None for tasks without labels.

    Raises:
        DataError: no training labels, or none that the task knows.
    """
    if task.labels is None:
        return None
    counts = Counter(training_labels)
    majority = max(task.labels, key=lambda label: counts[label])
    if not counts[majority]:
        raise DataError(f"task {task.name}: the training rows have no labels; give labelled rows")
    return score_task(task, [majority] * len(references), references, groups).metrics


def _scorers(task: Task) -> tuple[str, ...]:
    return task.scorers or task.metrics


def _valid_label_share(task: Task, answers: list[str]) -> float | None:
    if task.labels is not None:
        valid = [answer in task.labels for answer in answers]
    elif any(METRICS[scorer].numeric for scorer in _scorers(task)):
        valid = [parse_number(answer) is not None for answer in answers]
    else:
        return None
    return sum(valid) / len(valid)
