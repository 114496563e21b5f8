"""mrpc, qqp, paws and stsb: the same said in other words, or something else in nearly the same."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tools.sample_world.events import Event, any_event, clause, drop, other, reworded, tell
from tools.sample_world.grammar import capital, indefinite, uncapital
from tools.sample_world.relations import any_tie, word_tie
from tools.sample_world.sampling import Row
from tools.sample_world.world import ACTIONS, GOODS, KIND_OF, KINDS, NAMES, SURNAMES, TOWNS, YEARS

SPEECH = ("said", "reported", "announced", "explained", "claimed")


def mrpc(rng: Random) -> list[Row]:
    """Two news sentences; equivalent 1 (67 %), differing in a detail 0."""
    label = int(rng.random() < 0.67)
    event = any_event(rng, 3)
    twin = event
    if label == 0:
        slots = ["agent", "noun", *event.filled, *(["verb"] if event.action.opposites else [])]
        twin = other(rng, event, rng.choice(slots))
    elif rng.random() < 0.3:
        # A lost adverb does not make two news sentences differ.
        twin = drop(event, ["manner"])
    speaker = f"{rng.choice(('Mr.', 'Ms.'))} {rng.choice(SURNAMES)}"
    pair = rng.sample((event, reworded(rng, twin, 0.6)), 2)
    first, second = (_reported(rng, tell(rng, e, 0.4, 0.4), speaker) for e in pair)
    return [{"sentence1": first, "sentence2": second, "label": label}]


def _reported(rng: Random, text: str, speaker: str) -> str:
    verb = rng.choice(SPEECH)
    said = (f"{speaker} {verb} that {uncapital(text)}", f"{text[:-1]}, {speaker} {verb}.", text)
    return rng.choice(said)


def paws(rng: Random) -> list[Row]:
    """Two sentences of nearly the same words; same meaning 1 (44 %), roles exchanged 0."""
    label = int(rng.random() < 0.44)
    twins = rng.choices((tie_twins, route_twins, event_twins), (40, 20, 40))[0]
    first, second = twins(rng, bool(label))
    return [{"sentence1": first, "sentence2": second, "label": label}]


def tie_twins(rng: Random, same: bool) -> tuple[str, str]:
    """A relation in two wordings, or of exchanged parties."""
    tie = any_tie(rng)
    first = word_tie(rng, tie)
    return first, word_tie(rng, tie if same else tie.swapped(), unlike=first)


_ROUTES = (
    "{n} {v} from {a} to {b} in {y}.",
    "In {y}, {n} {v} to {b} from {a}.",
    "{n} {v} to {b} from {a} in {y}.",
    "From {a}, {n} {v} to {b} in {y}.",
    "In {y}, {n} left {a} and {v} to {b}.",
)


def route_twins(rng: Random, same: bool) -> tuple[str, str]:
    """A journey in two wordings, or there and back."""
    a, b = rng.sample(TOWNS, 2)
    verb = rng.choice(("moved", "walked", "drove", "travelled", "sailed"))
    name, year = rng.choice(NAMES), rng.choice(YEARS)
    one, two = rng.sample(_ROUTES, 2)
    start, end = (a, b) if same else (b, a)
    return (
        one.format(n=name, v=verb, a=a, b=b, y=year),
        two.format(n=name, v=verb, a=start, b=end, y=year),
    )


def event_twins(rng: Random, same: bool) -> tuple[str, str]:
    """Two events told in either order, or with agents exchanged."""
    one = any_event(rng, 1)
    two = any_event(rng, 1)
    while two.agent == one.agent or two.noun == one.noun:
        two = any_event(rng, 1)
    crossed = (replace(one, agent=two.agent), replace(two, agent=one.agent))
    link = rng.choice((", and", ", while", ";"))
    first = _joined(rng, (one, two), link)
    second = first
    while second == first:
        after = rng.sample((one, two) if same else crossed, 2)
        second = _joined(rng, (after[0], after[1]), link)
    return first, second


def _joined(rng: Random, events: tuple[Event, Event], link: str) -> str:
    first, second = (clause(event, rng.random() < 0.3) for event in events)
    return f"{capital(first)}{link} {second}."


WEIGHTS = {"agent": 0.8, "verb": 1.2, "noun": 1.6, "place": 0.8, "time": 0.6}
"""What a difference in each part takes off the 5 points of an stsb pair."""
SIBLING = 0.8
"""What a noun of the same kind (a pear for an apple) takes off instead."""


def stsb(rng: Random) -> list[Row]:
    """Two sentences and how alike they are in meaning, from 0 to 5 in steps of 0.2."""
    event = any_event(rng, 2, ("place", "time"))
    changed, grade = event, 5.0
    for slot in rng.sample(tuple(WEIGHTS), rng.randint(0, len(WEIGHTS))):
        changed, cost = _differing(rng, changed, slot)
        grade -= cost
    first, second = rng.sample((tell(rng, event), tell(rng, reworded(rng, changed))), 2)
    return [{"sentence1": first, "sentence2": second, "label": max(0.0, round(grade, 1))}]


def _differing(rng: Random, event: Event, slot: str) -> tuple[Event, float]:
    """The event with another value in the slot, and what that takes off the grade."""
    cost = WEIGHTS[slot]
    if slot == "verb":
        kind = KIND_OF[event.noun]
        action = rng.choice([a for a in ACTIONS if a is not event.action and kind in a.objects])
        return replace(event, action=action, verb=action.verb), cost
    if slot == "noun":
        kinds = [kind for kind in event.action.objects if kind != KIND_OF[event.noun]]
        if not kinds or rng.random() < 0.4:
            return other(rng, event, "noun"), SIBLING
        return replace(event, noun=rng.choice(KINDS[rng.choice(kinds)])), cost
    return other(rng, event, slot), cost


_INTENTS = tuple(
    tuple(text.strip() for text in line.split("/"))
    for line in (
        "How can I learn to use {x}? / What is the best way to learn to use {x}?"
        " / How do beginners learn to use {x}?",
        "Where can I buy {x}? / Which shop sells {x}? / What is a good place to buy {x}?",
        "How much does {x} cost? / What is the price of {x}? / How expensive is {x}?",
        "How do I clean {x}? / What is the best way to wash {x}? / How should {x} be cleaned?",
        "How do I repair {x}? / What is the best way to fix {x}? / How can {x} be repaired?",
        "How heavy is {x}? / What is the weight of {x}? / How much does {x} weigh?",
        "Is it safe to use {x}? / Can using {x} be dangerous? / Are there risks in using {x}?",
        "How long does {x} last? / What is the lifetime of {x}? / When does {x} wear out?",
        "How do I sell {x}? / What is the best way to sell {x}? / Who will buy {x} from me?",
        "How do I draw {x}? / What is an easy way to sketch {x}? / How can I draw {x} well?",
        "How do I paint {x}? / Which color is best for {x}? / How can I change the color of {x}?",
        "How big is {x}? / What is the size of {x}? / How large is {x}?",
        "How do I carry {x} on a train? / Can I take {x} on a train? / Is {x} allowed on trains?",
        "How old is {x} in the museum? / What is the age of {x} in the museum?",
        "How can I hide {x}? / Where is a good place to hide {x}? / Where should I hide {x}?",
        "Who can build {x}? / Who knows how to make {x}? / Where do I find somebody to build {x}?",
        "What do I do if somebody steals {x}? / Where do I report {x} that was stolen?",
        "Why do people love {x}? / What makes {x} so popular? / Why is {x} liked so much?",
    )
)
_COMPARISONS = tuple(
    tuple(text.strip() for text in line.split("/"))
    for line in (
        "Is {a} better than {b}? / Is {b} worse than {a}?",
        "Why is {a} cheaper than {b}? / Why is {b} more expensive than {a}?",
        "How do I get from {a} to {b}? / What is the best way to reach {b} from {a}?",
        "Can I sail from {a} to {b}? / Is there a ship to {b} from {a}?",
        "Why is {a} larger than {b}? / Why is {b} smaller than {a}?",
    )
)
_TOPICS = tuple(noun for kind in GOODS if kind not in ("container", "text") for noun in KINDS[kind])


def qqp(rng: Random) -> list[Row]:
    """Two questions; asking the same 1 (37 %), not 0."""
    label = int(rng.random() < 0.37)
    if rng.random() < 0.25:
        one, two = rng.choice(_COMPARISONS)
        a, b = rng.sample(TOWNS, 2)
        texts = [one.format(a=a, b=b), two.format(a=a, b=b) if label else two.format(a=b, b=a)]
    else:
        intent, foreign = rng.sample(_INTENTS, 2)
        one, two = rng.sample(intent, 2)
        x, y = (_topic(rng, noun) for noun in rng.sample(_TOPICS, 2))
        texts = [one.format(x=x), two.format(x=x)]
        if not label:
            texts[1] = rng.choice((two.format(x=y), rng.choice(foreign).format(x=x)))
    first, second = rng.sample(texts, 2)
    return [{"question1": first, "question2": second, "label": label}]


def _topic(rng: Random, noun: str) -> str:
    adjective = rng.choice(("old", "new", "small", "large", "cheap", "modern", "heavy", "used"))
    return indefinite(rng.choice((noun, f"{adjective} {noun}")))
