"""The metrics as data: one entry per module, from its name to the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.tasks.metrics import classification, correlation, generation, question_answering


@dataclass(frozen=True)
class Metric:
    """How one metric module computes its scores.

    Attributes:
        name: of the module.
        outputs: names of its scores.
        function: takes predictions and references, one each per example, and ``groups`` if
            ``grouped``; returns percent by output name.
        several_references: an example may have several right answers.
        grouped: examples are judged together by group.
        numeric: answers are read as numbers.
    """

    name: str
    outputs: tuple[str, ...]
    function: Callable[..., dict[str, float]]
    several_references: bool = False
    grouped: bool = False
    numeric: bool = False

    @property
    def description(self) -> str:
        """First paragraph of the function's documentation."""
        return (self.function.__doc__ or self.name).split("\n\n")[0]


_ALL = (
    Metric("accuracy", ("accuracy",), classification.accuracy),
    Metric("f1_with_invalid", ("f1",), classification.f1_with_invalid),
    Metric("f1_multiclass", ("f1_multiclass",), classification.f1_multiclass),
    Metric("matthews_correlation", ("matthews_correlation",), classification.matthews_correlation),
    Metric("multirc", ("f1", "em"), classification.multirc, grouped=True),
    Metric("pearson", ("pearson",), correlation.pearson, numeric=True),
    Metric("spearmanr", ("spearmanr",), correlation.spearmanr, numeric=True),
    Metric("squad", ("f1", "em"), question_answering.squad, several_references=True),
    Metric("bleu", ("bleu",), generation.bleu, several_references=True),
    Metric("rouge", ("rouge1", "rouge2", "rougeL"), generation.rouge, several_references=True),
    Metric("meteor", ("meteor",), generation.meteor, several_references=True),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by name."""
