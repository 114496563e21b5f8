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
from bench.predictions import Predictions, load_predictions
from bench.record import Record, RunBlock
from bench.tasks.metrics import METRICS, UNPARSABLE, parse_number

Array: TypeAlias = npt.NDArray[np.float64]
Resampled: TypeAlias = tuple[tuple[int | str, ...], Array, Callable[[Array, Array], Array]]
"""Ids of what is resampled (rows, or groups of rows), their summands ``(units, numbers)``, and the
function from sums ``(draws, numbers)`` and counts ``(draws,)`` to percentages ``(draws,)``."""

LEVEL = 0.95
ALPHA = 0.05
RESAMPLES = 10_000
NOT_RESAMPLED = ("spearmanr", "f1_multiclass", "bleu_published")
BLOCK = 2**22
"""Maximum size of an array of draws."""

ROUNDING = 1e-9
"""Rounding error in percentage points between two sums of equal scores."""


class Bootstrap:
    """Resampled scores and comparisons of runs, each computed once from stored predictions."""

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        self.folder = folder
        self.records = {record.id: record for record in records}
        self.warnings: list[str] = []  # One line per run whose predictions cannot be used.
        self._draws = functools.cache(self._resampled)
        self.compare = functools.cache(self._compared)

    def draws(self, id: str, metric: str) -> Array | None:
        """Scores of all resamples of a run; None without predictions."""
        return self._draws(_test_rows(self.records[id].run), metric).get(id)

    def _resampled(self, rows: tuple[object, ...], metric: str) -> dict[str, Array]:
        """Scores of all resamples of the runs with these test rows, by id."""
        ids = [id for id, record in self.records.items() if _test_rows(record.run) == rows]
        loaded = {id: part for id in sorted(ids) if (part := self._load(id, metric))}
        first_units = next((units for units, _, _ in loaded.values()), ())
        parts = {id: part for id, part in loaded.items() if part[0] == first_units}
        return _resample(self.records[ids[0]].run.task, parts) if parts else {}

    def _compared(
        self, pairs: tuple[tuple[str, str], ...], metric: str, observed: float
    ) -> dict[str, float]:
        """Interval and p-value of a mean difference over run pairs; empty without predictions."""
        sides = [[self.draws(id, metric) for id in ids] for ids in zip(*pairs, strict=True)]
        left, right = ([draws for draws in side if draws is not None] for side in sides)
        if not len(left) == len(right) == len(pairs):
            return {}
        draws = np.mean(left, axis=0) - np.mean(right, axis=0)
        low, high = percentile_interval(draws)
        return {"ci_low": low, "ci_high": high, "p_value": bootstrap_p_value(observed, draws)}

    def _load(self, id: str, metric: str) -> Resampled | None:
        record = self.records[id]
        stored = record.scores.test.get(metric) if record.scores else None
        if record.predictions is None or stored is None:
            return None
        try:
            resampled = resampled_metric(load_predictions(self.folder, record), metric)
            if resampled is None:
                return None
            units, numbers, finish = resampled
            score = finish(numbers.sum(axis=0)[None], np.array([len(units)]))[0]
            if not math.isclose(score, stored, abs_tol=1e-6):
                raise RecordError(
                    f"the predictions of {record.file_name} give {metric} {score:.4f}, the "
                    f"record says {stored:.4f}: not used; delete the record and run again"
                )
        except BenchError as error:
            if (message := str(error)) not in self.warnings:
                self.warnings.append(message)
            return None
        return resampled


def _test_rows(run: RunBlock) -> tuple[object, ...]:
    """Values that determine the test rows of a run."""
    return run.task, run.versions.task, run.data, run.data_seed, run.test_rows


def _resample(purpose: str, parts: Mapping[str, Resampled]) -> dict[str, Array]:
    """Scores of all resamples by run; all runs share the draws."""
    numbers = np.hstack([summands for _, summands, _ in parts.values()])
    ends = np.cumsum([summands.shape[1] for _, summands, _ in parts.values()])[:-1]
    blocks: dict[str, list[Array]] = {id: [] for id in parts}
    for counts in resample_counts(len(numbers), seeded(purpose)):
        size = counts.sum(axis=1)
        by_run = np.split(counts @ numbers, ends, axis=1)
        for (id, (_, _, finish)), sums in zip(parts.items(), by_run, strict=True):
            blocks[id].append(finish(sums, size))
    return {id: np.concatenate(block) for id, block in blocks.items()}


def resampled_metric(predictions: Predictions, metric: str) -> Resampled | None:
    """A metric as a function of sums over rows or groups; None if it is not resampled."""
    examples = predictions.examples
    scorer = next((name for name in predictions.scorers if metric in METRICS[name].outputs), "")
    grouped = bool(scorer) and METRICS[scorer].grouped
    if not scorer or metric.startswith(NOT_RESAMPLED) or (grouped and metric != "f1"):
        return None
    answers = [example.prediction.strip() for example in examples]
    references = [tuple(example.references) for example in examples]
    firsts = [texts[0] for texts in references]
    pairs = list(zip(answers, references, strict=True))
    correct = np.array([[answer in texts] for answer, texts in pairs], float)
    units: tuple[int | str, ...] = tuple(example.row for example in examples)
    if metric == "accuracy":
        return units, correct, _mean
    if metric == "f1" and scorer not in ("squad", "qa"):
        hits = correct * np.array([[answer == "1"] for answer in answers])
        numbers = np.hstack([2 * hits, 2 * hits + 1 - correct])
        if grouped:
            groups = [str(example.group) for example in examples]
            names = list(dict.fromkeys(groups))
            units, numbers = tuple(names), _one_hot(groups, names).T @ numbers
        return units, numbers, _f1
    if metric == "matthews_correlation":
        classes = sorted({*answers, *firsts})
        sides = [_one_hot(texts, classes) for texts in (answers, firsts)]
        return units, np.hstack([*sides, correct]), _matthews
    if metric == "pearson":
        left, right = _centred(answers), _centred(firsts)
        products = [left, right, left**2, right**2, left * right]
        return units, np.stack(products, axis=1), _pearson
    if metric == "bleu":
        return units, np.array([_bleu_counts(*pair) for pair in pairs], float), _bleu
    return units, np.array([[_row_scores(scorer, *pair)[metric] / 100] for pair in pairs]), _mean


@functools.lru_cache(maxsize=2**16)
def _row_scores(scorer: str, answer: str, references: tuple[str, ...]) -> Mapping[str, float]:
    return METRICS[scorer].compute([answer], [references])


def _one_hot(texts: Sequence[str], classes: Sequence[str]) -> Array:
    return np.array([[text == name for name in classes] for text in texts], float)


def _centred(texts: Iterable[str]) -> Array:
    """Numbers of the texts minus their mean, divided by their largest absolute value if above 1."""
    parsed = map(parse_number, texts)
    numbers = np.array([UNPARSABLE if number is None else number for number in parsed])
    centred: Array = numbers - numbers.mean()
    return centred / max(1.0, float(np.abs(centred).max()))


@functools.lru_cache(maxsize=2**16)
def _bleu_counts(answer: str, references: tuple[str, ...]) -> list[float]:
    """Matched and total n-grams for n = 1 to 4, and lengths of answer and reference (Post 2018)."""
    score = _bleu_against(references).corpus_score([answer], None)
    return [*score.counts, *score.totals, score.sys_len, score.ref_len]


@functools.lru_cache(maxsize=2**12)
def _bleu_against(references: tuple[str, ...]) -> Any:
    """BLEU scorer of sacrebleu with the n-gram counts of the references."""
    from sacrebleu.metrics import BLEU

    return BLEU(force=True, references=[[text] for text in references])


def _ratio(above: Array, below: Array) -> Array:
    """Elementwise ratio; 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _mean(sums: Array, size: Array) -> Array:
    return 100 * sums[:, 0] / size


def _f1(sums: Array, size: Array) -> Array:
    return 100 * _ratio(*sums.T)


def _matthews(sums: Array, size: Array) -> Array:
    """Matthews correlation of any number of classes (Gorodkin 2004)."""
    left, right = np.split(sums[:, :-1], 2, axis=1)
    covariance = sums[:, -1] * size - (left * right).sum(axis=1)
    spread = (size**2 - (left**2).sum(axis=1)) * (size**2 - (right**2).sum(axis=1))
    return 100 * _ratio(covariance, np.sqrt(spread))


def _pearson(sums: Array, size: Array) -> Array:
    """Pearson correlation; 0 where one side is constant."""
    x, y, xx, yy, xy = (sums / size[:, None]).T
    spread = np.where(np.minimum(xx - x**2, yy - y**2) > 1e-14, (xx - x**2) * (yy - y**2), 0)
    return 100 * np.clip(_ratio(xy - x * y, np.sqrt(spread)), -1, 1)


def _bleu(sums: Array, size: Array) -> Array:
    """Corpus BLEU with sacrebleu's smoothing ``exp``."""
    matches, totals = np.split(sums[:, :-2], 2, axis=1)
    unmatched = matches == 0
    precision = _ratio(np.where(unmatched, 0.5 ** unmatched.cumsum(axis=1), matches), totals)
    possible = (totals > 0).all(axis=1) & ~unmatched.all(axis=1)
    logarithm = np.log(np.where(possible[:, None], precision, 1)).mean(axis=1)
    brevity = np.minimum(0, 1 - _ratio(sums[:, -1], sums[:, -2]))
    return np.where(possible, np.minimum(100, 100 * np.exp(logarithm + brevity)), 0)


def seeded(purpose: str) -> np.random.Generator:
    """Random generator seeded by a purpose."""
    return np.random.default_rng([0, zlib.crc32(purpose.encode())])


def resample_counts(
    units: int, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[Array]:
    """Yield draw counts of bootstrap resamples, ``(block, units)``, in blocks of limited size."""
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
    """Two-sided p-value of the signed-rank test over differences other than 0; 1 without any."""
    from scipy.stats import wilcoxon

    # Differences that are equal up to rounding share a rank.
    rounded = [float(round(value / ROUNDING)) for value in differences]
    nonzero = [value for value in rounded if value]
    return float(wilcoxon(nonzero).pvalue) if nonzero else 1.0


def critical_difference(methods: int, tasks: int) -> float:
    """Smallest significant difference of mean ranks (Nemenyi; Demšar 2006)."""
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


def two_level_interval(groups: Sequence[Sequence[float]], purpose: str) -> tuple[float, float]:
    """Interval of the mean of group means: groups are drawn, then members of each drawn group."""
    sizes = np.array([len(group) for group in groups])
    padded = np.array([[*group, *[0.0] * (sizes.max() - len(group))] for group in groups])
    generator = seeded(purpose)
    drawn = generator.integers(0, len(groups), (RESAMPLES, len(groups)))
    inner = generator.random((*drawn.shape, sizes.max())) * sizes[drawn][..., None]
    values = padded[drawn[..., None], inner.astype(int)]
    filled = np.arange(sizes.max()) < sizes[drawn][..., None]
    means = np.where(filled, values, 0).sum(axis=-1) / sizes[drawn]
    return percentile_interval(means.mean(axis=-1))
