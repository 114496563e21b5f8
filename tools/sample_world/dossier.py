"""Facts about people, towns and companies: made up, told, denied and asked after."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tools.sample_world.grammar import capital, indefinite
from tools.sample_world.properties import PROPERTIES, Property
from tools.sample_world.world import COMPANIES, NAMES, SURNAMES, TOWNS, WOMEN


@dataclass(frozen=True)
class Fact:
    """A property of a subject with its value; denied if it is told as not so."""

    kind: str
    subject: str
    property: Property
    value: str
    denied: bool = False

    def wordings(self) -> tuple[str, ...]:
        """The templates that tell the fact."""
        if not self.denied:
            return self.property.statements
        name, auxiliary, rest = self.property.claim
        return (f"{name} {auxiliary} not {rest}.",)

    def told(self, rng: Random, subject: str | None = None, unlike: str | None = None) -> str:
        """The fact as a sentence.

        Args:
            rng: picks the wording.
            subject: word to use for the subject (a pronoun, say).
            unlike: a wording to avoid where there is another.
        """
        templates = self.wordings()
        if subject in PRONOUNS:
            templates = tuple(text for text in templates if text.startswith("{s}"))
        texts = [capital(self._fill(text, subject)) for text in templates]
        return rng.choice([text for text in texts if text != unlike] or texts)

    def asked(self, rng: Random, subject: str | None = None) -> str:
        """The question that the value answers."""
        return self._fill(rng.choice(self.property.questions), subject)

    def doubted(self) -> str:
        """The fact as a yes-or-no question, without capital and mark."""
        name, auxiliary, rest = self.property.claim
        return self._fill(f"{auxiliary} {name} {rest}")

    def _fill(self, template: str, subject: str | None = None) -> str:
        return template.format(s=subject or self.subject, v=self.value, a=indefinite(self.value))


def any_subject(rng: Random, kind: str) -> str:
    """A person, town or company."""
    if kind == "person":
        name = rng.choice(NAMES)
        return f"{name} {rng.choice(SURNAMES)}" if rng.random() < 0.3 else name
    return rng.choice(TOWNS if kind == "town" else COMPANIES)


def two_subjects(rng: Random, kind: str) -> tuple[str, str]:
    """Two subjects of one kind that share no word."""
    one, two = any_subject(rng, kind), any_subject(rng, kind)
    while set(one.split()) & set(two.split()):
        two = any_subject(rng, kind)
    return one, two


def any_fact(rng: Random, kind: str, subject: str, prop: Property, *but: str) -> Fact:
    """A fact of the subject with a random value that is neither in ``but`` nor the subject."""
    excluded = {*but, *subject.split()}
    return Fact(kind, subject, prop, rng.choice([v for v in prop.values if v not in excluded]))


def any_kind(rng: Random) -> str:
    """A kind of subject, mostly ``person``."""
    return rng.choices(("person", "town", "company"), (60, 20, 20))[0]


def twin_facts(rng: Random, properties: int = 2) -> list[Fact]:
    """The same properties of two subjects, with different values; first all of the one.

    So every question about them has a rival answer.
    """
    kind = any_kind(rng)
    one, two = two_subjects(rng, kind)
    chosen = rng.sample(PROPERTIES[kind], properties)
    first = [any_fact(rng, kind, one, prop, *two.split()) for prop in chosen]
    taken = (*one.split(), *(fact.value for fact in first))
    return first + [any_fact(rng, kind, two, prop, *taken) for prop in chosen]


def tell_all(rng: Random, facts: list[Fact]) -> tuple[list[Fact], list[str]]:
    """The facts in an order of telling, and their sentences; pronouns only where they are clear."""
    if rng.random() < 0.4:
        facts = rng.sample(facts, len(facts))
    lines: list[str] = []
    for at, fact in enumerate(facts):
        subject = None
        if at and _clear(facts[at - 1], lines[-1], fact) and rng.random() < 0.5:
            subject = pronoun(fact.kind, fact.subject)
        lines.append(fact.told(rng, subject))
    return facts, lines


PRONOUNS = ("she", "he", "it")


def _clear(before: Fact, line: str, fact: Fact) -> bool:
    """Whether a pronoun at the start of the sentence after ``line`` can only mean the subject."""
    names_another = before.property.of == fact.kind
    same = before.subject == fact.subject and line.startswith((fact.subject, "She", "He", "It"))
    opens = any(text.startswith("{s}") for text in fact.wordings())
    return same and opens and not names_another


def pronoun(kind: str, subject: str) -> str:
    """``she``, ``he`` or ``it`` for a subject."""
    if kind != "person":
        return "it"
    return "she" if subject.split()[0] in WOMEN else "he"
