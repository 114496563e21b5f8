"""Relations between two, each worded from either side: what one gives, the other receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from tools.sample_world.events import any_time
from tools.sample_world.grammar import counted, sentence
from tools.sample_world.world import COLORS, GOODS, KINDS, NAMES, TOWNS


@dataclass(frozen=True)
class Relation:
    """A relation and its wordings.

    Attributes:
        parties: ``people`` or ``towns``.
        wordings: templates over ``{a}`` and ``{b}`` (and ``{x}``, a thing), all of one meaning.
        exclusive: whether it cannot hold both ways (taller can not, praising can).
    """

    parties: str
    wordings: tuple[str, ...]
    exclusive: bool


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        name: Relation(parties, tuple(wordings.split(" / ")), exclusive)
        for name, parties, exclusive, wordings in (
            ("height", "people", True, "{a} is taller than {b} / {b} is shorter than {a}"),
            ("years", "people", True, "{a} is older than {b} / {b} is younger than {a}"),
            ("wealth", "people", True, "{a} is richer than {b} / {b} is poorer than {a}"),
            ("speed", "people", True, "{a} runs faster than {b} / {b} runs slower than {a}"),
            ("arrival", "people", True, "{a} arrived before {b} / {b} arrived after {a}"),
            ("departure", "people", True, "{a} left earlier than {b} / {b} left later than {a}"),
            ("victory", "people", True, "{a} won against {b} / {b} lost to {a}"),
            ("latitude", "towns", True, "{a} lies north of {b} / {b} lies south of {a}"),
            ("longitude", "towns", True, "{a} lies east of {b} / {b} lies west of {a}"),
            ("extent", "towns", True, "{a} is larger than {b} / {b} is smaller than {a}"),
            ("post", "people", True, "{a} hired {b} / {b} was hired by {a} / {b} works for {a}"),
            (
                "gift",
                "people",
                False,
                "{a} gave {x} to {b} / {a} gave {b} {x} / {b} received {x} from {a} / "
                "{x} was given to {b} by {a}",
            ),
            (
                "sale",
                "people",
                False,
                "{a} sold {x} to {b} / {b} bought {x} from {a} / {b} purchased {x} from {a}",
            ),
            (
                "loan",
                "people",
                False,
                "{a} lent {x} to {b} / {b} borrowed {x} from {a} / {a} lent {b} {x}",
            ),
            (
                "mail",
                "people",
                False,
                "{a} sent {x} to {b} / {b} got {x} from {a} / {x} was sent to {b} by {a}",
            ),
            ("lesson", "people", False, "{a} taught {b} / {b} was taught by {a}"),
            ("pursuit", "people", False, "{a} followed {b} / {b} was followed by {a}"),
            ("praise", "people", False, "{a} praised {b} / {b} was praised by {a}"),
            ("aid", "people", False, "{a} helped {b} / {a} assisted {b} / {b} was helped by {a}"),
            ("call", "people", False, "{a} called {b} / {a} phoned {b} / {b} was called by {a}"),
            ("rescue", "people", False, "{a} saved {b} / {a} rescued {b} / {b} was rescued by {a}"),
            ("blame", "people", False, "{a} blamed {b} / {b} was blamed by {a}"),
        )
    }
)
EXCLUSIVE = tuple(name for name, relation in RELATIONS.items() if relation.exclusive)
MUTUAL = tuple(name for name, relation in RELATIONS.items() if not relation.exclusive)


@dataclass(frozen=True)
class Tie:
    """A relation that holds: its name, first and second party, thing and time."""

    name: str
    a: str
    b: str
    thing: str
    time: str | None = None

    def swapped(self) -> Tie:
        """The same relation the other way round."""
        return Tie(self.name, self.b, self.a, self.thing, self.time)


def any_tie(rng: Random, names: tuple[str, ...] = tuple(RELATIONS), timed: float = 0.5) -> Tie:
    """A random relation between random parties."""
    name = rng.choice(names)
    pool = NAMES if RELATIONS[name].parties == "people" else TOWNS
    a, b = rng.sample(pool, 2)
    thing = counted(1, rng.choice(KINDS[rng.choice(GOODS)]), rng.choice((None, *COLORS)))
    dated = not RELATIONS[name].wordings[0].startswith("{a} is") and pool is NAMES
    time = any_time(rng) if dated and name != "speed" and rng.random() < timed else None
    return Tie(name, a, b, thing, time)


def word_tie(rng: Random, tie: Tie, unlike: str | None = None) -> str:
    """A relation as a sentence, in another wording than ``unlike`` where there is one."""
    texts = [
        sentence(template.format(a=tie.a, b=tie.b, x=tie.thing), tie.time)
        for template in RELATIONS[tie.name].wordings
    ]
    return rng.choice([text for text in texts if text != unlike] or texts)
