"""Every metric of resamples, against the metric itself on the drawn examples written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.errors import UnknownNameError
from bench.predictions import Predictions, judge
from bench.reports import resampling
from bench.reports.resampling import ResampledMetric
from bench.tasks import TASKS
from bench.tasks.metrics import MetricUnavailableError, score

Answered = Callable[[str], Predictions]
DRAWS = 6


def written_out(
    predictions: Predictions, resampled: ResampledMetric, scorer: str, counts: np.ndarray
) -> float:
    """The metric module's own score of a resample; a group drawn twice is two groups."""
    answers, references, groups = [], [], []
    for unit, times in zip(resampled.units, counts, strict=True):
        for copy in range(times):
            for example in predictions.examples:
                if unit == (example.group if isinstance(unit, str) else example.row):
                    answers.append(example.prediction.strip())
                    references.append(list(example.references))
                    groups.append(f"{unit} {copy}")
    return score(scorer, answers, references, groups)[resampled.metric]


@pytest.mark.parametrize("name", [task.name for task in TASKS])
def test_resamples_have_the_scores_of_their_examples(name: str, answered: Answered) -> None:
    predictions = answered(name)
    generator = np.random.default_rng(0)
    whole = predictions.metrics()
    for metric, value in whole.items():
        resampled = ResampledMetric(predictions, metric)
        scorer = next(s for s in predictions.scorers if metric in score_names(s))
        assert resampled.score() == pytest.approx(value, abs=1e-9)
        size = len(resampled)
        counts = generator.multinomial(size, np.full(size, 1 / size), size=DRAWS)
        counts[0] = 0
        counts[0, : max(1, size // 20)] = 2  # A few examples: some classes do not occur.
        counts[1] = 0
        counts[1, size // 2] = 3  # One alone: both sides are constant.
        scores = resampled.scores(counts)
        assert scores.shape == (DRAWS,)
        for drawn, found in zip(counts, scores, strict=True):
            expected = written_out(predictions, resampled, scorer, drawn)
            assert found == pytest.approx(expected, abs=1e-9), (metric, drawn)


def score_names(scorer: str) -> tuple[str, ...]:
    from bench.tasks.metrics import METRICS

    return METRICS[scorer].outputs


def test_only_ranks_are_computed_draw_by_draw(answered: Answered) -> None:
    slow = {
        metric
        for name in ("cola", "mrpc", "cb", "multirc", "squad", "stsb", "e2e")
        for metric in answered(name).metrics()
        if not ResampledMetric(answered(name), metric).fast
    }
    assert slow == {"spearmanr"}


def test_questions_are_drawn_with_all_their_answers() -> None:
    predictions = judge(
        ("multirc",),
        [0, 1, 2, 3],
        ["1", "0", "1", "0"],
        [["1"], ["0"], ["1"], ["1"]],
        ["b", "a", "b", "a"],
    )
    resampled = ResampledMetric(predictions, "em")
    assert resampled.units == ("b", "a")
    assert resampled.scores(np.array([[2, 0], [0, 2], [1, 1]])).tolist() == [100.0, 0.0, 50.0]
    # Question a alone: one 1 of two was found, nothing else taken for one.
    assert ResampledMetric(predictions, "f1").scores(np.array([[0, 1]])) == pytest.approx(0.0)


def test_many_draws_in_blocks(answered: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    resampled = ResampledMetric(answered("cola"), "matthews_correlation")
    size = len(resampled)
    counts = np.random.default_rng(1).multinomial(size, np.full(size, 1 / size), size=50)
    at_once = resampled.scores(counts)
    monkeypatch.setattr("bench.reports.resampling._BLOCK", 7 * size)
    assert resampled.scores(counts).tolist() == pytest.approx(at_once.tolist(), abs=1e-12)
    assert resampled.scores(counts[:0]).shape == (0,)


def test_bleu_of_any_texts() -> None:
    """Short texts lack whole orders of n-grams, others all matches, and some are empty."""
    texts = ["a", "b c", "a b c d", "", "d c b a e f", "a b", "the a b c d e"]
    answers = [answer for answer in texts for _ in texts]
    references = [[text] for _ in texts for text in texts]
    rows = range(len(answers))
    predictions = judge(("bleu",), rows, answers, references, [None] * len(answers))
    resampled = ResampledMetric(predictions, "bleu")
    size = len(resampled)
    few = np.random.default_rng(3).integers(0, 2, (40, size)) * (
        np.random.default_rng(4).random((40, size)) < 0.08
    )
    counts = np.concatenate([np.eye(size, dtype=int), few[few.sum(axis=1) > 0]])
    for drawn, found in zip(counts, resampled.scores(counts), strict=True):
        expected = written_out(predictions, resampled, "bleu", drawn)
        assert found == pytest.approx(expected, abs=1e-9), drawn


@pytest.mark.parametrize("answers", [["1e30", "2.0", "3.0"], ["5.0", "5.0", "5.0"]])
def test_pearson_of_extreme_answers(answers: list[str]) -> None:
    references = [["1.0"], ["4.0"], ["2.2"]]
    predictions = judge(("pearson",), [0, 1, 2], answers, references, [None] * 3)
    resampled = ResampledMetric(predictions, "pearson")
    for counts in ([1, 1, 1], [2, 1, 0], [0, 0, 3]):
        expected = written_out(predictions, resampled, "pearson", np.array(counts))
        assert resampled.scores(np.array([counts]))[0] == pytest.approx(expected, abs=1e-9)


def test_bad_input(answered: Answered) -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'f2'"):
        ResampledMetric(answered("mrpc"), "f2")
    with pytest.raises(ValueError, match=r"expected \(B, "):
        ResampledMetric(answered("mrpc"), "f1").scores(np.ones((2, 1)))


def test_a_metric_that_cannot_be_computed_here(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def ensure_loaded(self) -> None:
            raise LookupError

    monkeypatch.setattr("nltk.corpus.wordnet", Missing())
    resampling._alone.cache_clear()
    with pytest.raises(MetricUnavailableError):
        ResampledMetric(answered("e2e"), "meteor")
    assert "bleu" in answered("e2e").metrics()
