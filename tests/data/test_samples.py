"""The bundled samples: unchanged rows, and texts, labels and columns that agree."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.data.sources import SAMPLES, bundled_rows
from bench.tasks import list_tasks

GOLDEN: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "samples.json").read_text(encoding="utf-8")
)
TASKS = [task.name for task in list_tasks()]
PAIR = ("sentence1", "sentence2")
# Columns that make an input, apart from its label.
INPUTS = {
    **{"cola": ("sentence",), "sst2": ("sentence",), "wsc.fixed": ("text",)},
    **{"winogrande": ("sentence",), "yelp_polarity": ("text",), "record": ("passage", "query")},
    **{"mnli": ("premise", "hypothesis"), "cb": ("premise", "hypothesis")},
    **{"qqp": ("question1", "question2"), "qnli": ("question", "sentence")},
    **{"boolq": ("question", "passage"), "multirc": ("paragraph", "question", "answer")},
    **dict.fromkeys(("mrpc", "stsb", "rte", "wic", "scitail", "paws"), PAIR),
    **dict.fromkeys(("squad", "nq", "hotpotqa", "searchqa", "newsqa"), ("context", "question")),
    "e2e": ("meaning_representation", "human_reference"),
    "common_gen": ("concepts", "target"),
    "web_nlg": ("input", "target"),
}


def rows_of(task: str, split: str = "train") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = bundled_rows(task, split).to_list()
    return rows


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def test_every_task_has_the_splits_its_rule_reads() -> None:
    assert sorted(GOLDEN) == sorted(TASKS) == sorted(folder.name for folder in SAMPLES.iterdir())
    for task in list_tasks():
        assert set(task.hub.splits) <= set(GOLDEN[task.name]), task.name


@pytest.mark.parametrize("task", TASKS)
def test_rows_and_features_are_those_that_were_generated(task: str) -> None:
    found = {}
    for file in (SAMPLES / task).iterdir():
        rows = bundled_rows(task, file.stem)
        content = [rows.features.to_dict(), rows.to_list()]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        found[file.stem] = hashlib.sha256(text.encode()).hexdigest()
    assert found == GOLDEN[task]


@pytest.mark.parametrize("task", TASKS)
def test_no_input_occurs_twice_in_a_task(task: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for split in GOLDEN[task]:
        inputs = [
            tuple(sorted(str(row[column]) for column in INPUTS[task]))
            for row in rows_of(task, split)
        ]
        assert len(seen | set(inputs)) == len(seen) + len(inputs)
        seen.update(inputs)


def test_squad_answers_stand_where_they_say() -> None:
    for row in rows_of("squad"):
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text


@pytest.mark.parametrize("task", ["nq", "hotpotqa", "searchqa", "newsqa"])
def test_mrqa_labels_are_the_inclusive_ends_of_each_answer(task: str) -> None:
    for row in rows_of(task):
        for answer, found in zip(row["answers"], row["labels"], strict=True):
            assert found["start"]
            for start, end in zip(found["start"], found["end"], strict=True):
                assert row["context"][start : end + 1] == answer


def test_spans_of_words_and_entities_cut_them_out() -> None:
    for row in rows_of("wic"):
        for n in "12":
            assert row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]] == row["word"]
    for row in rows_of("wsc.fixed"):
        text, span = row["text"].split(), row["span1_text"].split()
        assert text[row["span1_index"] : row["span1_index"] + len(span)] == span
        assert text[row["span2_index"]] == row["span2_text"]
    for row in rows_of("record"):
        assert set(row["answers"]) <= set(row["entities"])
        spans = row["entity_spans"]
        for name, start, end in zip(spans["text"], spans["start"], spans["end"], strict=True):
            assert row["passage"][start:end] == name


def test_a_denied_or_false_frame_turns_a_claim_of_cb_round() -> None:
    for row in rows_of("cb"):
        frame, claim = row["premise"].split(" that ", 1)
        false = any(word in frame for word in ("pretended", "wrong", "not true", "lied", "dreamed"))
        open_ended = re.search(r"thought|did not think|hoped|^Did \w+ say", frame)
        happened = (" not " not in f" {claim}") != false
        assert bool(open_ended) == (row["label"] == 2)
        if not open_ended:
            assert ((" not " not in row["hypothesis"]) == happened) == (row["label"] == 0)


# Half of the training rows are the test, 500 or more: chance moves the accuracy little.
@pytest.mark.parametrize("task", ["mrpc", "qqp", "mnli", "qnli", "rte", "boolq", "wic", "paws"])
def test_single_words_do_not_tell_the_label_of_a_pair(task: str) -> None:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors, rows = DictVectorizer(), rows_of(task)
    counts: list[dict[str, float]] = [{} for _ in rows]
    for row, count in zip(rows, counts, strict=True):
        for column in INPUTS[task]:
            found = words(row[column])
            count |= {f"{column}:{word}": float(found.count(word)) for word in found}
            count[f"length of {column}"] = len(found) / 10
    half, labels = len(rows) // 2, [row["label"] for row in rows]
    model = LogisticRegression(max_iter=300, C=0.3)
    model.fit(vectors.fit_transform(counts[:half]), labels[:half])
    accuracy = model.score(vectors.transform(counts[half:]), labels[half:])
    assert accuracy <= max(map(labels[half:].count, set(labels))) / (len(rows) - half) + 0.06
