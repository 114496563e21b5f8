"""All scores of a task, and those of the most frequent label."""

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from bench.errors import DataError
from bench.tasks import TASKS, Task, get_task
from bench.tasks.metrics import PART, majority_scores, score_task


@pytest.fixture(autouse=True)
def no_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Mock(ensure_loaded=Mock(side_effect=LookupError("\n***\nnot found")))
    monkeypatch.setattr("nltk.corpus.wordnet", missing)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_right_answers_score_100_under_the_declared_names(task: Task) -> None:
    answers = list(task.labels or ("it rains", "again and again", "16 or so it seems to me"))
    if task.name == "stsb":
        answers = ["0.4", "3.0"]
    scores = score_task(task, answers, [(answer,) for answer in answers], ["g"] * len(answers))
    assert [*scores.metrics] == [name for name in task.metrics if name not in scores.left_out]
    assert [*scores.left_out] == [name for name in task.metrics if name == "meteor"]
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
    scores = score_task(get_task("multirc"), ["1", "0", "0"], references, ["q" + PART] * 3)
    assert scores.metrics == pytest.approx({"f1": 200 / 3})
    assert scores.left_out == {"em": "no question has all its answers in the split"}


def test_unavailable_metric_is_left_out_with_its_reason() -> None:
    scores = score_task(get_task("e2e"), ["a b c d e"], [("a b c d e", "x")])
    assert {"bleu", "rougeL", "bleu_published", "rougeL_published_first"} < set(scores.metrics)
    assert set(scores.left_out) == {"meteor"}
    assert scores.left_out["meteor"].startswith("meteor needs WordNet, which nltk cannot read:")
    task = replace(get_task("e2e"), metrics=("meteor", "bleu"))
    with pytest.raises(DataError, match=r"task e2e: no meteor \(meteor needs WordNet, "):
        score_task(task, ["a b c d e"], [("a b c d e", "x")])


@pytest.mark.parametrize(
    ("name", "labels", "right", "groups", "expected"),
    [
        # A constant answer has no correlation.
        (
            "cola",
            "110",
            "1111111000",
            None,
            {"label": "1", "matthews_correlation": 0.0, "accuracy": 70.0},
        ),
        # The lowest class wins the tie. Class 1: precision 2/3, recall 1, F1 0.8; others 0.
        ("cb", "2112", "112", None, {"label": "1", "accuracy": 200 / 3, "f1_multiclass": 80 / 3}),
        ("multirc", "0", "001", "aab", {"label": "0", "f1": 0.0, "em": 50.0}),
        ("squad", "x", "x", None, None),
        ("stsb", "3", "3", None, None),
    ],
)
def test_majority_by_hand(name: str, labels: str, right: str, groups: Any, expected: Any) -> None:
    references = [(label,) for label in right]
    found = majority_scores(get_task(name), list(labels), references, groups and list(groups))
    assert found == (expected and (expected.pop("label"), pytest.approx(expected)))


def test_missing_rows_are_refused() -> None:
    with pytest.raises(DataError, match="task rte: the training rows have no labels"):
        majority_scores(get_task("rte"), [], [("1",)])
