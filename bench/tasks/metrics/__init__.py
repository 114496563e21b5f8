"""How answers are scored.

The metrics are modules of the ``evaluate`` library's kind, defined here and loaded without any
network; scikit-learn, scipy, sacrebleu, rouge-score and nltk do the computing.
"""

from bench.tasks.metrics.definitions import METRICS, Metric
from bench.tasks.metrics.generation import MetricUnavailableError
from bench.tasks.metrics.scoring import (
    TaskScores,
    load,
    majority_scores,
    score,
    score_task,
)

__all__ = [
    "METRICS",
    "Metric",
    "MetricUnavailableError",
    "TaskScores",
    "load",
    "majority_scores",
    "score",
    "score_task",
]
