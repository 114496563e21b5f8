"""The metrics as data: one entry per module, from its name to the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bench.errors import DataError
from bench.tasks.metrics import classification, correlation, generation, question_answering


def same_text(prediction: str, references: Sequence[str]) -> bool:
    """Whether an answer is one of the references to the letter."""
    return prediction in references


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
        right: whether one answer counts as right against its references. Where a metric knows more
            than right and wrong, the strictest reading that it suggests.
    """

    name: str
    outputs: tuple[str, ...]
    function: Callable[..., dict[str, float]]
    several_references: bool = False
    grouped: bool = False
    numeric: bool = False
    right: Callable[[str, Sequence[str]], bool] = same_text

    @property
    def description(self) -> str:
        """First paragraph of the function's documentation."""
        return (self.function.__doc__ or self.name).split("\n\n")[0]

    def compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        groups: Sequence[str] | None = None,
    ) -> dict[str, float]:
        """All scores in percent, by name.

        Args:
            predictions: one answer per example, at least one.
            references: the right answers of each.
            groups: what each belongs to, if ``grouped``.

        Raises:
            DataError: an example has no reference, or several where the metric takes one.
            MetricUnavailableError: something the metric needs is not installed.
        """
        if not all(references):
            raise DataError(f"{self.name}: an example has no reference; give it at least one")
        more = {"groups": groups} if self.grouped else {}
        if self.several_references:
            return self.function(predictions, references, **more)
        if any(len(texts) > 1 for texts in references):
            raise DataError(f"{self.name}: takes one reference per example; give only one")
        return self.function(predictions, [texts[0] for texts in references], **more)


_ALL = (
    Metric("accuracy", ("accuracy",), classification.accuracy),
    Metric("f1_with_invalid", ("f1",), classification.f1_with_invalid),
    Metric("f1_multiclass", ("f1_multiclass",), classification.f1_multiclass),
    Metric("matthews_correlation", ("matthews_correlation",), classification.matthews_correlation),
    Metric("multirc", ("f1", "em"), classification.multirc, grouped=True),
    Metric(
        "pearson", ("pearson",), correlation.pearson, numeric=True, right=correlation.same_number
    ),
    Metric(
        "spearmanr",
        ("spearmanr",),
        correlation.spearmanr,
        numeric=True,
        right=correlation.same_number,
    ),
    Metric(
        "squad",
        ("f1", "em"),
        question_answering.squad,
        several_references=True,
        right=question_answering.exact_match,
    ),
    Metric("bleu", ("bleu",), generation.bleu, several_references=True),
    Metric("rouge", ("rouge1", "rouge2", "rougeL"), generation.rouge, several_references=True),
    Metric("meteor", ("meteor",), generation.meteor, several_references=True),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by name."""
