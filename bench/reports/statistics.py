"""The statistics of tables, on plain numbers.

Bootstrap intervals are percentile intervals (Efron and Tibshirani 1993, chapter 13). The tests over
tasks are scipy's. Everything random is drawn from a generator that the caller seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

LEVEL = 0.95
"""Of all intervals."""

ALPHA = 0.05
"""Adjusted p-values below it are called significant."""

RESAMPLES = 10_000
"""Draws of every bootstrap."""

_BLOCK = 2**22
"""Most draws that are held at once."""

_ROUNDING = 1e-9
"""Percentage points that two ways to sum the same scores may differ by."""


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divisor n - 1); None for a single value."""
    mean = math.fsum(values) / len(values)
    return mean, statistics.stdev(values) if len(values) > 1 else None


def resample_counts(
    units: int, resamples: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """How often each unit is drawn, resample by resample, in blocks of limited size.

    Args:
        units: that are drawn with replacement, as many as there are.
        resamples: number of resamples in all.
        generator: the same state gives the same draws.

    Yields:
        ``(b, units)``; the ``b`` add up to ``resamples``.
    """
    step = max(1, _BLOCK // units)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, units, (size, units))
        drawn += np.arange(0, size * units, units)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)


def percentile_interval(replicates: Array) -> tuple[float, float]:
    """The interval that holds the middle 95 % of bootstrap replicates ``(B,)``."""
    tail = 50.0 * (1 - LEVEL)
    low, high = np.percentile(replicates, [tail, 100.0 - tail])
    return float(low), float(high)


def bootstrap_p_value(observed: float, replicates: Array) -> float:
    """Two-sided p-value of "the true value is 0" from bootstrap replicates ``(B,)``.

    The share of replicates that lie at least as far from the observed value as that lies from 0,
    the observed sample counted among them (Davison and Hinkley 1997, section 4.4).
    """
    extreme = np.abs(replicates - observed) >= abs(observed) - _ROUNDING
    return float((1 + np.count_nonzero(extreme)) / (1 + len(replicates)))


def wilcoxon_p_value(differences: Sequence[float]) -> float:
    """Two-sided p-value of scipy's Wilcoxon signed-rank test; 1 if no difference is left.

    Differences of 0 are dropped, as Wilcoxon did. Equal ones share a rank, also where they are
    sums in different orders and differ in their last digits.
    """
    from scipy.stats import wilcoxon

    steps = [round(value / _ROUNDING) for value in differences]
    left = [float(step) for step in steps if step]
    return float(wilcoxon(left).pvalue) if left else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of comparisons (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def two_level_interval(
    groups: Sequence[Sequence[float]], generator: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Interval of the mean over groups of the group's mean, where both are samples.

    Every resample draws groups with replacement and, anew for each drawn group, its members (a
    bootstrap of two stages; Davison and Hinkley 1997, section 3.8).

    Args:
        groups: for instance tasks, each with one difference per seed; none is empty.
        generator: the same state gives the same draws.
        resamples: number of resamples.
    """
    sizes = np.array([len(group) for group in groups])
    members = np.zeros((len(groups), sizes.max()))
    for row, group in zip(members, groups, strict=True):
        row[: len(group)] = group
    means = np.empty(resamples)
    step = max(1, _BLOCK // members.size)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, len(groups), (size, len(groups)))
        inner = generator.random((size, len(groups), members.shape[1]))
        chosen = (inner * sizes[drawn][..., None]).astype(np.int64)
        values = members[drawn[..., None], chosen]
        kept = np.arange(members.shape[1]) < sizes[drawn][..., None]
        sums = np.where(kept, values, 0.0).sum(axis=-1) / sizes[drawn]
        means[start : start + size] = sums.mean(axis=-1)
    return percentile_interval(means)


__all__ = [
    "ALPHA",
    "LEVEL",
    "RESAMPLES",
    "Array",
    "bootstrap_p_value",
    "holm",
    "mean_and_std",
    "percentile_interval",
    "resample_counts",
    "two_level_interval",
    "wilcoxon_p_value",
]
