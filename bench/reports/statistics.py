"""Bootstrap over test rows, bootstrap over targets and seeds, and tests over several methods.

Draws are seeded by their purpose alone (a task, or a row of the transfer table): all runs of a task
are scored on equal resamples, and can be subtracted draw by draw.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError, RecordError
from bench.predictions import Prediction, load_predictions
from bench.record import Record
from bench.tasks.metrics import METRICS, UNPARSABLE, parse_number

Array: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[[Array], Array]
"""From counts ``(draws, units)`` to percentages ``(draws,)``."""

Resampled: TypeAlias = tuple[tuple[int | str, ...], Statistic]
"""What is drawn (rows, or groups of rows that are judged together), and the metric."""

LEVEL = 0.95
ALPHA = 0.05
RESAMPLES = 10_000
NOT_RESAMPLED = ("spearmanr", "f1_multiclass", "bleu_published")
BLOCK = 2**22
"""Most numbers of an array of draws and units."""

ROUNDING = 1e-9
"""Percentage points by which two sums of the same scores may differ."""


class Bootstrap:
    """Resampled test scores of runs, from their stored predictions; each is computed once.

    Attributes:
        warnings: one line per run whose predictions cannot be used.
    """

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        self.folder = folder
        self.records = {record.id: record for record in records}
        self.warnings: list[str] = []
        self._draws: dict[Any, dict[str, Array]] = {}
        self._compared: dict[Any, dict[str, float]] = {}

    def draws(self, id: str, metric: str) -> Array | None:
        """Scores of all resamples of a run; None without predictions."""
        run = self.records[id].run
        key = (run.task, run.versions.task, run.data, metric)
        if key not in self._draws:
            alike = [
                other.id
                for other in self.records.values()
                if (other.run.task, other.run.versions.task, other.run.data) == key[:-1]
            ]
            found = {own: loaded for own in sorted(alike) if (loaded := self._load(own, metric))}
            units = next((units for units, _ in found.values()), ())
            blocks: dict[str, list[Array]] = {i: [] for i, own in found.items() if own[0] == units}
            for counts in resample_counts(len(units), seeded(run.task)) if units else ():
                for own, block in blocks.items():
                    block.append(found[own][1](counts))
            self._draws[key] = {own: np.concatenate(block) for own, block in blocks.items()}
        return self._draws[key].get(id)

    def mean(self, ids: Iterable[str], metric: str) -> Array | None:
        """Resampled means over runs of a task; None without their predictions."""
        return mean_draws([self.draws(id, metric) for id in ids])

    def compare(
        self, pairs: Iterable[tuple[str, str]], metric: str, observed: float
    ) -> dict[str, float]:
        """Interval and p-value of a mean difference over pairs of runs; empty without predictions.

        Each comparison is computed once for all tables and figures.
        """
        key = (pairs := tuple(pairs), metric)
        if key not in self._compared:
            left, right = (self.mean(own, metric) for own in zip(*pairs, strict=True))
            self._compared[key] = {}
            if left is not None and right is not None:
                low, high = percentile_interval(left - right)
                p_value = bootstrap_p_value(observed, left - right)
                self._compared[key] = {"ci_low": low, "ci_high": high, "p_value": p_value}
        return self._compared[key]

    def _load(self, id: str, metric: str) -> Resampled | None:
        record = self.records[id]
        stored = record.scores.test.get(metric) if record.scores else None
        if record.predictions is None or stored is None:
            return None
        try:
            predictions = load_predictions(self.folder, record)
            found = resampled_metric(predictions.examples, predictions.scorers, metric)
            if found is not None:
                score = found[1](np.ones((1, len(found[0]))))[0]
                if not math.isclose(score, stored, abs_tol=1e-6):
                    raise RecordError(
                        f"the predictions of {record.file_name} give {metric} {score:.4f}, the "
                        f"record says {stored:.4f}: not used; run again"
                    )
        except BenchError as error:
            if str(error) not in self.warnings:
                self.warnings.append(str(error))
            return None
        return found


def mean_draws(parts: Sequence[Array | None]) -> Array | None:
    """Mean of resampled scores; None if one is missing."""
    known = [part for part in parts if part is not None]
    return np.mean(known, axis=0) if len(known) == len(parts) else None


def resampled_metric(
    examples: Sequence[Prediction], scorers: Sequence[str], metric: str
) -> Resampled | None:
    """A metric of any resample of the examples; None for those that no table compares."""
    scorer = next((name for name in scorers if metric in METRICS[name].outputs), "")
    grouped = bool(scorer) and METRICS[scorer].grouped
    if not scorer or metric.startswith(NOT_RESAMPLED) or (grouped and metric != "f1"):
        return None
    answers = [example.prediction.strip() for example in examples]
    references = [tuple(example.references) for example in examples]
    firsts = [texts[0] for texts in references]
    pairs = list(zip(answers, references, strict=True))
    right = np.array([answer in texts for answer, texts in pairs], float)
    units: tuple[int | str, ...] = tuple(example.row for example in examples)
    finish = _mean
    if metric == "accuracy":
        sums = right
    elif metric == "f1" and scorer not in ("squad", "qa"):
        hits, finish = right * np.array([answer == "1" for answer in answers]), _f1
        sums = np.stack([2 * hits, 2 * hits + 1 - right], axis=1)
        if grouped:
            groups = [str(example.group) for example in examples]
            units = tuple(dict.fromkeys(groups))
            sums = _one_hot(groups, [*map(str, units)]).T @ sums
    elif metric == "matthews_correlation":
        classes, finish = sorted({*answers, *firsts}), _matthews
        sides = [_one_hot(texts, classes) for texts in (answers, firsts)]
        sums = np.hstack([*sides, right[:, None]])
    elif metric == "pearson":
        left, right = (side - side.mean() for side in map(_numbers, (answers, firsts)))
        left, right = (side / max(1.0, np.abs(side).max()) for side in (left, right))
        sums, finish = np.stack([left, right, left**2, right**2, left * right], axis=1), _pearson
    elif metric == "bleu":
        sums, finish = np.array([_bleu_counts(*pair) for pair in pairs], float), _bleu
    else:
        sums = np.array([_alone(scorer, *pair)[metric] / 100 for pair in pairs])
    return units, lambda counts: finish(counts @ sums, counts.sum(axis=1))


@functools.lru_cache(maxsize=2**16)
def _alone(scorer: str, answer: str, references: tuple[str, ...]) -> Mapping[str, float]:
    return METRICS[scorer].compute([answer], [references])


def _one_hot(texts: Sequence[str], classes: Sequence[str]) -> Array:
    return np.array([[text == name for name in classes] for text in texts], float)


def _numbers(texts: Iterable[str]) -> Array:
    parsed = map(parse_number, texts)
    return np.array([UNPARSABLE if number is None else number for number in parsed])


@functools.lru_cache(maxsize=2**16)
def _bleu_counts(answer: str, references: tuple[str, ...]) -> list[float]:
    """Matched and all n-grams of four lengths, and both lengths (Post 2018)."""
    from sacrebleu.metrics import BLEU

    own = BLEU(force=True).corpus_score([answer], [[text] for text in references])
    return [*own.counts, *own.totals, own.sys_len, own.ref_len]


def _ratio(above: Array, below: Array) -> Array:
    """Their ratio; 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


# From sums over the drawn units, (draws, sums), and their number, (draws,), to percentages.


def _mean(sums: Array, size: Array) -> Array:
    return 100 * sums / size


def _f1(sums: Array, size: Array) -> Array:
    return 100 * _ratio(*sums.T)


def _matthews(sums: Array, size: Array) -> Array:
    """Matthews correlation of any number of classes (Gorodkin 2004)."""
    left, other = np.split(sums[:, :-1], 2, axis=1)
    covariance = sums[:, -1] * size - (left * other).sum(axis=1)
    spread = (size**2 - (left**2).sum(axis=1)) * (size**2 - (other**2).sum(axis=1))
    return 100 * _ratio(covariance, np.sqrt(spread))


def _pearson(sums: Array, size: Array) -> Array:
    """Pearson correlation; 0 where one side is constant."""
    x, y, xx, yy, xy = (sums / size[:, None]).T
    spread = np.where(np.minimum(xx - x**2, yy - y**2) > 1e-14, (xx - x**2) * (yy - y**2), 0)
    return 100 * np.clip(_ratio(xy - x * y, np.sqrt(spread)), -1, 1)


def _bleu(sums: Array, size: Array) -> Array:
    """Corpus BLEU with sacrebleu's smoothing ``exp``."""
    matches, totals = np.split(sums[:, :-2], 2, axis=1)
    none = matches == 0
    precision = _ratio(np.where(none, 0.5 ** none.cumsum(axis=1), matches), totals)
    possible = (totals > 0).all(axis=1) & ~none.all(axis=1)
    logarithm = np.log(np.where(possible[:, None], precision, 1)).mean(axis=1)
    brevity = np.minimum(0, 1 - _ratio(sums[:, -1], sums[:, -2]))
    return np.where(possible, np.minimum(100, 100 * np.exp(logarithm + brevity)), 0)


def seeded(purpose: str) -> np.random.Generator:
    """The generator of all draws for one purpose."""
    return np.random.default_rng([0, zlib.crc32(purpose.encode())])


def resample_counts(
    units: int, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[Array]:
    """How often each unit is drawn, ``(block, units)``, in blocks of limited size."""
    step = max(1, BLOCK // units)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, units, (size, units)) + np.arange(size)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(float)


def percentile_interval(draws: Array) -> tuple[float, float]:
    """The interval that holds the middle 95 % of the draws."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_p_value(observed: float, draws: Array) -> float:
    """Two-sided p-value of "the true value is 0" (Davison and Hinkley 1997, section 4.4)."""
    extreme = np.abs(draws - observed) >= abs(observed) - ROUNDING
    return float((1 + np.count_nonzero(extreme)) / (1 + len(draws)))


def wilcoxon_p_value(differences: Iterable[float]) -> float:
    """Two-sided p-value of the signed-rank test without differences of 0; 1 if none is left."""
    from scipy.stats import wilcoxon

    # Differences that are equal up to rounding share a rank.
    left = [float(step) for value in differences if (step := round(value / ROUNDING))]
    return float(wilcoxon(left).pvalue) if left else 1.0


def critical_difference(methods: int, tasks: int) -> float:
    """Least difference of mean ranks that is significant (Nemenyi; Demšar 2006)."""
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - ALPHA, methods, np.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(methods * (methods + 1) / (6 * tasks)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of comparisons (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def two_level_interval(
    groups: Sequence[Sequence[float]], generator: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Interval of the mean of group means: groups are drawn, then members of each drawn group."""
    sizes = np.array([len(group) for group in groups])
    members = np.array([[*group, *[0.0] * (sizes.max() - len(group))] for group in groups])
    means, step = [], max(1, BLOCK // members.size)
    for start in range(0, resamples, step):
        shape = (min(step, resamples - start), len(groups))
        drawn = generator.integers(0, len(groups), shape)
        inner = generator.random((*shape, members.shape[1]))
        values = members[drawn[..., None], (inner * sizes[drawn][..., None]).astype(int)]
        kept = np.arange(members.shape[1]) < sizes[drawn][..., None]
        means.append((np.where(kept, values, 0).sum(axis=-1) / sizes[drawn]).mean(axis=-1))
    return percentile_interval(np.concatenate(means))
