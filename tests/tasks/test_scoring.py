"""All metrics of a task at once, and what the most frequent label would score."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import DataError
from bench.tasks import get_task, list_tasks
from bench.tasks.metrics import majority_scores, score_task


@pytest.fixture(autouse=True)
def no_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def ensure_loaded(self) -> None:
            raise LookupError

    monkeypatch.setattr("nltk.corpus.wordnet", Missing())


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_right_answers_score_100_under_the_declared_names(task: Any) -> None:
    answers = list(task.labels or ("0.4", "3.0", "1.6 or so it seems to me"))
    if task.name == "stsb":
        answers = ["0.4", "3.0"]
    scores = score_task(task, answers, [(answer,) for answer in answers], ["g"] * len(answers))
    assert [*scores.metrics, *scores.left_out] == list(task.metrics)
    assert scores.metrics == pytest.approx(dict.fromkeys(scores.metrics, 100.0))
    assert scores.valid_label_share == (1.0 if task.label_of else None)


def test_mrpc_by_hand() -> None:
    predictions = ["1", " 0", "no", "1\n"]
    scores = score_task(get_task("mrpc"), predictions, [("1",), ("0",), ("0",), ("1",)])
    # The invalid answer counts as a 1 that is wrong: precision 2/3, recall 1.
    assert scores.metrics == pytest.approx({"accuracy": 75.0, "f1": 80.0})
    assert scores.valid_label_share == pytest.approx(0.75)
    assert scores.left_out == {}


def test_stsb_counts_numbers_as_valid() -> None:
    scores = score_task(get_task("stsb"), ["1.0", "x", "nan", "4"], [("1.2",)] * 4)
    assert scores.valid_label_share == pytest.approx(0.5)
    assert scores.metrics == {"pearson": 0.0, "spearmanr": 0.0}


def test_multirc_groups_answers_by_question() -> None:
    references = [("1",), ("0",), ("1",)]
    scores = score_task(get_task("multirc"), ["1", "0", "0"], references, ("q", "q", "r"))
    assert scores.metrics == pytest.approx({"f1": 200 / 3, "em": 50.0})
    with pytest.raises(DataError, match="group"):
        score_task(get_task("multirc"), ["1", "0", "0"], references, (None, None, None))


def test_questions_take_the_best_gold_answer() -> None:
    scores = score_task(get_task("nq"), ["the Rhine"], [("Danube", "Rhine river")])
    assert scores.metrics == pytest.approx({"f1": 200 / 3, "em": 0.0})
    assert scores.valid_label_share is None


def test_metric_that_is_unavailable_is_left_out_with_its_reason() -> None:
    scores = score_task(get_task("e2e"), ["a b c d e"], [("a b c d e", "x")])
    assert set(scores.metrics) == {"bleu", "rougeL", "rouge1", "rouge2"}
    assert set(scores.left_out) == {"meteor"}
    assert "WordNet" in scores.left_out["meteor"]


def test_no_predictions_are_refused() -> None:
    with pytest.raises(DataError, match="no predictions"):
        score_task(get_task("rte"), [], [])


def test_majority_of_cola_has_no_correlation() -> None:
    labels, references = ["1", "1", "0"], [("1",)] * 7 + [("0",)] * 3
    scores = majority_scores(get_task("cola"), labels, references)
    assert scores == pytest.approx({"matthews_correlation": 0.0, "accuracy": 70.0})


def test_majority_tie_goes_to_the_lowest_class() -> None:
    scores = majority_scores(get_task("cb"), ["2", "1", "1", "2"], [("1",), ("1",), ("2",)])
    # Class 1 alone is found: precision 2/3, recall 1, F1 0.8, over three classes.
    assert scores == pytest.approx({"accuracy": 200 / 3, "f1_multiclass": 80 / 3})


def test_majority_of_multirc_needs_groups() -> None:
    references = [("0",), ("0",), ("1",)]
    scores = majority_scores(get_task("multirc"), ["0"], references, ["a", "a", "b"])
    assert scores == pytest.approx({"f1": 0.0, "em": 50.0})


def test_majority_exists_for_labels_only() -> None:
    assert majority_scores(get_task("squad"), ["x"], [("x",)]) is None
    assert majority_scores(get_task("stsb"), ["3.0"], [("3.0",)]) is None
    with pytest.raises(DataError, match="task rte: the training rows have no labels"):
        majority_scores(get_task("rte"), [], [("1",)])
