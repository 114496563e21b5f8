"""Short exercises in what the tasks are made of: match two clauses, find a fact, know a word.

An example of a task gives one word of supervision for some forty words of text, and teaches nothing
until all the steps towards it are known. A drill takes one such step, and is learned early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from tools.pretrain_tiny.lexicon import OPINIONS, Entry, entry
from tools.pretrain_tiny.steering import MAYBE, NO, PLAIN, YES, any_style
from tools.sample_world.dossier import any_fact, any_kind, two_subjects
from tools.sample_world.events import MODIFIERS, Event, any_event, drop, fill, other, reworded, tell
from tools.sample_world.nli import generalised
from tools.sample_world.properties import PROPERTIES
from tools.sample_world.registry import SAMPLERS
from tools.sample_world.sampling import Row, is_training
from tools.sample_world.senses import SENSES, placed
from tools.sample_world.sentiment import judged

Judgement = tuple[str, int]
"""A text, and yes, no or maybe."""


def drill(rng: Random, styled: float, weights: Mapping[str, float], named: float = 0.0) -> Entry:
    """One exercise and its answer.

    Args:
        rng: decides on everything.
        styled: share of judgements with an instruction how to write them.
        weights: how often each kind comes, relative to the others.
        named: share of instructions that are a name.
    """
    kind = rng.choices(tuple(weights), tuple(weights.values()))[0]
    if kind in _JUDGEMENTS:
        text, meaning = _JUDGEMENTS[kind](rng)
        instruction, words = any_style(rng, named) if rng.random() < styled else ("", PLAIN)
        return f"{instruction} {text}".lstrip(), words[meaning]
    return _QUESTIONS[kind](rng)


def _clauses(rng: Random) -> Judgement:
    """Does the second clause follow from the first, exclude it, or neither?"""
    while True:
        meaning = rng.choice((YES, NO, MAYBE))
        premise, hypothesis = _clause_pair(rng, meaning)
        row: Row = {"premise": premise, "hypothesis": hypothesis}
        if is_training("mnli", SAMPLERS["mnli"], row):
            return f"premise: {premise} hypothesis: {hypothesis}", meaning


def _clause_pair(rng: Random, meaning: int) -> tuple[str, str]:
    first = any_event(rng, rng.choice((0, 1, 1, 2)))
    second = drop(first, _some(rng, first.filled))
    if meaning == MAYBE:
        taken = set(first.filled)
        if taken & {"adjective", "color"}:
            taken |= {"adjective", "color"}
        second = fill(rng, second, [rng.choice([slot for slot in MODIFIERS if slot not in taken])])
    second = generalised(rng, reworded(rng, second))
    if meaning == NO:
        second = _excluding(rng, first)
    return tell(rng, first), tell(rng, second)


def _excluding(rng: Random, event: Event) -> Event:
    if rng.random() < 0.3:
        return replace(reworded(rng, drop(event, ["manner"])), negated=True)
    slots = [*event.filled, *(["verb"] if event.action.opposites else [])]
    if not slots:
        return replace(reworded(rng, event), negated=True)
    slot = rng.choice(slots)
    changed = other(rng, event, slot)
    return drop(changed, _some(rng, [name for name in event.filled if name != slot]))


def _same(rng: Random) -> Judgement:
    """Do two clauses say the same, but for one word?"""
    event = any_event(rng, rng.choice((0, 1, 1)))
    same = rng.random() < 0.5
    slots = ["agent", "noun", *event.filled]
    twin = event if same else other(rng, event, rng.choice(slots))
    first, second = rng.sample((tell(rng, event), tell(rng, reworded(rng, twin))), 2)
    return f"sentence1: {first} sentence2: {second}", YES if same else NO


_SMALL = frozenset(("a", "an", "was", "were", "by", "on", "in", "at", "the"))


def _different(rng: Random) -> Entry:
    """Which words stand in one clause only?"""
    event = any_event(rng, rng.choice((0, 1, 1)))
    slot = rng.choice(["agent", "noun", *event.filled])
    first, second = tell(rng, event), tell(rng, other(rng, event, slot))
    words = [text.rstrip(".").lower().replace(",", "").split() for text in (first, second)]
    lost = [word for word in words[0] if word not in words[1] and word not in _SMALL]
    new = [word for word in words[1] if word not in words[0] and word not in _SMALL]
    return f"differ sentence1: {first} sentence2: {second}", " ".join([*lost, *new])


def _find(rng: Random) -> Entry:
    """Which of two facts answers the question?"""
    kind = any_kind(rng)
    one, two = two_subjects(rng, kind)
    first, second = rng.sample(PROPERTIES[kind], 2)
    if rng.random() < 0.6:
        second = first
    fact = any_fact(rng, kind, one, first, *two.split())
    rival = any_fact(
        rng,
        kind,
        rng.choice((one, two)) if second is not first else two,
        second,
        fact.value,
        *one.split(),
    )
    context = " ".join(each.told(rng) for each in rng.sample((fact, rival), 2))
    return f"write short question: {fact.asked(rng)} context: {context}", fact.value


def _about(rng: Random) -> Entry:
    """Of whom and of what do a question and a statement speak?"""
    kind = any_kind(rng)
    subject, other = two_subjects(rng, kind)
    fact = any_fact(rng, kind, subject, rng.choice(PROPERTIES[kind]), *other.split())
    text = rng.choice((f"question: {fact.asked(rng)}", f"sentence: {fact.told(rng)}"))
    return f"about {text}", f"{subject} {fact.property.name}"


def _answered(rng: Random) -> Judgement:
    """Does a fact answer the question?"""
    kind = any_kind(rng)
    one, two = two_subjects(rng, kind)
    asked, beside = rng.sample(PROPERTIES[kind], 2)
    meaning = rng.choice((YES, NO))
    told = (one, asked) if meaning == YES else rng.choice(((one, beside), (two, asked)))
    question = any_fact(rng, kind, one, asked, *two.split()).asked(rng)
    statement = any_fact(rng, kind, *told, *one.split(), *two.split()).told(rng)
    return f"question: {question} sentence: {statement}", meaning


def _claimed(rng: Random) -> Judgement:
    """Is it so, by a fact?"""
    kind = any_kind(rng)
    one, two = two_subjects(rng, kind)
    fact = any_fact(rng, kind, one, rng.choice(PROPERTIES[kind]), *two.split())
    meaning = rng.choice((YES, NO))
    asked = fact
    if meaning == NO:
        asked = any_fact(rng, kind, one, fact.property, fact.value, *two.split())
    return f"question: {asked.doubted()} passage: {fact.told(rng)}", meaning


def _sense(rng: Random) -> Entry:
    """What stands for the sense that a word has here: always the same sentence with it."""
    word = rng.choice(tuple(SENSES))
    sense = rng.choice(SENSES[word])
    return f"sense sentence: {_in_use(rng, sense)} word: {word}", _standing_for(sense)


def _senses(rng: Random) -> Entry:
    """The same for each of two sentences: which words around it decide depends on the sentence."""
    while True:
        word = rng.choice(tuple(SENSES))
        first, rival = rng.sample(SENSES[word], 2)
        second = rng.choice((first, rival))
        one, two = _in_use(rng, first), _in_use(rng, second)
        if is_training("wic", SAMPLERS["wic"], {"sentence1": one, "sentence2": two}):
            answer = f"{_standing_for(first)}; {_standing_for(second)}"
            return f"senses sentence1: {one} sentence2: {two} word: {word}", answer


def _in_use(rng: Random, sense: Sequence[str]) -> str:
    return placed(rng, rng.choice(sense)).replace("*", "")


def _standing_for(sense: Sequence[str]) -> str:
    model = min(sense, key=lambda context: ("{n}" in context, context))
    return model.replace("*", "").format(n="someone")


def _felt(rng: Random) -> Judgement:
    """Praise or blame, in a few words?"""
    good = rng.random() < 0.5
    words = judged(rng, good, rng.choice(OPINIONS))
    return f"sentence: {words}", YES if good else NO


def _some(rng: Random, slots: list[str]) -> list[str]:
    return [slot for slot in slots if rng.random() < 0.5]


_QUESTIONS: Mapping[str, Callable[[Random], Entry]] = {
    "word": entry,
    "different": _different,
    "about": _about,
    "find": _find,
    "sense": _sense,
    "senses": _senses,
}
_JUDGEMENTS: Mapping[str, Callable[[Random], Judgement]] = {
    "clauses": _clauses,
    "same": _same,
    "answered": _answered,
    "claimed": _claimed,
    "felt": _felt,
}
