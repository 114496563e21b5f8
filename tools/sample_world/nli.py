"""Entailment: mnli, rte, cb, scitail. One logic of general and specific statements serves them all.

A statement entails the more general one, a denial the more specific denial; opposite poles of a
scale, other values of an exclusive slot and swapped comparisons contradict. The label is chosen
first, and every way to reach it has a counterpart of equal length, words and negations for the
other labels, so that only reading both sentences tells.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tools.sample_world.events import (
    MODIFIERS,
    Event,
    any_adjective,
    any_event,
    any_noun,
    clause,
    drop,
    other,
    reworded,
    tell,
)
from tools.sample_world.grammar import capital, plural, sentence
from tools.sample_world.relations import EXCLUSIVE, MUTUAL, any_tie, word_tie
from tools.sample_world.sampling import Row
from tools.sample_world.science import science_pair
from tools.sample_world.world import ACTIONS, KINDS, NAMES, PLACES, POLE_OF, hypernyms

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2

Pair = tuple[str, str]


def mnli(rng: Random) -> list[Row]:
    """Premise and hypothesis; entailment 0, neutral 1, contradiction 2."""
    label = rng.randrange(3)
    premise, hypothesis = nli_pair(rng, label)
    return [{"premise": premise, "hypothesis": hypothesis, "label": label}]


def rte(rng: Random) -> list[Row]:
    """A premise with a sentence beside the point, and a hypothesis; entailment 0, not 1."""
    label = rng.randrange(2)
    premise, hypothesis = nli_pair(
        rng, rng.choice((NEUTRAL, CONTRADICTION)) if label else ENTAILMENT
    )
    beside = tell(rng, any_event(rng, 1))
    first, second = rng.sample((premise, beside), 2)
    return [{"sentence1": f"{first} {second}", "sentence2": hypothesis, "label": label}]


def scitail(rng: Random) -> list[Row]:
    """A statement of school science and a hypothesis; entailment (45 %) or neutral."""
    entailed = rng.random() < 0.45
    premise, hypothesis = science_pair(rng, entailed)
    return [
        {
            "sentence1_binary_parse": None,
            "sentence1_parse": None,
            "sentence1": premise,
            "sentence2_parse": None,
            "sentence2": hypothesis,
            "annotator_labels": None,
            "gold_label": "entailment" if entailed else "neutral",
        }
    ]


def nli_pair(rng: Random, label: int) -> Pair:
    """Premise and hypothesis of a given label, from one of four families of statements."""
    families = (event_pair, state_pair, quantifier_pair, tie_pair)
    return rng.choices(families, (60, 20, 8, 12))[0](rng, label)


def event_pair(rng: Random, label: int) -> Pair:
    """Somebody did or did not do something, said more or less exactly.

    For each label most premises are the more exact sentence; a sixth of the premises and a sixth of
    the hypotheses are denials.
    """
    premise, hypothesis = rng.choice(_EVENT_WAYS[label])
    if premise == "exclusive":
        first, second = _exclusive(rng)
    elif premise == "beside":
        first, second = _beside(rng)
    else:
        narrow, wide = _narrow_and_wide(rng, denied="not " in premise + hypothesis)
        events = {"narrow": narrow, "wide": wide}
        events |= {f"not {name}": replace(event, negated=True) for name, event in events.items()}
        first, second = events[premise], events[hypothesis]
    return tell(rng, first), tell(rng, second)


_EVENT_WAYS = {
    ENTAILMENT: (*[("narrow", "wide")] * 10, *[("not wide", "not narrow")] * 2),
    CONTRADICTION: (
        *[("exclusive", "")] * 8,
        *[("narrow", "not wide")] * 2,
        *[("not wide", "narrow")] * 2,
    ),
    NEUTRAL: (
        *[("beside", "")] * 8,
        ("not narrow", "not wide"),
        ("not narrow", "wide"),
        ("wide", "narrow"),
        ("wide", "not narrow"),
    ),
}
"""Premise and hypothesis by label; ``wide`` follows from ``narrow``."""


def _some_event(rng: Random, kept: int, denied: bool = False) -> Event:
    # What a denial leaves of an adverb of manner is unclear, so denied events have none.
    slots = tuple(slot for slot in MODIFIERS if slot != "manner") if denied else MODIFIERS
    return any_event(rng, kept + rng.choice((1, 2)), slots)


def _narrow_and_wide(rng: Random, denied: bool) -> tuple[Event, Event]:
    """An event, and the same told with fewer or more general words."""
    kept = rng.choice((1, 1, 2))
    narrow = _some_event(rng, kept, denied)
    dropped = rng.sample(narrow.filled, len(narrow.filled) - kept)
    # "Three dogs" includes "a dog", so that a dropped count generalises like any other slot.
    return narrow, generalised(rng, reworded(rng, drop(narrow, dropped)), agents=not denied)


def _exclusive(rng: Random) -> tuple[Event, Event]:
    """An event, and a coarser telling that gets one thing wrong."""
    kept = rng.choice((1, 1, 2))
    event = _some_event(rng, kept)
    slots = rng.sample(event.filled, kept)
    coarse = drop(event, [slot for slot in event.filled if slot not in slots])
    if event.action.opposites and rng.random() < 0.3:
        return event, generalised(rng, other(rng, coarse, "verb"))
    return event, generalised(rng, reworded(rng, other(rng, coarse, slots[0])))


def _beside(rng: Random) -> tuple[Event, Event]:
    """An event, and a coarser telling that adds one thing."""
    kept = rng.choice((1, 1, 2))
    event = any_event(rng, kept + rng.choice((2, 3)))
    slots = rng.sample(event.filled, kept)
    coarse = drop(event, [slot for slot in event.filled if slot not in slots])
    return drop(event, slots[:1]), generalised(rng, reworded(rng, coarse))


def generalised(rng: Random, event: Event, agents: bool = True) -> Event:
    """The event with its patient, and perhaps its agent, named by kind in a third of the cases.

    A denial needs the very agent: that a worker did not do it says nothing of a baker.
    """
    if event.noun in HYPERNYMS and rng.random() < 0.35:
        event = replace(event, noun=rng.choice(HYPERNYMS[event.noun]))
    if agents and event.agent not in NAMES and rng.random() < 0.35:
        event = replace(event, agent=rng.choice(hypernyms(event.agent)))
    return event


HYPERNYMS = {
    noun: hypernyms(noun)
    for kind, members in KINDS.items()
    for noun in members
    if kind not in ("meal", "building")
}
"""Nouns whose kind is a natural word for them."""


def state_pair(rng: Random, label: int) -> Pair:
    """Something has a quality or not; poles and negation cancel each other."""
    noun = any_noun(rng, rng.choice(ACTIONS))
    adjective = any_adjective(rng, noun)
    scale, pole = POLE_OF[adjective]
    denied = rng.random() < 0.2, rng.random() < 0.2
    if label == NEUTRAL:
        second = adjective
        while POLE_OF[second][0] is scale:
            second = any_adjective(rng, noun)
    else:
        crossed = (denied[0] != denied[1]) == (label == ENTAILMENT)
        second = rng.choice(scale.poles[1 - pole if crossed else pole])
    place = rng.choice(tuple(PLACES))
    subject = rng.choice(
        (f"{rng.choice(NAMES)}'s {noun}", f"the {noun} {PLACES[place]} the {place}")
    )
    negation = ["not" if deny else None for deny in denied]
    return (
        sentence(subject, "was", negation[0], adjective),
        sentence(subject, "was", negation[1], second),
    )


_QUANTIFIED = {
    ENTAILMENT: (
        *[("no", "no", "down")] * 6,
        ("all", "some", "up"),
        ("most", "some", "up"),
        ("some", "some", "up"),
        ("all", "some", "same"),
        ("all", "all", "down"),
        ("all", "most", "same"),
    ),
    NEUTRAL: (
        *[("no", "no", "up")] * 3,
        *[("no", "some", "up")] * 3,
        ("all", "all", "up"),
        ("some", "some", "down"),
        ("most", "all", "down"),
        *[("some", "no", "down")] * 2,
        ("most", "no", "down"),
    ),
    CONTRADICTION: (
        *[("no", "some", "down"), ("no", "some", "same")] * 2,
        ("no", "all", "up"),
        ("no", "most", "down"),
        *[("all", "no", "up"), ("all", "no", "down")] * 2,
        ("most", "no", "up"),
        ("some", "no", "up"),
    ),
}
"""Quantifier of the premise, of the hypothesis, and where the noun goes from one to the other.

Each label has "no" in half of its premises and half of its hypotheses.
"""


def quantifier_pair(rng: Random, label: int) -> Pair:
    """All, most, some and none of a kind and of its subkinds."""
    first, second, way = rng.choice(_QUANTIFIED[label])
    narrow = rng.choice(tuple(HYPERNYMS))
    wide = rng.choice(HYPERNYMS[narrow])
    before = wide if way == "down" else narrow
    after = {"up": wide, "down": narrow, "same": before}[way]
    place = rng.choice(tuple(PLACES))
    verb = rng.choice(("were", "looked", "became"))
    rest = f"{PLACES[place]} the {place} {verb} {any_adjective(rng, narrow)}"
    return sentence(first, plural(before), rest), sentence(second, plural(after), rest)


def tie_pair(rng: Random, label: int) -> Pair:
    """Who stands how to whom: worded from either side, swapped, or of somebody else."""
    exclusive = label == CONTRADICTION or rng.random() < 0.75
    tie = any_tie(rng, EXCLUSIVE if exclusive else MUTUAL)
    premise = word_tie(rng, tie)
    claimed = tie
    if label == CONTRADICTION or (label == NEUTRAL and not exclusive and rng.random() < 0.5):
        claimed = tie.swapped()
    elif label == NEUTRAL:
        stranger = tie.a
        while stranger in (tie.a, tie.b):
            stranger = any_tie(rng, (tie.name,)).a
        claimed = replace(tie, **{rng.choice("ab"): stranger})
    return premise, word_tie(rng, replace(claimed, time=None), unlike=premise)


def cb(rng: Random) -> list[Row]:
    """A clause under a verb that makes it true, false or open; classes as lopsided as the real.

    Entailment 0, contradiction 1, neutral 2.
    """
    label = rng.choices((0, 1, 2), (46, 44, 10))[0]
    event = any_event(rng, 1, ("color", "count", "place", "time"))
    holder = rng.choice([name for name in NAMES if name != event.agent])
    claim = replace(event, negated=rng.random() < 0.5)
    frame = rng.choice(_OPEN_FRAMES if label == 2 else _FALSE_FRAMES + _TRUE_FRAMES)
    # The hypothesis repeats the claim or its denial; a false frame turns the one into the other.
    agrees = rng.random() < 0.5 if label == 2 else label == 0
    negated = (claim.negated != (frame in _FALSE_FRAMES)) == agrees
    return [
        {
            "premise": capital(frame.format(h=holder, c=clause(claim))),
            "hypothesis": clause(replace(event, negated=negated)),
            "label": label,
        }
    ]


_FALSE_FRAMES = (
    "{h} pretended that {c}.",
    "{h} was wrong to think that {c}.",
    "it is not true that {c}.",
    "{h} lied that {c}.",
    "{h} only dreamed that {c}.",
)
_TRUE_FRAMES = (
    "{h} knew that {c}.",
    "{h} did not know that {c}.",
    "{h} was right to think that {c}.",
    "it is true that {c}.",
    "did {h} regret that {c}?",
)
_OPEN_FRAMES = (
    "{h} thought that {c}.",
    "{h} did not think that {c}.",
    "{h} hoped that {c}.",
    "did {h} say that {c}?",
)
