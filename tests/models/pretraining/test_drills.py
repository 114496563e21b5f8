"""Drills have true answers, and none is a row of an evaluation split."""

from __future__ import annotations

import re
from random import Random

import pytest

from bench.data.samples import generate
from bench.models.pretraining import lexicon
from bench.models.pretraining.drills import drill
from bench.models.pretraining.recipe import (
    DRILL_WEIGHTS,
    LATE_DRILL_WEIGHTS,
)


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


def test_late_drills_say_of_whom_and_in_which_sense() -> None:
    rng = Random(0)
    drills = [drill(rng, 0.5, LATE_DRILL_WEIGHTS) for _ in range(4000)]
    both = [(text, answer) for text, answer in drills if ", " in answer]
    senses = [(text, answer) for text, answer in drills if text.startswith("sense ")]
    assert len(both) > 200
    assert len(senses) > 200
    for text, answer in both:
        assert all(about.rpartition(" ")[0] in text for about in answer.split(", "))
    named: dict[str, set[str]] = {}
    for text, answer in senses:
        word = text.rpartition(" ")[2]
        assert word in answer.split()
        named.setdefault(word, set()).add(answer)
    assert {len(answers) for answers in named.values()} == {2}


def test_a_claim_on_one_of_two_is_true_where_its_names_stand_together() -> None:
    rng = Random(0)
    checked = 0
    for _ in range(400):
        text, meaning = drill(rng, 0.0, {"claimed of two": 1})
        claim, passage = re.fullmatch(r"question: (.*) passage: (.*)\.", text).groups()  # type: ignore[union-attr]
        words = claim.split()
        places = [at for at, word in enumerate(words) if word[0].isupper() or word[0].isdigit()]
        if places[-1] - places[0] + 1 == len(places):
            continue  # Only a subject: its value is no name and no year.
        named = {words[at] for at in places}
        together = any(named <= set(line.split()) for line in passage.split(". "))
        assert together == (meaning == "same"), text
        checked += 1
    assert checked > 100


def test_words_that_differ_stand_in_one_clause_only(drills: list[tuple[str, str]]) -> None:
    found = [(text, answer) for text, answer in drills if text.startswith("differ ")]
    assert len(found) > 300
    for text, answer in found:
        clauses = text.lower().split(" sentence2: ")
        sides = [set(re.findall(r"\w+", clause)) for clause in clauses]
        assert set(answer.split()) <= sides[0] ^ sides[1], text
        assert answer, text


def test_no_drill_is_a_pair_of_an_evaluation_split(drills: list[tuple[str, str]]) -> None:
    pairs = {
        frozenset(text.partition("premise: ")[2].split(" hypothesis: "))
        for text, _ in drills
        if "premise: " in text
    }
    held_out = {
        frozenset((str(row["premise"]), str(row["hypothesis"])))
        for split in ("validation_matched", "validation_mismatched")
        for row in generate("mnli", split, 2000)
    }
    assert len(pairs) > 900
    assert not pairs & held_out
