"""Single metrics: equal to the published code, to the peer libraries and to hand-computed cases."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import evaluate
import pytest
import sacrebleu
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from bench.errors import DataError, UnknownNameError
from bench.tasks.metrics import METRICS, MetricUnavailableError, load, score
from bench.tasks.metrics.question_answering import normalise_answer

ANSWERS = st.sampled_from(["0", "1", "2", "", "yes"])
BINARY = st.sampled_from(["0", "1"])
NUMBERS = st.one_of(
    st.floats(0, 5).map(lambda number: f"{number:.1f}"), st.sampled_from(["abc", "", "nan", "inf"])
)
WORDS = st.lists(st.sampled_from(["the", "a", "cat", "Paris", "U.S.", "1999", "!"]), max_size=5)
TEXTS = WORDS.map(" ".join)
GOLD = st.lists(TEXTS, min_size=1, max_size=3)

binary_pairs = st.lists(st.tuples(ANSWERS, BINARY), min_size=1, max_size=20)
number_pairs = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20)
few = settings(max_examples=30, deadline=None)


def columns(pairs: list[Any]) -> tuple[list[Any], list[Any]]:
    return [left for left, _ in pairs], [right for _, right in pairs]


def test_published_scores(reference: Path) -> None:
    cases = json.loads((reference / "metrics.json").read_text(encoding="utf-8"))
    assert len({case["metric"] for case in cases}) == 6
    for case in cases:
        scores = score(case["metric"], case["predictions"], case["targets"])
        assert scores == pytest.approx(case["scores"], abs=1e-9, rel=0), case


@few
@given(binary_pairs)
def test_classification_equals_sklearn(pairs: list[tuple[str, str]]) -> None:
    predictions, references = columns(pairs)
    exact = sklearn.metrics.accuracy_score(references, predictions)
    assert score("accuracy", predictions, references)["accuracy"] == pytest.approx(100 * exact)
    mapped = [p if p in "01" and p else str(1 - int(r)) for p, r in pairs]
    f1 = sklearn.metrics.f1_score(
        [int(r) for r in references], [int(p) for p in mapped], zero_division=0
    )
    assert score("f1_with_invalid", predictions, references)["f1"] == pytest.approx(100 * f1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matthews = sklearn.metrics.matthews_corrcoef(references, predictions)
    ours = score("matthews_correlation", predictions, references)["matthews_correlation"]
    assert ours == pytest.approx(100 * matthews)


@few
@given(number_pairs)
def test_correlations_equal_scipy_and_are_never_nan(pairs: list[tuple[str, str]]) -> None:
    def number(text: str) -> float:
        return float(text) if text[:1].isdigit() else -1.0

    predictions, references = columns(pairs)
    left, right = [number(p) for p in predictions], [number(r) for r in references]
    constant = len(set(left)) == 1 or len(set(right)) == 1
    for name, peer in (("pearson", scipy.stats.pearsonr), ("spearmanr", scipy.stats.spearmanr)):
        expected = 0.0 if constant else 100 * float(peer(left, right)[0])
        assert score(name, predictions, references)[name] == pytest.approx(expected, abs=1e-6)


def test_constant_and_overflowing_numbers() -> None:
    assert score("pearson", ["2.0", "2.0"], ["1.0", "3.0"]) == {"pearson": 0.0}
    assert score("spearmanr", ["x", "y"], ["1.0", "3.0"]) == {"spearmanr": 0.0}
    assert score("pearson", ["1"], ["1"]) == {"pearson": 0.0}
    huge = score("pearson", ["1e308", "-1e308", "1e308"], ["1", "2", "3"])["pearson"]
    assert -100 <= huge <= 100


@few
@given(st.lists(st.tuples(TEXTS, GOLD), min_size=1, max_size=10))
def test_squad_bounds_and_best_answer(pairs: list[tuple[str, list[str]]]) -> None:
    predictions, golds = columns(pairs)
    scores = score("squad", predictions, golds)
    assert 0 <= scores["em"] <= 100
    assert 0 <= scores["f1"] <= 100
    single = [
        max(score("squad", [prediction], [[gold]])["f1"] for gold in answers)
        for prediction, answers in pairs
    ]
    assert scores["f1"] == pytest.approx(sum(single) / len(single))


def test_squad_by_hand() -> None:
    assert normalise_answer("The  O'Neil, of a U.S. river!") == "oneil of us river"
    # "queen of spain" against "the queen": 1 of 3 and 1 of 1 tokens, F1 = 2·(1/3)·1 / (4/3) = 1/2.
    scores = score("squad", ["Queen of Spain", "An apple"], [["the queen", "king"], ["apple!"]])
    assert scores == pytest.approx({"f1": 75.0, "em": 50.0})
    # Two answers that normalise to nothing match exactly but share no token.
    assert score("squad", ["the"], [["a"]]) == {"f1": 0.0, "em": 100.0}


def test_f1_multiclass_by_hand() -> None:
    # Class 0: P 1, R 1/2, F1 2/3; class 1: P 1/2, R 1, F1 2/3; class 2 is never found: 0.
    scores = score("f1_multiclass", ["0", "1", "1", "maybe"], ["0", "0", "1", "2"])
    assert scores["f1_multiclass"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 0) / 3)


def test_multirc_by_hand() -> None:
    predictions = ["1", "0", "1", "1", "x"]
    references = ["1", "0", "0", "1", "0"]
    groups = ["a", "a", "b", "b", "c"]
    # Only question a is all right. True positives 2, false positives 2 (the x counts as 1).
    scores = score("multirc", predictions, references, groups)
    assert scores == pytest.approx({"em": 100 / 3, "f1": 100 * 2 * 2 / (2 * 2 + 2)})


CANDIDATES = ["the cat sat on the mat", "a dog barked at them", "it rains"]
SEVERAL = [["the cat is on the mat", "a cat sat there"], ["the dog barked at them"], ["it rains"]]


def test_bleu_of_equal_texts_is_no_more_than_100() -> None:
    texts = ["a red house", "one small boat at sea", "Anna and her dog"]
    assert sacrebleu.corpus_bleu(texts, [texts]).score > 100
    assert score("bleu", texts, [[text] for text in texts]) == {"bleu": 100.0}


def test_bleu_equals_sacrebleu() -> None:
    streams = [
        ["the cat is on the mat", "the dog barked at them", "it rains"],
        ["a cat sat there", None, None],
    ]
    expected = sacrebleu.corpus_bleu(CANDIDATES, streams).score
    assert score("bleu", CANDIDATES, SEVERAL)["bleu"] == pytest.approx(expected, abs=1e-9)
    assert 0 < expected < 100


def test_rouge_equals_rouge_score() -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    best = [
        scorer.score_multi(texts, prediction)
        for prediction, texts in zip(CANDIDATES, SEVERAL, strict=True)
    ]
    expected = {
        name: 100 * sum(one[name].fmeasure for one in best) / len(best)
        for name in ("rouge1", "rouge2", "rougeL")
    }
    assert score("rouge", CANDIDATES, SEVERAL) == pytest.approx(expected, abs=1e-9)


class Installed:
    """A WordNet without a single synonym."""

    def ensure_loaded(self) -> None:
        pass

    def synsets(self, word: str) -> list[Any]:
        return []


class Missing:
    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def ensure_loaded(self) -> None:
        raise self.fault


def test_meteor_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nltk.corpus.wordnet", Installed())
    # All 3 words match in one chunk: 1 - 0.5·(1/3)³; the worse reference does not count.
    scores = score("meteor", ["the cat sat"], [["the cat sat", "the cat"]])
    assert scores["meteor"] == pytest.approx(100 * (1 - 0.5 / 27))


def test_meteor_equals_nltk_with_the_real_wordnet() -> None:
    from nltk.corpus import wordnet
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    try:
        wordnet.ensure_loaded()
    except LookupError:
        pytest.skip("WordNet is not installed")
    words = [[word_tokenize(text, preserve_line=True) for text in texts] for texts in SEVERAL]
    direct = [
        meteor_score(texts, word_tokenize(prediction, preserve_line=True))
        for prediction, texts in zip(CANDIDATES, words, strict=True)
    ]
    expected = 100 * sum(direct) / len(direct)
    assert score("meteor", CANDIDATES, SEVERAL)["meteor"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "fault", [LookupError("\n***\n  Resource wordnet not found.\n***"), BadZipFile("broken")]
)
def test_meteor_without_wordnet_says_so(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nltk.corpus.wordnet", Missing(fault))
    with pytest.raises(MetricUnavailableError, match="needs WordNet") as caught:
        score("meteor", ["a"], ["a"])
    assert "\n" not in str(caught.value)


PERFECT: dict[str, tuple[list[str], list[str] | None]] = {
    "accuracy": (["0", "x"], None),
    "f1_with_invalid": (["0", "1"], None),
    "f1_multiclass": (["0", "1", "2"], None),
    "matthews_correlation": (["0", "1"], None),
    "multirc": (["0", "1"], ["a", "b"]),
    "pearson": (["0.2", "1.4"], None),
    "spearmanr": (["0.2", "1.4"], None),
    "squad": (["York, king", "1999"], None),
    "bleu": (["it rains on all of us", "again and again and again"], None),
    "rouge": (["it rains", "again and again"], None),
}


@pytest.mark.parametrize("name", PERFECT)
def test_perfect_answers_score_100(name: str) -> None:
    answers, groups = PERFECT[name]
    scores = score(name, answers, answers, groups)
    assert scores == pytest.approx(dict.fromkeys(METRICS[name].outputs, 100.0))
    assert score(name, answers, [[answer] for answer in answers], groups) == scores


@few
@given(st.lists(st.tuples(ANSWERS, BINARY, ANSWERS), min_size=1, max_size=15), st.randoms())
def test_order_of_examples_does_not_matter(
    rows: list[tuple[str, str, str]], shuffler: random.Random
) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    for name in ("accuracy", "f1_with_invalid", "matthews_correlation", "multirc", "squad"):
        one, other = (
            score(
                name,
                [row[0] for row in order],
                [row[1] for row in order],
                [row[2] for row in order] if METRICS[name].grouped else None,
            )
            for order in (rows, shuffled)
        )
        assert one == pytest.approx(other)
        assert all(-100 - 1e-9 <= value <= 100 + 1e-9 for value in one.values())


@pytest.mark.parametrize("name", METRICS)
def test_modules_are_of_the_evaluate_kind(name: str) -> None:
    module = load(name)
    assert isinstance(module, evaluate.Metric)
    assert module.name == name
    assert module.description


def test_modules_work_batch_by_batch_and_combined() -> None:
    module = load("accuracy")
    module.add_batch(predictions=["0", "1"], references=["0", "0"])
    module.add(prediction="1", reference="1")
    assert module.compute()["accuracy"] == pytest.approx(200 / 3)
    both = evaluate.combine([load("accuracy"), load("f1_with_invalid")])
    scores = both.compute(predictions=["1", "0"], references=["1", "1"])
    assert scores == pytest.approx({"accuracy": 50.0, "f1": 200 / 3})


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", cache)
    score("accuracy", ["1"], ["1"])
    assert not cache.exists()


@pytest.mark.parametrize(
    ("metric", "predictions", "references", "groups", "fault"),
    [
        ("accuracy", [], [], None, "no predictions"),
        ("accuracy", ["1"], ["1", "0"], None, "1 predictions but 2 references"),
        ("accuracy", ["1"], [["1", "0"]], None, "one reference"),
        ("squad", ["1"], [[]], None, "no reference"),
        ("f1_with_invalid", ["1"], ["2"], None, "'2', not one of 0, 1"),
        ("f1_multiclass", ["1"], ["3"], None, "'3', not one of 0, 1, 2"),
        ("multirc", ["1"], ["1"], None, "group"),
        ("multirc", ["1"], ["1"], ["a", "b"], "1 predictions but 2 groups"),
    ],
)
def test_unfit_input_is_refused(
    metric: str, predictions: list[str], references: Any, groups: list[str] | None, fault: str
) -> None:
    with pytest.raises(DataError, match=fault) as caught:
        score(metric, predictions, references, groups)
    assert "\n" not in str(caught.value)


def test_unknown_metric_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean spearmanr"):
        score("spearman", ["1"], ["1"])
