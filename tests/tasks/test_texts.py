"""From hub rows to strings: equal to the published preprocessing, and clear about bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.tasks import get_task, list_tasks
from bench.tasks.catalog.mrqa import pad_punctuation
from bench.tasks.catalog.superglue import joined_highlights, mark_span, without_markup

SCORES = st.integers(0, 5000).map(lambda thousandths: float(np.float32(thousandths / 1000)))


def read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@pytest.fixture(scope="module")
def published(shared: Path) -> list[dict[str, Any]]:
    lines = (shared / "reference" / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_texts_equal_the_published_ones(shared: Path, published: list[dict[str, Any]]) -> None:
    files: dict[Path, list[dict[str, Any]]] = {}
    for case in published:
        path = shared / "data" / case["task"] / f"{case['split']}.parquet"
        rows = files.setdefault(path, read_rows(path))
        pairs = get_task(case["task"]).to_text(rows[case["row"]], case["training"])
        made = [{"source": pair.source, "target": pair.target} for pair in pairs]
        assert made == case["pairs"], (case["task"], case["row"])
        if case["references"] is not None:
            assert [list(pair.references) for pair in pairs] == [case["references"]]
    assert len({case["task"] for case in published}) == 22


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_every_real_row_becomes_text(shared: Path, task: Any) -> None:
    folder = shared / "data" / task.name
    if not any(folder.glob("*.parquet")):
        pytest.skip(f"there are no real rows of {task.name}")
    for path in folder.glob("*.parquet"):
        for row in read_rows(path):
            training, evaluation = task.to_text(row, True), task.to_text(row, False)
            assert len(evaluation) == 1
            assert evaluation[0].source == training[0].source
            assert evaluation[0].source.startswith(f"{task.published_name} ")
            if task.labels is not None:
                assert evaluation[0].target == task.labels[task.label_of(row)]


def test_real_wsc_rows_that_cannot_be_marked(shared: Path) -> None:
    task = get_task("wsc.fixed")
    assert task.defect_of is not None
    folder = shared / "data" / "wsc.fixed"
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in read_rows(path)]
    # In one row the pronoun's index is off, in the other both spans begin at the same word.
    defects = [row["span2_text"] for row in rows if task.defect_of(row)]
    assert len(rows) == 658
    assert defects == ["it", "their"]


def test_generation_tasks_as_declared() -> None:
    e2e = get_task("e2e").to_text(
        {"meaning_representation": "name[Zizzi], food[Thai]", "human_reference": "Zizzi is Thai."},
        False,
    )
    assert [(pair.source, pair.target) for pair in e2e] == [
        ("e2e meaning: name[Zizzi], food[Thai]", "Zizzi is Thai.")
    ]
    (common,) = get_task("common_gen").to_text(
        {"concepts": ["dog", "run"], "target": "A dog runs."}, True
    )
    assert common.source == "common_gen concepts: dog, run"
    triples = {"input": ["A | b | C", "C | d | E"], "target": "A b C.", "references": ["x", "y"]}
    (web,) = get_task("web_nlg").to_text(triples, False)
    assert web.source == "web_nlg triples: A | b | C ; C | d | E"
    assert (web.target, web.references) == ("A b C.", ("x", "y"))
    (alone,) = get_task("web_nlg").to_text({**triples, "references": []}, True)
    assert alone.references == ("A b C.",)


def test_newsqa_reads_the_columns_of_its_siblings() -> None:
    row = {"question": "Who?", "context": "Ann, of Ur.", "answers": ["Ann's", "Ann"]}
    (pair,) = get_task("newsqa").to_text(row, True)
    assert pair.source == "newsqa question: Who ?  context: Ann , of Ur . "
    assert pair.target == "Ann ' s"
    assert pair.references == ("Ann's", "Ann")


@pytest.mark.parametrize(
    ("text", "padded"),
    [
        ("a,b", "a , b"),
        ("snake_case é 3½", "snake_case é 3½"),
        ("don't  (stop)\n", "don ' t ( stop ) "),
        ("cafe\u0301!", "cafe\u0301 ! "),
        ("5€", "5 € "),
    ],
)
def test_punctuation_is_padded(text: str, padded: str) -> None:
    assert pad_punctuation(text) == padded


def test_wsc_spans_are_marked() -> None:
    row = {
        "text": "This is a test sentence .",
        "span1_text": "test",
        "span1_index": 3,
        "span2_text": "This",
        "span2_index": 0,
        "label": 0,
    }
    (pair,) = get_task("wsc.fixed").to_text(row, True)
    assert pair.source == "superglue-wsc.fixed text: # This # is a * test * sentence ."
    swapped = {**row, "span1_text": "This", "span1_index": 0, "span2_text": "test"}
    (pair,) = get_task("wsc.fixed").to_text({**swapped, "span2_index": 3}, True)
    assert pair.source == "superglue-wsc.fixed text: * This * is a # test # sentence ."


def test_wsc_span_elsewhere_stays_unmarked() -> None:
    assert mark_span("a b c", "c", 1, "*") == ("a b c", False)
    assert mark_span("a (b c", "(b", 1, "*") == ("a * (b * c", True)
    defect_of = get_task("wsc.fixed").defect_of
    assert defect_of is not None
    row = {"text": "a b c", "span1_text": "c", "span2_text": "a", "span2_index": 0}
    assert defect_of({**row, "span1_index": 2}) is None
    assert defect_of({**row, "span1_index": 1}) is not None


def test_multirc_markup_and_groups() -> None:
    assert without_markup("<b>Sent 1: </b>One.<br><b>Two") == "Sent 1: One. Two"
    row = {
        "question": "Q?",
        "answer": "<b>A",
        "paragraph": "P<br>P",
        "idx": {"paragraph": 3, "question": 7, "answer": 1},
        "label": 1,
    }
    (pair,) = get_task("multirc").to_text(row, False)
    assert pair.source == "superglue-multirc question: Q? answer: A paragraph: P P"
    (sibling,) = get_task("multirc").to_text(
        {**row, "idx": {"paragraph": 3, "question": 7, "answer": 2}}, False
    )
    (other,) = get_task("multirc").to_text(
        {**row, "idx": {"paragraph": 3, "question": 8, "answer": 2}}, False
    )
    assert pair.group == sibling.group != other.group


def test_record_highlights_and_answers() -> None:
    assert joined_highlights("One.\n@highlight\nTwo\n@highlight\nThree") == "One. Two. Three"
    row = {
        "passage": 'He said "go"\n@highlight\nThey went',
        "query": "@placeholder went",
        "entities": ["Al", "Bo"],
        "answers": ["Bo", "Al"],
    }
    training = get_task("record").to_text(row, True)
    assert [pair.target for pair in training] == ["Bo", "Al"]
    (evaluation,) = get_task("record").to_text(row, False)
    assert evaluation.source == (
        "superglue-record record query: @placeholder went entities: Al, Bo "
        'passage: He said "go" They went'
    )
    assert (evaluation.target, evaluation.references) == ("Bo", ("Bo", "Al"))


@given(SCORES)
def test_stsb_rounds_as_the_published_code(score: float) -> None:
    row = {"sentence1": "a", "sentence2": "b", "label": score}
    (pair,) = get_task("stsb").to_text(row, True)
    assert pair.target == str(np.round((score * 5) / 5, decimals=1))
    label_of = get_task("stsb").label_of
    assert label_of is not None
    assert label_of(row) == (1 if score > 2.5 else 0)


COLA = {"sentence": "Go.", "label": 1}
STSB = {"sentence1": "a", "sentence2": "b", "label": 3.0}
WINOGRANDE = {"sentence": "_ ran", "option1": "a", "option2": "b", "answer": "1"}
SCITAIL = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}
NQ = {"question": "q", "context": "c", "answers": ["a"]}
SQUAD = {"question": "q", "context": "c", "answers": {"text": ["a"], "answer_start": [0]}}
E2E = {"meaning_representation": "m", "human_reference": "h"}
MULTIRC = {"question": "q", "answer": "a", "paragraph": "p", "label": 0, "idx": {"question": 1}}


def test_labels_that_the_hub_keeps_as_text() -> None:
    targets = [get_task("winogrande").to_text({**WINOGRANDE, "answer": a}, True) for a in "12"]
    assert [pairs[0].target for pairs in targets] == ["0", "1"]
    assert targets[0][0].source == "winogrande sentence: _ ran option0: a option1: b"
    named = [
        get_task("scitail").to_text({**SCITAIL, "gold_label": label}, True)[0].target
        for label in ("entailment", "neutral")
    ]
    assert named == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("cola", {"label": 1}, "'sentence'"),
        ("cola", {**COLA, "label": -1}, "'label'"),
        ("cola", {**COLA, "label": 7}, "'label'"),
        ("cola", {**COLA, "label": None}, "'label'"),
        ("cola", {**COLA, "label": 0.5}, "'label'"),
        ("cola", {**COLA, "sentence": None}, "'sentence'"),
        ("stsb", {**STSB, "label": -1.0}, "'label'"),
        ("stsb", {**STSB, "label": "x"}, "'label'"),
        ("winogrande", {**WINOGRANDE, "answer": ""}, "'answer'"),
        ("scitail", {**SCITAIL, "gold_label": "-"}, "'gold_label'"),
        ("nq", {**NQ, "answers": []}, "'answers'"),
        ("squad", {**SQUAD, "answers": ["a"]}, "'answers'"),
        ("squad", {**SQUAD, "answers": {"text": []}}, "'text'"),
        ("e2e", {**E2E, "human_reference": ""}, "'human_reference'"),
        ("multirc", MULTIRC, "'idx'"),
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


def test_all_missing_columns_are_named_at_once() -> None:
    with pytest.raises(DataError, match=r"task rte: missing column 'sentence2', 'label' \(found:"):
        get_task("rte").to_text({"sentence1": "a", "idx": 3}, True)
