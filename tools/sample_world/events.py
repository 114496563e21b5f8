"""Events of the world, somebody doing something to something, and the ways to put them in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from tools.sample_world.grammar import counted, indefinite, participle, past, sentence
from tools.sample_world.world import (
    ACTIONS,
    COLORS,
    JOBS,
    KIND_OF,
    KINDS,
    MANNERS,
    MONTHS,
    NAMES,
    NOUN_SYNONYMS,
    PLACES,
    POLE_OF,
    SCALES,
    WEEKDAYS,
    Action,
    sort_of,
)

MODIFIERS = ("adjective", "color", "count", "manner", "place", "time")
"""The slots an event may leave empty."""


@dataclass(frozen=True)
class Event:
    """One clause: agent, verb, patient and what modifies them.

    Attributes:
        agent: a name, or a job noun.
        action: the entry of the verb.
        verb: base form as it is worded (the action's verb or a synonym).
        noun: of the patient.
        adjective, color, count: of the patient; count None means one.
        manner, place, time: of the deed; place is a noun, time a phrase.
        negated: whether the deed is denied.
    """

    agent: str
    action: Action
    verb: str
    noun: str
    adjective: str | None = None
    color: str | None = None
    count: int | None = None
    manner: str | None = None
    place: str | None = None
    time: str | None = None
    negated: bool = False

    @property
    def subject(self) -> str:
        """The agent as a phrase."""
        return self.agent if self.agent in NAMES else indefinite(self.agent)

    @property
    def object(self) -> str:
        """The patient as a phrase."""
        words = " ".join(word for word in (self.adjective, self.color) if word)
        return counted(self.count or 1, self.noun, words or None)

    @property
    def filled(self) -> list[str]:
        """Names of the modifiers that are present."""
        return [slot for slot in MODIFIERS if getattr(self, slot) is not None]


def any_time(rng: Random) -> str:
    """A time phrase."""
    if rng.random() < 0.65:
        return f"on {rng.choice(WEEKDAYS)}"
    return f"in {rng.choice(MONTHS)}"


def any_adjective(rng: Random, noun: str, sort: str | None = None) -> str:
    """A quality that the noun (or anything of the sort) can have."""
    kind = sort or sort_of(noun)
    scale = rng.choice([scale for scale in SCALES if kind in scale.kinds])
    return rng.choice(rng.choice(scale.poles))


def any_noun(rng: Random, action: Action) -> str:
    """An object the action can have."""
    return rng.choice(KINDS[rng.choice(action.objects)])


def any_agent(rng: Random) -> str:
    """A name, or less often a job."""
    return rng.choice(NAMES) if rng.random() < 0.6 else rng.choice(JOBS)


def any_modifier(rng: Random, event: Event, slot: str) -> str | int:
    """A value for one of the :data:`MODIFIERS` of the event."""
    if slot == "adjective":
        return any_adjective(rng, event.noun)
    if slot == "color":
        return rng.choice(COLORS)
    if slot == "count":
        return rng.randint(2, 9)
    if slot == "manner":
        return rng.choice(rng.choice(rng.choice(MANNERS)))
    if slot == "place":
        return rng.choice(tuple(PLACES))
    return any_time(rng)


def any_event(rng: Random, modifiers: int = 2, slots: tuple[str, ...] = MODIFIERS) -> Event:
    """An event with so many of the modifiers; adjective and colour never together."""
    action = rng.choice(ACTIONS)
    verb = rng.choice((action.verb, *action.synonyms))
    event = Event(any_agent(rng), action, verb, any_noun(rng, action))
    without = rng.choice(("adjective", "color"))
    return fill(rng, event, rng.sample([slot for slot in slots if slot != without], modifiers))


def fill(rng: Random, event: Event, slots: list[str]) -> Event:
    """The event with random values in the slots."""
    for slot in slots:
        event = replace(event, **{slot: any_modifier(rng, event, slot)})  # type: ignore[arg-type]
    return event


def drop(event: Event, slots: list[str]) -> Event:
    """The event without what stands in the slots."""
    return replace(event, **dict.fromkeys(slots))  # type: ignore[arg-type]


def other(rng: Random, event: Event, slot: str) -> Event:
    """The event with something in the slot that excludes what stood there."""
    value = getattr(event, slot)
    fresh: str | int
    if slot == "adjective":
        scale, pole = POLE_OF[value]
        fresh = rng.choice(scale.poles[1 - pole])
    elif slot == "manner":
        fresh = opposite_manner(rng, value)
    elif slot == "verb":
        fresh = rng.choice(event.action.opposites)
    elif slot == "time":
        names = WEEKDAYS if value.startswith("on") else MONTHS
        preposition, name = value.split()
        fresh = f"{preposition} {rng.choice([n for n in names if n != name])}"
    elif slot == "noun":
        fresh = rng.choice([noun for noun in KINDS[KIND_OF[value]] if noun != value])
    elif slot == "agent":
        pool = NAMES if value in NAMES else JOBS
        fresh = rng.choice([agent for agent in pool if agent != value])
    else:
        fresh = value
        while fresh == value:
            fresh = any_modifier(rng, event, slot)
    return replace(event, **{slot: fresh})  # type: ignore[arg-type]


def opposite_manner(rng: Random, manner: str) -> str:
    """An adverb that excludes this one."""
    for poles in MANNERS:
        for pole, words in enumerate(poles):
            if manner in words:
                return rng.choice(poles[1 - pole])
    raise KeyError(manner)


def reworded(rng: Random, event: Event, share: float = 0.5) -> Event:
    """The event with some words replaced by synonyms, each with probability ``share``."""
    verbs = (event.action.verb, *event.action.synonyms)
    if event.verb in verbs and rng.random() < share:
        event = replace(event, verb=rng.choice(verbs))
    if event.noun in NOUN_SYNONYMS and rng.random() < share:
        event = replace(event, noun=NOUN_SYNONYMS[event.noun])
    if event.adjective and rng.random() < share:
        scale, pole = POLE_OF[event.adjective]
        event = replace(event, adjective=rng.choice(scale.poles[pole]))
    if event.manner and rng.random() < share:
        pole_words = next(p for poles in MANNERS for p in poles if event.manner in p)
        event = replace(event, manner=rng.choice(pole_words))
    return event


def clause(event: Event, passive: bool = False, front: str | None = None) -> str:
    """The event as a clause in the past tense, without capital and full stop.

    Args:
        event: what happened.
        passive: put the patient first.
        front: ``time`` or ``place``: the modifier to open with, if the event has it.
    """
    place = f"{PLACES[event.place]} the {event.place}" if event.place else None
    ends = {"place": place, "time": event.time}
    head = ends.pop(front, None) if front else None
    if passive:
        be = "were" if event.count else "was"
        core = [event.object, be, "not" if event.negated else None, event.manner]
        core += [participle(event.verb), "by", event.subject]
    elif event.negated:
        core = [event.subject, "did not", event.manner, event.verb, event.object]
    else:
        core = [event.subject, event.manner, past(event.verb), event.object]
    return " ".join(word for word in [head and f"{head},", *core, *ends.values()] if word)


def tell(rng: Random, event: Event, passive: float = 0.25, fronted: float = 0.25) -> str:
    """The event as a sentence, in a random voice and order."""
    fronts = [slot for slot in ("place", "time") if getattr(event, slot)]
    front = rng.choice(fronts) if fronts and rng.random() < fronted else None
    return sentence(clause(event, rng.random() < passive, front))
