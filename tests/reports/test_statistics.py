"""The statistics against scipy, against all resamples written out, and by hand."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.reports import statistics
from bench.reports.statistics import (
    bootstrap_p_value,
    holm,
    mean_and_std,
    percentile_interval,
    resample_counts,
    two_level_interval,
    wilcoxon_p_value,
)

DRAWS = 2_000
VALUES = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0]


def replicates(values: Sequence[float], seed: int = 0) -> np.ndarray:
    """Means of resamples of the values."""
    blocks = resample_counts(len(values), DRAWS, np.random.default_rng(seed))
    return np.concatenate([counts @ np.array(values) for counts in blocks]) / len(values)


def scipy_bootstrap(values: Sequence[float], seed: int = 0) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Values that are all equal have no interval there.
        return scipy.stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=DRAWS,
            method="percentile",
            random_state=np.random.default_rng(seed),
        )


def test_mean_and_deviation_by_hand() -> None:
    # Deviations -2 0 2: variance 8 / (3 - 1) = 4.
    assert mean_and_std([60.0, 62.0, 64.0]) == (62.0, 2.0)
    assert mean_and_std([60.0]) == (60.0, None)


def test_resamples_are_those_of_scipy() -> None:
    found, expected = replicates(VALUES), scipy_bootstrap(VALUES)
    assert found == pytest.approx(expected.bootstrap_distribution, abs=1e-12)
    assert percentile_interval(found) == pytest.approx(expected.confidence_interval, abs=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replicates(VALUES)
    monkeypatch.setattr(statistics, "_BLOCK", 100)
    assert (replicates(VALUES) == whole).all()


@given(st.integers(1, 50), st.integers(1, 30))
@settings(deadline=None)
def test_every_resample_has_as_many_units_as_there_are(units: int, draws: int) -> None:
    counts = np.concatenate([*resample_counts(units, draws, np.random.default_rng(1))])
    assert counts.shape == (draws, units)
    assert (counts.sum(axis=1) == units).all()


def test_p_value_against_all_resamples() -> None:
    """Four rows have 4^4 = 256 equally likely resamples; these can be counted."""
    values = [1.0, 1.0, 0.0, 1.0]
    means = [sum(draw) / 4 for draw in itertools.product(values, repeat=4)]
    exact = sum(abs(mean - 0.75) >= 0.75 for mean in means) / 256
    assert exact == 1 / 256  # Only four times the 0 is as far from 0.75 as 0 is.
    found = bootstrap_p_value(0.75, replicates(values))
    # Three standard deviations of a share of 2,000 draws, and the observed sample itself.
    assert found == pytest.approx(exact, abs=3 * math.sqrt(exact / DRAWS) + 1 / DRAWS)


def test_p_values_at_the_ends() -> None:
    assert bootstrap_p_value(0.0, replicates([1.0, -1.0])) == 1.0
    assert bootstrap_p_value(5.0, np.full(99, 5.0)) == 1 / 100


@given(st.lists(st.integers(-3, 3), min_size=5, max_size=20))
@settings(max_examples=20, deadline=None)
def test_p_value_from_the_distribution_of_scipy(values: list[int]) -> None:
    observed = float(np.mean(values))
    expected = scipy_bootstrap(values).bootstrap_distribution
    far = np.abs(expected - observed) > abs(observed) - 1e-9
    found = bootstrap_p_value(observed, replicates([float(value) for value in values]))
    assert found == pytest.approx((1 + far.sum()) / (DRAWS + 1), abs=1e-12)


@pytest.mark.parametrize("rows", [20, 100])
def test_the_level_is_kept_where_there_is_no_difference(rows: int) -> None:
    """Two methods answer alike on four of five rows; on the others each wins as often."""
    generator, cases, draws = np.random.default_rng(0), 300, 500
    counts = np.concatenate([*resample_counts(rows, draws, generator)])
    wrong = 0
    for _ in range(cases):
        values = generator.choice([-1.0, 0.0, 1.0], rows, p=[0.1, 0.8, 0.1])
        wrong += bootstrap_p_value(values.mean(), counts @ values / rows) < 0.05
    # Three standard deviations of a share of 300.
    assert wrong / cases <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / cases)


def test_wilcoxon() -> None:
    # All of five differences above 0: both ends of 2^5 equally likely signs.
    assert wilcoxon_p_value([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert wilcoxon_p_value([0.0, 1e-12]) == 1.0
    left = [value for value in VALUES if value]
    assert wilcoxon_p_value([*VALUES, 0.0]) == scipy.stats.wilcoxon(left).pvalue


def test_wilcoxon_takes_sums_in_different_orders_for_equal() -> None:
    exact = [3.0, 3.0, 3.0, 6.0, -3.0]
    noisy = [3.0, (0.1 + 0.2) * 10, 3.0 - 1e-13, 6.0, -3.0 - 2e-13]
    assert noisy != exact
    assert wilcoxon_p_value(noisy) == scipy.stats.wilcoxon(exact).pvalue


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None)
def test_holm_rejects_what_its_definition_rejects(p_values: list[float]) -> None:
    """Step down: stop at the first p-value above alpha / (number that are left)."""
    alpha = 0.05
    rejected = set()
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        if (len(p_values) - rank) * p_values[place] > alpha:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(p_values)) if p <= alpha} == rejected


def test_two_level_interval_against_all_resamples() -> None:
    """Two groups of two and one of one member: every path of both stages, with its weight."""
    groups = [[0.0, 6.0], [10.0, 14.0], [30.0]]
    weights: dict[float, float] = {}
    for drawn in itertools.product(groups, repeat=3):
        inner = [
            [sum(members) / len(group) for members in itertools.product(group, repeat=len(group))]
            for group in drawn
        ]
        for means in itertools.product(*inner):
            value = sum(means) / 3
            share = 1 / 27 / math.prod(len(own) for own in inner)
            weights[round(value, 9)] = weights.get(round(value, 9), 0.0) + share
    assert sum(weights.values()) == pytest.approx(1.0)
    low, high = two_level_interval(groups, np.random.default_rng(0))
    below = sum(share for value, share in weights.items() if value <= low + 1e-6)
    above = sum(share for value, share in weights.items() if value >= high - 1e-6)
    strictly = sum(share for value, share in weights.items() if value < low - 1e-6)
    assert strictly - 0.005 <= 0.025 <= below + 0.005
    assert above + 0.005 >= 0.025


def test_two_level_interval_of_single_members_is_a_bootstrap_over_groups() -> None:
    values = [float(value) for value in range(40)]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", random_state=np.random.default_rng(5)
    ).confidence_interval
    found = two_level_interval([[value] for value in values], np.random.default_rng(1))
    assert found == pytest.approx(expected, abs=0.3)


def test_two_level_interval_holds_the_spread_between_seeds() -> None:
    """One task only: what is left is the bootstrap over its seeds."""
    seeds = [1.0, 2.0, 6.0]
    means = sorted(sum(draw) / 3 for draw in itertools.product(seeds, repeat=3))
    found = two_level_interval([seeds], np.random.default_rng(0))
    assert found == (means[0], means[-1])
