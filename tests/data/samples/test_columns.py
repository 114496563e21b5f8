"""Offsets, spans, identifiers and references: what the columns of a row promise one another."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from bench.data.samples import generate
from bench.tasks import get_task


def rows_of(task: str, split: str = "train", rows: int = 400) -> list[dict[str, Any]]:
    return generate(task, split, rows)


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


@pytest.mark.parametrize("task", ["squad", "nq", "hotpotqa", "newsqa"])
def test_questions_do_not_hold_their_answer(task: str) -> None:
    for row in rows_of(task):
        answers = row["answers"]["text"] if task == "squad" else row["answers"]
        assert not set(answers[0].split()) & set(row["question"].rstrip("?").split())


def test_hotpotqa_takes_two_sentences() -> None:
    for row in rows_of("hotpotqa"):
        answer = row["answers"][0]
        lines = row["context"].rstrip(".").split(". ")
        telling = [line for line in lines if answer in line.split()[-3:] + line.split()]
        asked = set(row["question"].rstrip("?").split())
        named = {word for line in lines for word in line.split() if word[0].isupper()} & asked
        person = {word for word in named if word not in ("The", "In", "People")}
        for line in telling:
            assert not person & set(line.split()), row


def test_record_entities_queries_and_highlights() -> None:
    for row in rows_of("record"):
        assert row["query"].count("@placeholder") == 1
        assert "\n@highlight\n" in row["passage"]
        assert set(row["answers"]) <= set(row["entities"])
        spans = row["entity_spans"]
        for text, start, end in zip(spans["text"], spans["start"], spans["end"], strict=True):
            assert row["passage"][start:end] == text
        assert set(spans["text"]) == set(row["entities"])


def test_wic_offsets_cut_out_the_word() -> None:
    for row in rows_of("wic"):
        for n in "12":
            assert row[f"sentence{n}"][row[f"start{n}"] : row[f"end{n}"]] == row["word"]
        assert row["sentence1"] != row["sentence2"]


def test_wsc_spans_stand_at_their_word_index() -> None:
    for row in rows_of("wsc.fixed"):
        words = row["text"].split()
        span = row["span1_text"].split()
        assert words[row["span1_index"] : row["span1_index"] + len(span)] == span
        assert words[row["span2_index"]] == row["span2_text"]
        assert row["span2_text"] in ("he", "she", "it")
        source = get_task("wsc.fixed").to_text(row, True)[0].source
        assert source.count("*") == 2
        assert source.count("#") == 2


def test_winogrande_has_one_gap_and_both_options_before_it() -> None:
    for row in rows_of("winogrande"):
        before, _ = row["sentence"].split("_")
        assert row["option1"] != row["option2"]
        assert row["answer"] in ("1", "2")
        for option in (row["option1"], row["option2"]):
            assert option.lower() in before.lower()


def test_multirc_has_several_answers_to_several_questions() -> None:
    questions = defaultdict(set)
    labels = defaultdict(list)
    for row in rows_of("multirc"):
        idx = row["idx"]
        questions[idx["paragraph"]].add(idx["question"])
        labels[idx["question"]].append(row["label"])
        assert row["answer"] in row["paragraph"]
    assert all(len(numbers) == 2 for numbers in questions.values())
    assert all(len(found) == 4 for found in labels.values())
    assert all(1 <= sum(found) <= 3 for found in labels.values())
    numbers = [number for found in questions.values() for number in found]
    assert len(numbers) == len(set(numbers))


def test_identifiers_are_unique() -> None:
    for task, column in (("squad", "id"), ("nq", "key"), ("web_nlg", "gem_id"), ("paws", "id")):
        keys = [row[column] for split in ("train", "validation") for row in rows_of(task, split)]
        if task != "paws":
            assert len(keys) == len(set(keys))
    assert [row["idx"] for row in rows_of("cola")] == list(range(400))


def test_generation_inputs_have_several_references() -> None:
    for task, column in (
        ("e2e", "meaning_representation"),
        ("common_gen", "concept_set_idx"),
        ("web_nlg", "webnlg_id"),
    ):
        references = defaultdict(set)
        for row in rows_of(task, "validation"):
            text = row["human_reference"] if task == "e2e" else row["target"]
            references[row[column]].add(text)
        assert sum(len(texts) > 1 for texts in references.values()) > 0.6 * len(references)


def test_descriptions_tell_every_value() -> None:
    for row in rows_of("e2e"):
        text = row["human_reference"].lower()
        for item in row["meaning_representation"].split(", "):
            slot, value = item.rstrip("]").split("[")
            if slot != "familyFriendly":
                assert value.lower() in text, (row, slot)
            else:
                assert "child" in text or "family friendly" in text
    for row in rows_of("web_nlg", "validation"):
        assert row["target"] in row["references"]
        for triple in row["input"]:
            subject, _, value = triple.replace("_", " ").split(" | ")
            assert value in row["target"]
            assert subject in row["target"]
    assert all(row["references"] == [] for row in rows_of("web_nlg"))


def test_common_gen_targets_use_every_concept() -> None:
    irregular = {
        "buy": "b", "sell": "s", "find": "f", "lose": "lo", "break": "br", "hide": "hid",
        "show": "show", "build": "buil", "draw": "dr", "feed": "f", "catch": "ca", "eat": "",
        "grow": "gr", "write": "wr", "steal": "st", "drive": "dr", "wear": "w", "keep": "k",
        "lend": "len",
    }  # fmt: skip
    for row in rows_of("common_gen"):
        text = row["target"].lower()
        for concept in row["concepts"]:
            stem = irregular.get(concept, concept.rstrip("ey"))
            assert any(word.startswith(stem) for word in text.split()), (concept, text)
