"""Single metrics: equal to the published code, to peer libraries and to hand-computed cases."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import evaluate
import pytest
import sacrebleu
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from bench.errors import DataError, UnknownNameError
from bench.tasks.metrics import METRICS, load, normalise_answer, score

ANSWERS = st.sampled_from(["0", "1", "2", "", "yes"])
BINARY = st.sampled_from(["0", "1"])
NUMBERS = st.one_of(
    st.floats(0, 5).map(lambda number: f"{number:.1f}"), st.sampled_from(["abc", "", "nan", "inf"])
)
WORDS = st.sampled_from(["the", "a", "cat", "Paris", "U.S.", "1999", "!"])
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)
GOLD = st.lists(TEXTS, min_size=1, max_size=3)
few = settings(max_examples=30, deadline=None)


def columns(pairs: list[Any]) -> tuple[list[Any], list[Any]]:
    return [left for left, _ in pairs], [right for _, right in pairs]


def test_published_scores(reference: Path) -> None:
    cases = json.loads((reference / "metrics.json").read_text(encoding="utf-8"))
    assert len({case["metric"] for case in cases}) == 6
    for case in cases:
        inputs = {"predictions": case["predictions"], "references": case["targets"]}
        scores = score(case["metric"], **inputs)
        assert scores == pytest.approx(case["scores"], abs=1e-9, rel=0), case
        assert load(case["metric"]).compute(**inputs) == scores


@few
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_correlations_equal_scipy_and_are_never_nan(pairs: list[tuple[str, str]]) -> None:
    left, right = [
        [float(t) if t[:1].isdigit() else -1.0 for t in texts] for texts in columns(pairs)
    ]
    constant = len(set(left)) == 1 or len(set(right)) == 1
    for name, peer in (("pearson", scipy.stats.pearsonr), ("spearmanr", scipy.stats.spearmanr)):
        expected = 0.0 if constant else 100 * float(peer(left, right)[0])
        assert score(name, *columns(pairs))[name] == pytest.approx(expected, abs=1e-6)


def test_overflowing_numbers() -> None:
    huge = ["1e308", "-1e308", "1e308"]
    assert -100 <= score("pearson", huge, ["1", "2", "3"])["pearson"] <= 100


@few
@given(st.lists(st.tuples(TEXTS, GOLD), min_size=1, max_size=10))
def test_squad_bounds_and_best_answer(pairs: list[tuple[str, list[str]]]) -> None:
    scores = score("squad", *columns(pairs))
    assert 0 <= scores["em"] <= 100 >= scores["f1"] >= 0
    single = [max(score("squad", [p], [[gold]])["f1"] for gold in golds) for p, golds in pairs]
    assert scores["f1"] == pytest.approx(sum(single) / len(single))
    right = [METRICS["squad"].right(prediction, golds) for prediction, golds in pairs]
    assert scores["em"] == pytest.approx(100 * sum(right) / len(right))


def test_squad_by_hand() -> None:
    assert normalise_answer("The  O'Neil, of a U.S. river!") == "oneil of us river"
    # "queen of spain" against "queen": 1 of 3 and 1 of 1 tokens, F1 = 2·(1/3)·1 / (4/3) = 1/2.
    scores = score("squad", ["Queen of Spain", "An apple"], [["the queen", "king"], ["apple!"]])
    assert scores == pytest.approx({"f1": 75.0, "em": 50.0})
    # Two answers that normalise to nothing match exactly but share no token.
    assert score("squad", ["the"], [["a"]]) == {"f1": 0.0, "em": 100.0}


def test_multirc_by_hand() -> None:
    predictions, references = ["1", "0", "1", "1", "x"], ["1", "0", "0", "1", "0"]
    # Only question a is all right. True positives 2, false positives 2 (the x counts as 1).
    scores = score("multirc", predictions, references, ["a", "a", "b", "b", "c"])
    assert scores == pytest.approx({"em": 100 / 3, "f1": 100 * 2 * 2 / (2 * 2 + 2)})


CANDIDATES = ["the cat sat on the mat", "a dog barked at them", "it rains"]
SEVERAL = [["the cat is on the mat", "a cat sat there"], ["the dog barked at them"], ["it rains"]]


def test_bleu_equals_sacrebleu() -> None:
    first = ["the cat is on the mat", "the dog barked at them", "it rains"]
    streams = [first, ["a cat sat there", None, None]]
    expected = sacrebleu.corpus_bleu(CANDIDATES, streams).score
    assert score("bleu", CANDIDATES, SEVERAL)["bleu"] == pytest.approx(expected, abs=1e-9)
    assert 0 < expected < 100
    texts = ["a red house", "one small boat at sea", "Anna and her dog"]
    assert sacrebleu.corpus_bleu(texts, [texts]).score > 100  # by rounding
    assert score("bleu", texts, texts) == {"bleu": 100.0}


def test_rouge_equals_rouge_score() -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = rouge_scorer.RougeScorer(names)
    best = [scorer.score_multi(t, p) for p, t in zip(CANDIDATES, SEVERAL, strict=True)]
    expected = {name: 100 * sum(one[name].fmeasure for one in best) / len(best) for name in names}
    assert score("rouge", CANDIDATES, SEVERAL) == pytest.approx(expected, abs=1e-9)


def test_meteor_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    no_synonyms = SimpleNamespace(ensure_loaded=lambda: None, synsets=lambda word: [])
    monkeypatch.setattr("nltk.corpus.wordnet", no_synonyms)
    # All 3 words match in one chunk: 1 - 0.5·(1/3)³; the worse reference does not count.
    scores = score("meteor", ["the cat sat"], [["the cat sat", "the cat"]])
    assert scores["meteor"] == pytest.approx(100 * (1 - 0.5 / 27))


PERFECT = {name: ["0", "1"] for name in METRICS if name != "meteor"} | {
    "f1_multiclass": ["0", "1", "2"],
    "squad": ["York, king", "1999"],
    "rouge": ["it rains", "again and again"],
    "bleu": ["it rains on all of us", "again and again and again"],
}


@pytest.mark.parametrize("name", PERFECT)
def test_perfect_answers_score_100_in_every_form(name: str) -> None:
    answers = PERFECT[name]
    groups = answers if METRICS[name].grouped else None
    scores = score(name, answers, answers, groups)
    assert scores == pytest.approx(dict.fromkeys(METRICS[name].outputs, 100.0))
    lists = [[answer] for answer in answers]
    assert score(name, answers, lists, groups) == scores
    module = load(name)
    assert isinstance(module, evaluate.Metric)
    assert module.name == name
    assert module.description
    more = {"groups": groups} if groups else {}
    assert module.compute(predictions=answers, references=lists, **more) == scores
    assert all(METRICS[name].right(answer, [answer, "?"]) for answer in answers)


@few
@given(st.lists(st.tuples(ANSWERS, BINARY, ANSWERS), min_size=1, max_size=15), st.randoms())
def test_order_of_examples(rows: list[tuple[str, str, str]], shuffler: random.Random) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    for name in ("accuracy", "f1_with_invalid", "matthews_correlation", "multirc", "squad"):
        columns_of = [map(list, zip(*order, strict=True)) for order in (rows, shuffled)]
        one, other = (score(name, *each) for each in columns_of)
        assert one == pytest.approx(other)
        assert all(-100 - 1e-9 <= value <= 100 + 1e-9 for value in one.values())


def test_modules_work_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path / "cache")
    module = load("accuracy")
    module.add_batch(predictions=["0", "1"], references=["0", "0"])
    module.add(prediction="1", reference="1")
    assert module.compute()["accuracy"] == pytest.approx(200 / 3)
    both = evaluate.combine([load("accuracy"), load("f1_with_invalid")])
    scores = both.compute(predictions=["1", "0"], references=["1", "1"])
    assert scores == pytest.approx({"accuracy": 50.0, "f1": 200 / 3})
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("metric", "predictions", "references", "groups", "fault"),
    [
        ("accuracy", [], [], None, "no predictions"),
        ("accuracy", ["1"], ["1", "0"], None, "1 predictions but 2 references"),
        ("accuracy", ["1"], [["1", "0"]], None, "one reference"),
        ("squad", ["1"], [[]], None, "no reference"),
        ("f1_with_invalid", ["1"], ["2"], None, "'2', not one of 0, 1"),
        ("f1_multiclass", ["1"], ["3"], None, "'3', not one of 0, 1, 2"),
        ("multirc", ["1"], ["1"], None, "1 predictions but 0 groups"),
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
        load("spearman")
