"""Metrics of resamples of the test examples, thousands at a time.

A resample is a row of counts: how often each unit is drawn. Most metrics follow from a few sums
over the drawn units (right answers, true positives, n-gram matches), so that all resamples together
are one matrix product::

    metric = ResampledMetric(predictions, record.scores.table_metric)
    counts = generator.multinomial(len(metric), [1 / len(metric)] * len(metric), size=10_000)
    scores = metric.scores(counts)  # (10000,), percent

A unit is an example, or a group of examples where a metric judges groups (multirc: a question with
all its answers, which are not independent of each other). Two methods are compared on the same
draws if their :attr:`ResampledMetric.units` are equal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.errors import UnknownNameError
from bench.predictions import Predictions
from bench.tasks.metrics import METRICS
from bench.tasks.metrics.correlation import UNPARSABLE, parse_number

Array: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[Any]
Combine: TypeAlias = Callable[[Array], Array]
Statistic: TypeAlias = Callable[[Array], Array]
"""From counts ``(B, U)`` to percentages ``(B,)``."""

_BLOCK = 2**22
"""Most numbers of an intermediate array where one is needed per draw and unit."""


class ResampledMetric:
    """One metric of one cell as a function of how often each unit is drawn.

    Args:
        predictions: of the cell.
        metric: one of the scores that their scorers compute.

    Attributes:
        units: what is drawn: row numbers, or names of groups.
        fast: whether draws are computed together; if not, one after the other by the metric itself.

    Raises:
        UnknownNameError: the scorers do not compute the metric.
        MetricUnavailableError: something the metric needs is not installed.
    """

    def __init__(self, predictions: Predictions, metric: str) -> None:
        scorer = _scorer_of(predictions.scorers, metric)
        self.metric = metric
        self.units: tuple[int | str, ...]
        members = _members(predictions) if METRICS[scorer].grouped else None
        if members is None:
            self.units = tuple(example.row for example in predictions.examples)
            positions = [[position] for position in range(len(predictions))]
        else:
            self.units = tuple(members)
            positions = list(members.values())
        make = _STATISTICS.get((scorer, metric))
        self.fast = make is not None
        if make is None:
            self._statistic = _by_repeating(predictions, scorer, metric, positions)
        else:
            self._statistic = make(predictions, positions)

    def __len__(self) -> int:
        return len(self.units)

    def score(self) -> float:
        """The metric of the test split itself, in percent."""
        return float(self.scores(np.ones((1, len(self))))[0])

    def scores(self, counts: Counts) -> Array:
        """The metric of resamples, in percent.

        Args:
            counts: ``(B, U)``, how often each unit is drawn; no resample may be empty.

        Returns:
            ``(B,)``.
        """
        drawn = np.asarray(counts, dtype=np.float64)
        if drawn.ndim != 2 or drawn.shape[1] != len(self):
            raise ValueError(f"counts have shape {drawn.shape}: expected (B, {len(self)})")
        step = max(1, _BLOCK // len(self))
        parts = [self._statistic(drawn[at : at + step]) for at in range(0, len(drawn), step)]
        return np.concatenate([np.empty(0), *parts])


def _scorer_of(scorers: Sequence[str], metric: str) -> str:
    for scorer in scorers:
        if metric in METRICS[scorer].outputs:
            return scorer
    known = [name for scorer in scorers for name in METRICS[scorer].outputs]
    raise UnknownNameError("metric", metric, known)


def _members(predictions: Predictions) -> dict[str, list[int]]:
    """Positions of the examples of each group, groups in the order of their first example."""
    members: dict[str, list[int]] = {}
    for position, group in enumerate(predictions.groups or []):
        members.setdefault(group, []).append(position)
    return members


def _of_sums(sums: Array, combine: Combine) -> Statistic:
    """A metric that follows from sums ``(U, K)`` over the drawn units."""
    return lambda counts: combine(counts @ sums)


def _mean(values: Sequence[float]) -> Statistic:
    """Mean of values 0 to 1, in percent."""
    column = np.asarray(values, dtype=np.float64)
    return lambda counts: 100.0 * (counts @ column) / counts.sum(axis=1)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Their ratio; 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _accuracy(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    return _mean([a in texts for a, texts in _pairs(predictions)])


def _exact_questions(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    right = [answer in texts for answer, texts in _pairs(predictions)]
    return _mean([all(right[position] for position in unit) for unit in positions])


def _each(scorer: str, metric: str) -> Callable[[Predictions, list[list[int]]], Statistic]:
    """A mean over examples, each scored alone."""

    def make(predictions: Predictions, positions: list[list[int]]) -> Statistic:
        scores = (_alone(scorer, answer, texts) for answer, texts in _pairs(predictions))
        return _mean([score[metric] / 100.0 for score in scores])

    return make


@functools.lru_cache(maxsize=2**16)  # Some tens of MiB of text.
def _alone(scorer: str, answer: str, texts: tuple[str, ...]) -> Mapping[str, float]:
    """All metrics of a scorer for one answer; tables ask for one after the other."""
    return METRICS[scorer].compute([answer], [texts])


def _binary_f1(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    """F1 of class 1; an answer that is no class counts as the wrong one."""
    rows = np.zeros((len(predictions), 2))  # true positives, false ones of both kinds
    for row, (answer, (label, *_)) in zip(rows, _pairs(predictions), strict=True):
        row[:] = (answer == label == "1", answer != label)
    sums = np.stack([rows[unit].sum(axis=0) for unit in positions])
    return _of_sums(sums, lambda s: 100.0 * _ratio(2 * s[:, 0], 2 * s[:, 0] + s[:, 1]))


def _macro_f1(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    """Mean over three classes of ``2 TP / (answered + expected)``."""
    answered, expected = _one_hot(predictions, ("0", "1", "2"))
    true = answered * expected
    return lambda counts: (
        100.0 * _ratio(2 * (counts @ true), counts @ (answered + expected)).mean(axis=1)
    )


def _matthews(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    """Matthews correlation of any number of classes (Gorodkin 2004)."""
    classes = {*predictions.answers, *(texts[0] for texts in predictions.references)}
    answered, expected = _one_hot(predictions, sorted(classes))
    right = (answered * expected).sum(axis=1)

    def statistic(counts: Array) -> Array:
        size = counts.sum(axis=1)
        given, wanted = counts @ answered, counts @ expected
        covariance = (counts @ right) * size - (given * wanted).sum(axis=1)
        spread = (size**2 - (given**2).sum(axis=1)) * (size**2 - (wanted**2).sum(axis=1))
        return 100.0 * _ratio(covariance, np.sqrt(spread))

    return statistic


def _pearson(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    """Pearson correlation; 0 where one side is constant."""
    numbers = [
        [UNPARSABLE if n is None else n for n in map(parse_number, texts)]
        for texts in (predictions.answers, [texts[0] for texts in predictions.references])
    ]
    sides = [np.asarray(side) / max(1.0, np.abs(side).max()) for side in numbers]

    def statistic(counts: Array) -> Array:
        drawn, size = counts > 0, counts.sum(axis=1, keepdims=True)
        constant = np.zeros(len(counts), dtype=bool)
        deviations = []
        for side in sides:
            lowest = np.where(drawn, side, np.inf).min(axis=1)
            highest = np.where(drawn, side, -np.inf).max(axis=1)
            constant |= lowest == highest
            deviation = np.where(drawn, side - (counts @ side)[:, None] / size, 0.0)
            # Of length near 1, so that no square is lost.
            deviation /= np.maximum(np.abs(deviation).max(axis=1, keepdims=True), 1e-300)
            deviations.append(deviation)
        left, right = deviations
        product = (counts * left * right).sum(axis=1)
        norm = np.sqrt((counts * left**2).sum(axis=1) * (counts * right**2).sum(axis=1))
        correlation = np.clip(_ratio(product, norm), -1.0, 1.0)
        return 100.0 * np.where(constant, 0.0, correlation)

    return statistic


def _bleu(predictions: Predictions, positions: list[list[int]]) -> Statistic:
    """Corpus BLEU from the n-gram counts of each example (Post 2018, section 2).

    sacrebleu's smoothing ``exp``: the k-th order without a match counts ``1 / 2^k`` matches. Orders
    for which every text is too short make the score 0.
    """
    from sacrebleu.metrics import BLEU

    scorer = BLEU(force=True)
    rows = []
    for answer, texts in _pairs(predictions):
        own = scorer.corpus_score([answer], [[text] for text in texts])
        rows.append([*own.counts, *own.totals, own.sys_len, own.ref_len])
    orders = scorer.max_ngram_order

    def combine(sums: Array) -> Array:
        matches, totals = sums[:, :orders], sums[:, orders:-2]
        given, wanted = sums[:, -2], sums[:, -1]
        none = matches == 0
        precision = _ratio(np.where(none, 0.5 ** none.cumsum(axis=1), matches), totals)
        possible = np.logical_and((totals > 0).all(axis=1), (matches > 0).any(axis=1))
        logarithm = np.log(np.where(np.expand_dims(possible, 1), precision, 1.0)).mean(axis=1)
        brevity = np.minimum(0.0, 1.0 - _ratio(wanted, given))
        return np.where(possible, np.minimum(100.0, 100.0 * np.exp(logarithm + brevity)), 0.0)

    return _of_sums(np.asarray(rows, dtype=np.float64), combine)


def _by_repeating(
    predictions: Predictions, scorer: str, metric: str, positions: list[list[int]]
) -> Statistic:
    """Any metric: every resample is written out and scored."""
    answers, references = predictions.answers, predictions.references

    def statistic(counts: Array) -> Array:
        scores = []
        for row in counts:
            chosen: list[int] = []
            names: list[str] = []
            for unit, times in enumerate(row.astype(int).tolist()):
                for copy in range(times):
                    chosen += positions[unit]
                    names += [f"{unit}/{copy}"] * len(positions[unit])
            done = METRICS[scorer].compute(
                [answers[i] for i in chosen], [references[i] for i in chosen], names
            )
            scores.append(done[metric])
        return np.asarray(scores)

    return statistic


def _one_hot(predictions: Predictions, classes: Sequence[str]) -> tuple[Array, Array]:
    """Answers and references as ``(N, classes)`` of 0 and 1; other texts are rows of 0."""
    sides = (predictions.answers, [texts[0] for texts in predictions.references])
    answered, expected = (
        np.array([[text == name for name in classes] for text in side], dtype=np.float64)
        for side in sides
    )
    return answered, expected


def _pairs(predictions: Predictions) -> list[tuple[str, tuple[str, ...]]]:
    return list(zip(predictions.answers, predictions.references, strict=True))


_STATISTICS: dict[tuple[str, str], Callable[[Predictions, list[list[int]]], Statistic]] = {
    ("accuracy", "accuracy"): _accuracy,
    ("f1_with_invalid", "f1"): _binary_f1,
    ("f1_multiclass", "f1_multiclass"): _macro_f1,
    ("matthews_correlation", "matthews_correlation"): _matthews,
    ("multirc", "f1"): _binary_f1,
    ("multirc", "em"): _exact_questions,
    ("pearson", "pearson"): _pearson,
    ("bleu", "bleu"): _bleu,
    **{
        (scorer, metric): _each(scorer, metric)
        for scorer in ("squad", "rouge", "meteor")
        for metric in METRICS[scorer].outputs
    },
}
"""Every metric but those that rest on ranks."""


__all__ = ["ResampledMetric"]
