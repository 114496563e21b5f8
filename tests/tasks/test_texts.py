"""From rows to texts: equal to the published preprocessing, with clear errors for bad rows."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.tasks import Row, TextPair, get_task
from bench.tasks.metrics import pad_punctuation, score_task

SCORES = st.integers(0, 5000).map(lambda thousandths: float(np.float32(thousandths / 1000)))


@cache
def read_rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def one(name: str, row: Row, training: bool = False) -> TextPair:
    (pair,) = get_task(name).to_text(row, training)
    return pair


def test_texts_equal_the_published_ones(shared: Path) -> None:
    text = (shared / "reference" / "texts.jsonl").read_text(encoding="utf-8")
    cases = [json.loads(line) for line in text.splitlines()]
    for case in cases:
        rows = read_rows(shared / "data" / case["task"] / f"{case['split']}.parquet")
        pairs = get_task(case["task"]).to_text(rows[case["row"]], case["training"])
        made = [{"source": pair.source, "target": pair.target} for pair in pairs]
        assert made == case["pairs"], (case["task"], case["row"])
        if case["references"] is not None:
            assert [list(pair.references) for pair in pairs] == [case["references"]]
    assert (len(cases), len({case["task"] for case in cases})) == (368, 22)


def test_real_wsc_rows_without_marks(shared: Path) -> None:
    defect_of = get_task("wsc.fixed").defect_of
    files = sorted((shared / "data" / "wsc.fixed").glob("*.parquet"))
    rows = [row for path in files for row in read_rows(path)]
    # In one row the pronoun's index is off, in the other both spans begin at one word.
    assert len(rows) == 658
    assert [row["span2_text"] for row in rows if defect_of(row)] == ["it", "their"]


WSC = {"text": "This is a test sentence .", "span1_text": "", "span2_text": "", "label": 0}


@pytest.mark.parametrize(
    ("noun", "pronoun", "text", "defect"),
    [
        (("test", 3), ("This", 0), "# This # is a * test * sentence .", False),
        (("This", 0), ("test", 3), "* This * is a # test # sentence .", False),
        (("a tes", 2), ("This", 0), "# This # is * a tes *t sentence .", False),
        (("test", 2), ("This", 0), "# This # is a test sentence .", True),
        (("This", 0), ("TEST", 3), "* This * is a test sentence .", True),
        # The pronoun's index grows by two though the noun has no marks.
        (("That", 0), ("test", 3), "This is a test sentence .", True),
        (("(test", 9), ("This", 0), "# This # is a test sentence .", True),
    ],
)
def test_wsc_marks(noun: Any, pronoun: Any, text: str, defect: bool) -> None:
    spans = {"span1_text": noun[0], "span1_index": noun[1]}
    row = {**WSC, **spans, "span2_text": pronoun[0], "span2_index": pronoun[1]}
    assert one("wsc.fixed", row).source == f"superglue-wsc.fixed text: {text}"
    defect_of = get_task("wsc.fixed").defect_of
    assert (defect_of(row) is not None) == defect


def test_multirc_markup_and_groups() -> None:
    row = {"question": "<b>Q 1: </b>Q?", "answer": "<b>A", "paragraph": "P<br>P", "label": 1}
    indices = [{"paragraph": 3, "question": q, "answer": a} for q, a in ((7, 1), (7, 2), (8, 1))]
    pair, sibling, other = (one("multirc", {**row, "idx": index}) for index in indices)
    assert pair.source == "superglue-multirc question: Q 1: Q? answer: A paragraph: P P"
    assert pair.group == sibling.group != other.group
    assert pair.target == "1"


def test_record_passages_and_answers() -> None:
    row = {
        "passage": 'He said "go"\n@highlight\nThey went\n@highlight\nEnd.\n@highlight\nLast',
        "query": "@placeholder went",
        "entities": ["Al", "Bo"],
        "answers": ["Bo", "Al"],
    }
    training = get_task("record").to_text(row, True)
    assert [pair.target for pair in training] == ["Bo", "Al"]
    pair = one("record", row)
    assert pair.source == (
        "superglue-record record query: @placeholder went entities: Al, Bo "
        'passage: He said "go" They went. End. Last'
    )
    assert (pair.target, pair.references) == ("Bo", ("Bo", "Al"))


def test_punctuation_is_padded() -> None:
    assert pad_punctuation("a,b") == "a , b"
    assert pad_punctuation("snake_case é 3½") == "snake_case é 3½"
    assert pad_punctuation("don't  (stop)\n") == "don ' t ( stop ) "
    assert pad_punctuation("cafe\u0301! 5€") == "cafe\u0301 ! 5 € "


@given(st.text("aé\u0301東_3½,.!'\u2019€\u00ad \n\t"))
def test_padding_only_adds_white_space(text: str) -> None:
    padded = pad_punctuation(text)
    assert "".join(padded.split()) == "".join(text.split())
    assert "  " not in padded


@pytest.mark.parametrize("name", ["newsqa", "squad"])
def test_question_answering_pads_all_but_the_references(name: str) -> None:
    answers: Any = ["Ann's", "Ann"]
    if name == "squad":
        answers = {"text": answers, "answer_start": [0, 0]}
    pair = one(name, {"question": "Who?", "context": "Ann, of Ur.", "answers": answers}, True)
    assert pair.source == f"{name} question: Who ?  context: Ann , of Ur . "
    assert pair.target == "Ann ' s"
    assert pair.references == ("Ann's", "Ann")


@pytest.mark.parametrize("name", ["squad", "nq", "hotpotqa", "searchqa", "record"])
def test_targets_of_real_rows_score_100(shared: Path, name: str) -> None:
    task = get_task(name)
    rows = [row for file in (shared / "data" / name).glob("*.parquet") for row in read_rows(file)]
    pairs = [pair for row in rows for pair in task.to_text(row, True)]
    scores = score_task(task, [own.target for own in pairs], [own.references for own in pairs])
    assert (scores.metrics["f1"], scores.metrics["em"]) == (100, 100)
    assert len(pairs) > 60


def test_generation_tasks() -> None:
    row: dict[str, Any] = {"meaning_representation": "name[Zizzi]", "human_reference": "Zizzi."}
    pair = one("e2e", row)
    assert (pair.source, pair.target) == ("e2e meaning: name[Zizzi]", "Zizzi.")
    row = {"concepts": ["dog", "run"], "target": "A dog runs."}
    pair = one("common_gen", row, True)
    assert (pair.source, pair.target) == ("common_gen concepts: dog, run", "A dog runs.")
    row = {"input": ["A | b | C", "C | d | E"], "target": "A b C.", "references": ["x", "y"]}
    pair = one("web_nlg", row)
    assert pair.source == "web_nlg triples: A | b | C ; C | d | E"
    assert (pair.target, pair.references) == ("A b C.", ("x", "y"))
    assert one("web_nlg", {**row, "references": []}, True).references == ("A b C.",)


@given(SCORES)
def test_stsb_rounds_as_the_published_code(score: float) -> None:
    row = {"sentence1": "a", "sentence2": "b", "label": score}
    pair = one("stsb", row)
    assert pair.source == "stsb sentence1: a sentence2: b"
    assert pair.target == str(np.round((score * 5) / 5, decimals=1))
    label_of = get_task("stsb").label_of
    assert label_of(row) == (1 if score > 2.5 else 0)


COLA = {"sentence": "Go.", "label": 1}
STSB = {"sentence1": "a", "sentence2": "b", "label": 3.0}
WINOGRANDE = {"sentence": "_ ran", "option1": "a", "option2": "b", "answer": "1"}
SCITAIL = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}
NQ = {"question": "q", "context": "c", "answers": ["a"]}
E2E = {"meaning_representation": "m", "human_reference": "h"}
MULTIRC = {"question": "q", "answer": "a", "paragraph": "p", "label": 0, "idx": {"question": 1}}


def test_labels_that_the_hub_keeps_as_text() -> None:
    pairs = [one("winogrande", {**WINOGRANDE, "answer": answer}) for answer in "12"]
    assert [pair.target for pair in pairs] == ["0", "1"]
    assert pairs[0].source == "winogrande sentence: _ ran option0: a option1: b"
    for label in (1, 1.0, "1", True, " 1"):  # As other formats keep them.
        assert one("winogrande", {**WINOGRANDE, "answer": label}).target == "0"
        assert one("cola", {**COLA, "label": label}).target == "1"
    rows = [{**SCITAIL, "gold_label": label} for label in ("entailment", "neutral")]
    assert [one("scitail", row).target for row in rows] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("cola", {**COLA, "label": -1}, "'label' holds -1, not one of 0, 1;"),
        ("cola", {**COLA, "label": 0.5}, "'label'"),
        ("cola", {**COLA, "sentence": None}, "'sentence' holds None, not a text"),
        ("stsb", {**STSB, "label": -1.0}, "'label' holds -1.0, not a score from 0 to 5;"),
        ("stsb", {**STSB, "label": "x"}, "'label'"),
        ("winogrande", {**WINOGRANDE, "answer": ""}, "'answer'"),
        ("scitail", {**SCITAIL, "gold_label": "-"}, "'gold_label'"),
        ("nq", {**NQ, "answers": []}, "'answers' holds no text; remove such rows (in squad_v2"),
        ("nq", {**NQ, "answers": [["a"]]}, "'answers'"),
        ("squad", {**NQ, "answers": ["a"]}, "'answers'"),
        ("squad", {**NQ, "answers": {"text": []}}, "'text'"),
        ("e2e", {**E2E, "human_reference": ""}, "'human_reference'"),
        ("multirc", MULTIRC, "'paragraph'"),
        ("wsc.fixed", WSC, "'span1_index'"),
        ("rte", {"sentence1": "a", "label": 0}, "'sentence2' holds None, not a text"),
        ("rte", {"sentence1": "a", "sentence2": "b"}, "'label' holds None, not one of 0, 1;"),
    ],
)
def test_bad_rows_name_task_and_column(name: str, row: dict[str, Any], column: str) -> None:
    with pytest.raises(DataError) as caught:
        get_task(name).to_text(row, True)
    message = str(caught.value)
    assert message.startswith(f"task {name}: ")
    assert column in message
    assert ";" in message
    assert "\n" not in message
