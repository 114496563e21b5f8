"""The statistics against scipy, against the metrics themselves, and by hand."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from bench.predictions import Predictions, make_predictions
from bench.reports import statistics
from bench.reports.statistics import (
    bootstrap_p_value,
    holm,
    percentile_interval,
    resample_counts,
    resampled_metric,
    two_level_interval,
    wilcoxon_p_value,
)
from bench.tasks.metrics import METRICS

DRAWS = 2_000
VALUES = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0]


def draws(values: Sequence[float], seed: int = 0) -> np.ndarray:
    blocks = resample_counts(len(values), np.random.default_rng(seed), DRAWS)
    return np.concatenate([counts @ np.array(values) for counts in blocks]) / len(values)


def test_resamples_are_those_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"n_resamples": DRAWS, "random_state": np.random.default_rng(0)}
    expected = scipy.stats.bootstrap((VALUES,), np.mean, method="percentile", **options)
    found = draws(VALUES)
    assert found == pytest.approx(expected.bootstrap_distribution, abs=1e-12)
    assert percentile_interval(found) == pytest.approx(expected.confidence_interval, abs=1e-12)
    monkeypatch.setattr(statistics, "BLOCK", 100)
    assert (draws(VALUES) == found).all()


def test_p_value_against_all_resamples() -> None:
    """Four rows have 4^4 equally likely resamples; only four times the 0 is as far as 0 is."""
    found = bootstrap_p_value(0.75, draws([1.0, 1.0, 0.0, 1.0]))
    assert found == pytest.approx(1 / 256, abs=3 * math.sqrt(1 / 256 / DRAWS) + 1 / DRAWS)
    assert bootstrap_p_value(0.0, draws([1.0, -1.0])) == 1.0
    assert bootstrap_p_value(5.0, np.full(99, 5.0)) == 1 / 100


@pytest.mark.parametrize("rows", [20, 100])
def test_level_is_kept_where_there_is_no_difference(rows: int) -> None:
    generator, cases = np.random.default_rng(0), 300
    counts = np.concatenate([*resample_counts(rows, generator, 500)])
    wrong = 0
    for _ in range(cases):
        values = generator.choice([-1.0, 0.0, 1.0], rows, p=[0.1, 0.8, 0.1])
        wrong += bootstrap_p_value(values.mean(), counts @ values / rows) < 0.05
    assert wrong / cases <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / cases)


def test_wilcoxon_is_that_of_scipy() -> None:
    # All of five differences above 0: both ends of 2^5 equally likely signs.
    assert wilcoxon_p_value([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert wilcoxon_p_value([0.0, 1e-12]) == 1.0
    assert wilcoxon_p_value([*VALUES, 0.0]) == scipy.stats.wilcoxon(VALUES).pvalue
    noisy = [3.0, (0.1 + 0.2) * 10, 3.0 - 1e-13, 6.0, -3.0 - 2e-13]
    assert wilcoxon_p_value(noisy) == scipy.stats.wilcoxon([3.0, 3.0, 3.0, 6.0, -3.0]).pvalue


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_two_level_interval_against_all_resamples() -> None:
    """Two groups of two members and one of one: all paths of both stages with their weights."""
    groups = [[0.0, 6.0], [10.0, 14.0], [30.0]]
    weights: dict[float, float] = {}
    for drawn in itertools.product(groups, repeat=3):
        inner = [
            [sum(members) / len(group) for members in itertools.product(group, repeat=len(group))]
            for group in drawn
        ]
        for means in itertools.product(*inner):
            value = round(sum(means) / 3, 9)
            share = 1 / 27 / math.prod(len(own) for own in inner)
            weights[value] = weights.get(value, 0.0) + share
    low, high = two_level_interval(groups, "rte")
    assert sum(w for value, w in weights.items() if value < low - 1e-6) <= 0.03
    assert sum(w for value, w in weights.items() if value <= low + 1e-6) >= 0.02
    assert sum(w for value, w in weights.items() if value >= high - 1e-6) >= 0.02
    assert sum(w for value, w in weights.items() if value > high + 1e-6) <= 0.03


WORDS = ["a red fox runs", "the fox", "a b c d e f", "", "two of them ran to the red fox"]
CASES = {
    ("accuracy", "accuracy"): ["0", "1", "no label"],
    ("f1_with_invalid", "f1"): ["0", "1", "no label"],
    ("matthews_correlation", "matthews_correlation"): ["0", "1", "no label"],
    ("multirc", "f1"): ["0", "1", "no label"],
    ("pearson", "pearson"): ["1.5", "2.0", "4.8", "none"],
    ("squad", "f1"): WORDS,
    ("squad", "em"): WORDS,
    ("qa", "f1"): WORDS,
    ("qa", "em_any"): WORDS,
    ("bleu", "bleu"): WORDS,
    ("rouge_published", "rouge2_published"): WORDS,
    ("published_first", "rougeL_published_first"): WORDS,
    ("rouge", "rougeL"): WORDS,
}


def made_up(scorer: str, answers: list[str], rows: int = 24) -> Predictions:
    generator = np.random.default_rng(1)
    given = [answers[i] for i in generator.integers(0, len(answers), rows)]
    wanted = [[answers[i]] for i in generator.integers(0, 2, rows)]
    groups = [f"question {row // 3}" if scorer == "multirc" else None for row in range(rows)]
    return make_predictions([scorer], range(rows), given, wanted, groups)


@pytest.mark.parametrize(("scorer", "metric"), CASES)
def test_resamples_have_the_scores_of_the_metric(scorer: str, metric: str) -> None:
    """The metric module's own score of each resample; a group drawn twice is two groups."""
    predictions = made_up(scorer, CASES[scorer, metric])
    units, numbers, finish = resampled_metric(predictions, metric)
    size, generator = len(units), np.random.default_rng(0)
    counts = generator.multinomial(size, np.full(size, 1 / size), size=8).astype(float)
    counts[0] = 1
    counts[1] = 0
    counts[1, size // 2] = 3  # One unit alone: both sides may be constant.
    scores = finish(counts @ numbers, counts.sum(axis=1))
    for drawn, score in zip(counts, scores, strict=True):
        answers, references, groups = [], [], []
        for unit, times in zip(units, drawn, strict=True):
            for copy, e in itertools.product(range(int(times)), predictions.examples):
                if unit == (e.group if isinstance(unit, str) else e.row):
                    answers.append(e.prediction.strip())
                    references.append(list(e.references))
                    groups.append(f"{unit} {copy}")
        expected = METRICS[scorer].compute(answers, references, groups)[metric]
        assert score == pytest.approx(expected, abs=1e-9), drawn


def test_metrics_that_no_table_compares_are_not_resampled() -> None:
    answers = ["1.0", "2.0"]
    assert resampled_metric(made_up("spearmanr", answers), "spearmanr") is None
    for scorer in ("bleu_published", "published_first"):
        assert resampled_metric(made_up(scorer, answers), METRICS[scorer].outputs[0]) is None
    assert resampled_metric(made_up("pearson", answers), "accuracy") is None
