"""Labels follow from the text: checked by logic that the generators do not use."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from random import Random

import pytest

from bench.data.samples import acceptability, generate, nli, paraphrase, relations, science
from bench.data.samples.grammar import plural
from bench.data.samples.registry import SAMPLERS
from bench.data.samples.world import KIND_OF, KIND_PARENT, POLE_OF

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2


def holds(quantifier: str, noun: str, truths: dict[str, list[bool]]) -> bool:
    values = truths[noun]
    return {
        "all": all(values),
        "some": any(values),
        "no": not any(values),
        "most": sum(values) > len(values) / 2,
    }[quantifier]


Claim = tuple[str, str]
"""Quantifier and noun."""


def verdict(premise: Claim, hypothesis: Claim, narrow: str, wide: str) -> int:
    """Entailment by enumeration of small worlds in which every kind has a member."""
    outcomes = set()
    for inside, outside in itertools.product(range(1, 4), range(3)):
        for values in itertools.product((True, False), repeat=inside + outside):
            truths = {wide: list(values), narrow: list(values[:inside])}
            if holds(*premise, truths):
                outcomes.add(holds(*hypothesis, truths))
    assert outcomes
    if len(outcomes) == 2:
        return NEUTRAL
    return ENTAILMENT if outcomes == {True} else CONTRADICTION


@pytest.mark.parametrize("label", [ENTAILMENT, NEUTRAL, CONTRADICTION])
def test_quantifiers_obey_their_models(label: int) -> None:
    singular = {plural(noun): noun for noun in (*KIND_OF, *KIND_OF.values(), *KIND_PARENT.values())}
    rng = Random(0)
    for _ in range(400):
        pair = nli.quantifier_pair(rng, label)
        (first, noun, *rest), (second, other, *tail) = (
            text.lower().rstrip(".").split() for text in pair
        )
        assert rest == tail
        one, two = singular[noun], singular[other]
        above = {KIND_OF.get(one, one), KIND_PARENT.get(KIND_OF.get(one, one), one)}
        narrow, wide = (noun, other) if two in above else (other, noun)
        found = verdict((first, noun), (second, other), narrow, wide)
        assert found == label, pair


@pytest.mark.parametrize("label", [ENTAILMENT, NEUTRAL, CONTRADICTION])
def test_states_follow_from_poles_and_negations(label: int) -> None:
    rng = Random(0)
    for _ in range(400):
        signs = []
        for text in nli.state_pair(rng, label):
            *_, before, word = text.rstrip(".").split()
            scale, pole = POLE_OF[word]
            signs.append((scale.name, pole == 0) if before != "not" else (scale.name, pole == 1))
        if signs[0][0] != signs[1][0]:
            assert label == NEUTRAL
        else:
            assert label == (ENTAILMENT if signs[0] == signs[1] else CONTRADICTION)


def read_tie(text: str) -> set[tuple[str, str, str, str]]:
    """Every relation that a sentence can be read as: name, parties, thing."""
    text = re.sub(r" (on|in) [A-Z][a-z]+\.$", ".", text)
    found = set()
    for name, relation in relations.RELATIONS.items():
        for wording in relation.wordings:
            pattern = wording.replace("{a}", r"(?P<a>[A-Z]\w+)").replace("{b}", r"(?P<b>[A-Z]\w+)")
            pattern = pattern.replace("{x}", r"(?P<x>[Aa]n? [\w ]+?)") + r"\."
            match = re.fullmatch(pattern, text)
            if match:
                parts = match.groupdict()
                found.add((name, parts["a"], parts["b"], (parts.get("x") or "").lower()))
    return found


@pytest.mark.parametrize("label", [ENTAILMENT, NEUTRAL, CONTRADICTION])
def test_relations_keep_or_change_their_parties(label: int) -> None:
    rng = Random(0)
    for _ in range(400):
        premise, hypothesis = nli.tie_pair(rng, label)
        (before,), (after,) = read_tie(premise), read_tie(hypothesis)
        swapped = (before[0], before[2], before[1], before[3])
        assert premise != hypothesis
        if label == ENTAILMENT:
            assert after == before
        elif label == CONTRADICTION:
            assert after == swapped
            assert relations.RELATIONS[before[0]].exclusive
        else:
            assert after != before
            assert after != swapped or not relations.RELATIONS[before[0]].exclusive


def test_paws_twins_mean_the_same_or_exchange_roles() -> None:
    rng = Random(0)
    for same in (True, False) * 200:
        first, second = (read_tie(text) for text in paraphrase.tie_twins(rng, same))
        assert bool(first & second) == same
        one, two = paraphrase.route_twins(rng, same)
        ends = [re.search(r"to ([A-Z]\w+)", text) for text in (one, two)]
        assert ends[0] is not None
        assert ends[1] is not None
        assert (ends[0][1] == ends[1][1]) == same


def test_a_denied_or_false_frame_turns_a_claim_of_cb_round() -> None:
    for row in generate("cb", "train", 2000):
        premise, hypothesis = str(row["premise"]), str(row["hypothesis"])
        frame, claim = premise.split(" that ", 1)
        false = any(word in frame for word in ("pretended", "wrong", "not true", "lied", "dreamed"))
        open_ended = re.search(r"thought|did not think|hoped|^Did \w+ say", frame)
        happened = (" not " not in f" {claim}") != false
        if row["label"] == 2:
            assert open_ended
        else:
            assert not open_ended
            assert ((" not " not in hypothesis) == happened) == (row["label"] == 0)


def test_science_claims_follow_from_the_premise_alone() -> None:
    rng = Random(0)
    for entailed in (True, False) * 300:
        premise, hypothesis = science.trait_pair(rng, entailed)
        premise, claim = premise.lower(), hypothesis.lower().rstrip(".")
        trait = next(
            t for traits in science.TRAITS.values() for t in traits if claim.endswith(f" {t}")
        )
        noun = next(n for n in KIND_OF if plural(n) == claim.removesuffix(f" {trait}"))
        assert (f"{plural(KIND_OF[noun])} {trait}" in premise) == entailed


def birthplaces(passage: str) -> set[tuple[str, str]]:
    """Who is told to come from where; a pronoun stands for the subject before it."""
    found = set()
    subject = ""
    for line in passage.rstrip(".").split(". "):
        match = re.fullmatch(r"([\w ]+?) (?:was born in|comes from|grew up in) ([A-Z]\w+)", line)
        words = line.split()
        if words[0] not in ("He", "She"):
            subject = " ".join(itertools.takewhile(str.istitle, words))
        if match and " not" not in match[1]:
            found.add((subject, match[2]))
    return found


def test_boolq_answers_follow_from_the_passage() -> None:
    checked = 0
    for row in generate("boolq", "validation", 3000):
        match = re.fullmatch(r"was ([\w ]+) born in ([A-Z]\w+)", str(row["question"]))
        if match:
            told = birthplaces(str(row["passage"]))
            assert ((match[1], match[2]) in told) == bool(row["label"]), row
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("frame", acceptability.FRAMES, ids=lambda frame: frame.__name__)
def test_no_sentence_is_both_acceptable_and_broken(
    frame: Callable[[Random, bool], str],
) -> None:
    rng = Random(0)
    good = {frame(rng, True) for _ in range(4000)}
    broken = {frame(rng, False) for _ in range(4000)}
    assert not good & broken


def test_agreement_in_acceptable_sentences() -> None:
    rng = Random(0)
    for good in (True, False) * 300:
        words = acceptability.existential(rng, good).split()
        assert ((words[1] == "was") == (words[2] == "one")) == good


CLASSIFIED = {
    "sst2": ("sentence",),
    "yelp_polarity": ("text",),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "wic": ("sentence1", "sentence2"),
    "winogrande": ("sentence", "option1"),
    "wsc.fixed": ("text", "span1_text"),
    "qqp": ("question1", "question2"),
    "paws": ("sentence1", "sentence2"),
    "mrpc": ("sentence1", "sentence2"),
}


@pytest.mark.parametrize("task", CLASSIFIED)
def test_no_input_has_two_labels(task: str) -> None:
    rng = Random(0)
    answers: dict[str, object] = {}
    for _ in range(12000):
        for row in SAMPLERS[task].make(rng):
            text = "|".join(str(row[column]) for column in CLASSIFIED[task])
            label = row.get("label", row.get("answer"))
            assert answers.setdefault(text, label) == label, text
