"""Single metrics: equal to the published code, to peer libraries and to hand-computed cases."""

import json
import math
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import evaluate
import pytest
import sacrebleu
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.corpus.reader import WordNetCorpusReader
from nltk.translate.meteor_score import single_meteor_score
from rouge_score import rouge_scorer

from bench.errors import DataError, UnknownNameError
from bench.tasks.generation import published_tokens
from bench.tasks.metrics import METRICS, PART, load, normalise_answer, score

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


def test_published_scores() -> None:
    file = Path(__file__).parents[1] / "reference" / "metrics.json"
    cases = json.loads(file.read_text(encoding="utf-8"))
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
        huge = score(name, ["1e308", "-1e308", "1e308"], ["1", "2", "3"])[name]
        assert -100 <= huge <= 100


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


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        # Learned as "O ' Neil"; of the tokens o, neil and oneil none is shared.
        ("O ' Neil", ["O'Neil", "Neil"], (100.0, 100.0, 100.0, 100.0)),
        ("O'Neil", ["O'Neil"], (0.0, 0.0, 0.0, 0.0)),
        # "neil" is 1 of 1 and 1 of 2 tokens of the first answer, and all of the second.
        ("Neil!", ["O'Neil", "Neil"], (200 / 3, 0.0, 100.0, 100.0)),
        # Nothing is left of these; they agree, unlike in SQuAD.
        ("The", ["The"], (100.0, 100.0, 100.0, 100.0)),
        ("the", ["...", "x"], (100.0, 100.0, 100.0, 100.0)),
        ("x", ["The", "x"], (0.0, 0.0, 100.0, 100.0)),
    ],
)
def test_question_answering_by_hand(
    prediction: str, answers: list[str], expected: tuple[float, ...]
) -> None:
    scores = score("qa", [prediction], [answers])
    assert [*scores] == ["f1", "em", "f1_any", "em_any"]
    assert [*scores.values()] == pytest.approx(expected)
    assert METRICS["qa"].right(prediction, answers) == bool(expected[1])


def test_multirc_by_hand() -> None:
    predictions, references = ["1", "0", "1", "1", "x"], ["1", "0", "0", "1", "0"]
    # Only question a is all right. True positives 2, false positives 2 (the x counts as 1).
    scores = score("multirc", predictions, references, ["a", "a", "b", "b", "c"])
    assert scores == pytest.approx({"em": 100 / 3, "f1": 100 * 2 * 2 / (2 * 2 + 2)})
    # Other answers of question a are elsewhere: it counts for F1 alone.
    groups = ["a" + PART] * 2 + ["b", "b", "c"]
    assert score("multirc", predictions, references, groups) == scores | {"em": 0.0}
    groups = [group + PART for group in "aabbc"]
    assert score("multirc", predictions, references, groups) == {"f1": scores["f1"]}


CANDIDATES = ["the cat sat on the mat", "a dog barked at them", "it rains"]
SEVERAL = [["the cat is on the mat", "a cat sat there"], ["the dog barked at them"], ["it rains"]]


def test_bleu_equals_sacrebleu() -> None:
    streams = [[texts[0] for texts in SEVERAL], ["a cat sat there", None, None]]
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


@pytest.mark.parametrize("name", ["bleu_published", "rouge_published"])
def test_published_generation_scores(shared: Path, name: str) -> None:
    path = shared / "reference" / "generation_published.json"
    cases = json.loads(path.read_text(encoding="utf-8"))
    assert len(cases) > 30
    for case in cases:
        scores = score(name, case["predictions"], case["references"])
        assert scores.keys() == set(METRICS[name].outputs)
        for key, value in scores.items():
            published = re.sub("rouge(.)_published", r"rouge_\1/f_score", key).lower()
            expected = case["scores"][published.removesuffix("_published")]
            assert value == pytest.approx(expected, abs=1e-4), (case, key)


def test_published_scores_by_hand() -> None:
    # Equal 4-grams after the full stop is split off; "it's" is one unit less than "it 's".
    assert score("bleu_published", ["The cat sat on it."], ["the cat sat on it ."]) == {
        "bleu_published": pytest.approx(100)
    }
    # Sets {a, b} and {a, b, c}: F = 2·2/5. Bigrams {ab, ba} and {ab, bc}: 2·1/4. LCS ab: 2·2/6.
    scores = score("rouge_published", ["A b a"], [["a b c", "z"]])
    assert [*scores.values()] == pytest.approx([80, 50, 400 / 6])
    # The better reference does not count against the first alone; the shorter one does in BLEU.
    several = [["z z z z z", "the cat sat down", "the cat sat down on the mat"]]
    both = score("published_first", ["the cat sat down"], several)
    assert both == dict.fromkeys(METRICS["published_first"].outputs, 0.0)
    assert score("bleu_published", ["the cat sat down"], several)["bleu_published"] == 100
    # An empty answer is one wrong token: unigrams 6/7, all others right, lengths 7 and 6 + 2.
    answers, expected = ["the cat sat on the mat", ""], [["the cat sat on the mat"], ["a dog"]]
    by_hand = 100 * (6 / 7) ** (1 / 4) * math.exp(1 - 8 / 7)
    assert score("bleu_published", answers, expected)["bleu_published"] == pytest.approx(by_hand)
    assert published_tokens("she cannot cannot gonna go") == (
        ["she", "can", "not", "cannot", "gon", "na", "go"]
    )
    assert published_tokens(" Isn't 3,000.5  a-b -- (c), 'twas we've \n") == (
        ["is", "n't", "3,000.5", "a-b", "--", "(", "c", ")", ",", "'", "twas", "we", "'ve"]
    )


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Türkiye", "Tñrkiye", 0.0),
        ("été", "âtâ", 0.0),
        ("東京", "東京", 100.0),
        ("हिन्दी", "हिन्दी", 100.0),
        ("٣ apples!", "٣ pears", 50.0),
        ("snake_case", "snake case", 100.0),
    ],
)
def test_rouge_keeps_letters_and_digits_of_all_scripts(
    prediction: str, reference: str, expected: float
) -> None:
    scores = score("rouge", [prediction], [reference])
    assert [scores["rouge1"], scores["rougeL"]] == pytest.approx([expected] * 2)


@pytest.mark.filterwarnings("ignore")  # WordNet has no other languages here.
def test_meteor_equals_nltk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With WordNet as nltk reads it, from the files of Debian's wordnet-base."""
    debian = Path("/usr/share/wordnet")
    if not debian.is_dir():
        pytest.skip("needs Debian's WordNet: apt-get install wordnet-base")
    # nltk follows no links. Two files that nltk opens are missing; METEOR needs none of them.
    copy = Path(shutil.copytree(debian, tmp_path / "corpora" / "wordnet"))
    for index in copy.glob("index.*"):  # Reading all words takes seconds.
        lines = index.read_text("utf-8").splitlines(keepends=True)
        known = (line for line in lines if line.startswith(("auto ", "car ", "cable_car ")))
        index.write_text("".join(known), "utf-8")
    (copy / "index.sense").touch()
    (copy / "lexnames").write_text("".join(f"{n:02} name 0\n" for n in range(45)))
    monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    wordnet = WordNetCorpusReader(str(copy), None)
    monkeypatch.setattr("nltk.corpus.wordnet", wordnet)
    draw = random.Random(0)
    words = ["a", "auto", "car", "stopped", "stops", "dog", "ran", "quickly", "fast", "big", "."]
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 8))) for _ in range(60)]
    predictions, references = texts[:20], list(zip(texts[20:40], texts[40:], strict=True))
    total = 0.0
    for text, several in zip(predictions, references, strict=True):
        best = max(
            single_meteor_score(one.split(), text.split(), wordnet=wordnet) for one in several
        )
        assert score("meteor", [text], [several])["meteor"] == pytest.approx(100 * best)
        total += 100 * best
    assert score("meteor", predictions, references)["meteor"] == pytest.approx(total / 20)
    assert score("meteor", ["a car"], ["an auto"])["meteor"] > 0  # A synonym.


def test_meteor_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    no_synonyms = SimpleNamespace(ensure_loaded=lambda: None, synsets=lambda word: [])
    monkeypatch.setattr("nltk.corpus.wordnet", no_synonyms)
    # All 3 words match in one chunk: 1 - 0.5·(1/3)³; the worse reference does not count.
    scores = score("meteor", ["the cat sat"], [["the cat sat", "the cat"]])
    assert scores["meteor"] == pytest.approx(100 * (1 - 0.5 / 27))
    # Full stop and comma are tokens: 4 of 5 match in 2 chunks.
    scores = score("meteor", ["is a pub. It"], [["is a pub, it"]])
    assert scores["meteor"] == pytest.approx(100 * 0.8 * (1 - 0.5 / 8))


PERFECT = {name: ["0", "1"] for name in METRICS if name != "meteor"} | {
    "f1_multiclass": ["0", "1", "2"],
    "squad": ["York, king", "1999"],
    "rouge": ["it rains", "again and again"],
    "bleu": ["it rains on all of us", "again and again and again"],
    "qa": ["York king", "1999"],
}
PERFECT |= dict.fromkeys(("bleu_published", "rouge_published", "published_first"), PERFECT["bleu"])


@pytest.mark.parametrize("name", PERFECT)
def test_perfect_answers_score_100_in_every_form(name: str) -> None:
    answers = PERFECT[name]
    groups = answers if METRICS[name].grouped else None
    scores = score(name, answers, answers, groups)
    assert scores == pytest.approx(dict.fromkeys(METRICS[name].outputs, 100.0))
    module, lists = load(name), [[answer] for answer in answers]
    assert isinstance(module, evaluate.Metric)
    assert module.name == name
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
    ("metric", "predictions", "references", "fault"),
    [
        ("accuracy", [], [], "no predictions"),
        ("accuracy", ["1"], ["1", "0"], "1 predictions but 2 references"),
        ("accuracy", ["1"], [["1", "0"]], "one reference"),
        ("squad", ["1"], [[]], "no reference"),
        ("f1_with_invalid", ["1"], ["2"], "'2', not one of 0, 1"),
        ("f1_multiclass", ["1"], ["3"], "'3', not one of 0, 1, 2"),
        ("multirc", ["1"], ["1"], "1 predictions but 0 groups"),
    ],
)
def test_unfit_input_is_refused(
    metric: str, predictions: list[str], references: Any, fault: str
) -> None:
    with pytest.raises(DataError, match=fault) as caught:
        score(metric, predictions, references)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("use", [load, lambda name: score(name, ["1"], ["1"])])
def test_unknown_metric_offers_the_nearest(use: Callable[[str], Any]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean spearmanr"):
        use("spearman")
