"""Drills have true answers, and none is a row of an evaluation split."""

from __future__ import annotations

import re
from random import Random

import pytest

from bench.data.samples import generate
from bench.models.pretraining import lexicon
from bench.models.pretraining.drills import drill
from bench.models.pretraining.recipe import DRILL_WEIGHTS


def test_questions_on_words_have_one_true_answer_each() -> None:
    rng = Random(0)
    entries = {lexicon.entry(rng) for _ in range(20000)}
    assert len({question for question, _ in entries}) == len(entries)
    assert {
        ("opinion superb", "good"),
        ("opinion rude", "bad"),
        ("kind of robin", "bird"),
        ("compare robin and animal", "kind"),
        ("compare sofa and couch", "same"),
        ("compare costly and cheap", "opposite"),
        ("compare repair and break", "opposite"),
    } <= entries


@pytest.fixture(scope="module")
def drills() -> list[tuple[str, str]]:
    rng = Random(0)
    return [drill(rng, 0.5, DRILL_WEIGHTS) for _ in range(6000)]


def test_an_answer_to_find_stands_beside_who_is_asked_after(drills: list[tuple[str, str]]) -> None:
    found = [(text, answer) for text, answer in drills if text.startswith("write short")]
    assert len(found) > 500
    for text, answer in found:
        question, context = re.fullmatch(r"write short question: (.*) context: (.*)", text).groups()  # type: ignore[union-attr]
        lines = context.rstrip(".").split(". ")
        told = [line for line in lines if re.search(rf"\b{answer}\b", line)]
        names = set(re.findall(r"\b[A-Z][a-z]+", question)[1:])
        assert told, text
        assert all(names & set(line.split()) for line in told), text


def test_late_drills_say_in_which_sense_or_senses() -> None:
    rng = Random(0)
    answers_of: dict[str, set[str]] = {}
    for text, answer in (drill(rng, 0.5, {"sense": 1}) for _ in range(2000)):
        word = text.rpartition(" ")[2]
        assert word in answer.split()
        answers_of.setdefault(word, set()).add(answer)
    assert {len(answers) for answers in answers_of.values()} == {2}
    repeated = 0
    for text, answer in (drill(rng, 0.5, {"senses": 1}) for _ in range(1000)):
        word, both = text.rpartition(" ")[2], answer.split("; ")
        assert set(both) <= answers_of[word]
        repeated += len(set(both)) == 1
    assert 400 < repeated < 600


def test_two_senses_are_those_of_the_two_sentences_in_their_order() -> None:
    """What stands for a sense is its first context without a name: seen in the text, it settles."""
    rng = Random(1)
    checked = 0
    for _ in range(2000):
        text, answer = drill(rng, 0.0, {"senses": 1})
        first, second = text.lower().split(" sentence2: ")
        one, two = answer.lower().split("; ")
        if one != two:
            assert two not in first, text
            assert one not in second, text
            checked += one in first or two in second
    assert checked > 200


def test_words_that_differ_stand_in_one_clause_only(drills: list[tuple[str, str]]) -> None:
    found = [(text, answer) for text, answer in drills if text.startswith("differ ")]
    assert len(found) > 300
    for text, answer in found:
        clauses = text.lower().split(" sentence2: ")
        sides = [set(re.findall(r"\w+", clause)) for clause in clauses]
        assert set(answer.split()) <= sides[0] ^ sides[1], text
        assert answer, text


@pytest.mark.parametrize(
    ("kind", "task", "split", "one", "two"),
    [
        ("clauses", "mnli", "validation_matched", "premise", "hypothesis"),
        ("clauses", "mnli", "validation_mismatched", "premise", "hypothesis"),
        ("senses", "wic", "validation", "sentence1", "sentence2"),
    ],
)
def test_no_drill_is_a_pair_of_an_evaluation_split(
    kind: str, task: str, split: str, one: str, two: str
) -> None:
    rng = Random(0)
    pairs = set()
    for _ in range(1000):
        text, _ = drill(rng, 0.0, {kind: 1})
        first, second = text.partition(f"{one}: ")[2].partition(" word: ")[0].split(f" {two}: ")
        pairs.add(frozenset((first, second)))
    held_out = {frozenset((str(row[one]), str(row[two]))) for row in generate(task, split, 2000)}
    assert len(pairs) > 900
    assert not pairs & held_out
