"""cola: sentences of a small grammar, some of them broken by one violation."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.sample_world.events import any_adjective, any_noun
from tools.sample_world.grammar import (
    gerund,
    indefinite,
    participle,
    past,
    plural,
    sentence,
    third,
)
from tools.sample_world.sampling import Row
from tools.sample_world.world import (
    ACTIONS,
    JOBS,
    KINDS,
    MEN,
    NAMES,
    NUMBERS,
    PLACES,
    WOMEN,
    Action,
    word_list,
)

INTRANSITIVE = word_list("sleep swim sing run laugh smile dance wait work arrive cough fall")
SUBJECTS = (*JOBS, *KINDS["mammal"], *KINDS["bird"])

GOVERNED: dict[str, tuple[str, tuple[str, ...]]] = dict.fromkeys(
    ("can", "must", "will", "did not", "does not", "wants to"),
    ("bare", ("third", "past", "gerund")),
)
GOVERNED |= dict.fromkeys(("has", "had never"), ("participle", ("bare", "gerund")))
GOVERNED |= dict.fromkeys(("is", "was", "likes"), ("gerund", ("bare", "third")))
"""What stands before a verb: the form it asks for, and forms that are wrong there."""


def cola(rng: Random) -> list[Row]:
    """A sentence; acceptable 1 (70 %), broken 0."""
    acceptable = rng.random() < 0.7
    return [{"sentence": rng.choice(FRAMES)(rng, acceptable), "label": int(acceptable)}]


def _number(noun: str, many: bool) -> str:
    return plural(noun) if many else noun


def _subject(rng: Random, many: bool) -> str:
    return _number(rng.choice(SUBJECTS), many)


def _scene(rng: Random) -> str:
    place = rng.choice(tuple(PLACES))
    return f"{PLACES[place]} the {place}"


def _maybe_scene(rng: Random) -> str | None:
    return _scene(rng) if rng.random() < 0.5 else None


def _deed(rng: Random, inflected: bool = True) -> tuple[Action, str]:
    """A verb with an object noun; ``inflected`` asks for a noun whose plural shows."""
    while True:
        action = rng.choice(ACTIONS)
        noun = any_noun(rng, action)
        if not inflected or plural(noun) != noun:
            return action, noun


def agreement(rng: Random, good: bool) -> str:
    """Subject and verb in the present, perhaps with a noun of either number between them."""
    many = rng.random() < 0.5
    between = f"near the {_subject(rng, rng.random() < 0.5)}" if rng.random() < 0.5 else None
    verb = rng.choice(INTRANSITIVE)
    form = verb if many == good else third(verb)
    return sentence("the", _subject(rng, many), between, form, _scene(rng))


def copula(rng: Random, good: bool) -> str:
    """``was`` and ``were`` with an adjective."""
    many = rng.random() < 0.5
    subject = _subject(rng, many)
    be = "were" if many == good else "was"
    adjective = any_adjective(rng, "", "animal")
    if rng.random() < 0.5:
        return sentence("the", subject, _scene(rng), be, adjective)
    return sentence(be, "the", subject, _scene(rng), adjective, end="?")


def existential(rng: Random, good: bool) -> str:
    """``there was`` and ``there were`` with what follows."""
    many = rng.random() < 0.5
    count = rng.choice(NUMBERS[1:]) if many else "one"
    be = "were" if many == good else "was"
    return sentence("there", be, count, _subject(rng, many), _scene(rng))


def coordination(rng: Random, good: bool) -> str:
    """Two subjects joined take the plural, a subject with company the singular."""
    one, two = rng.sample(NAMES, 2)
    joined = rng.random() < 0.5
    form = "are" if joined == good else "is"
    action, noun = _deed(rng)
    subject = f"{one} and {two}" if joined else f"{one}, like {two},"
    return sentence(subject, form, gerund(action.verb), "the", noun, _maybe_scene(rng))


def verb_form(rng: Random, good: bool) -> str:
    """The form that a modal, ``have``, ``be`` or ``did not`` asks of the next verb."""
    action, noun = _deed(rng)
    forms = {
        "bare": action.verb,
        "third": third(action.verb),
        "past": past(action.verb),
        "participle": participle(action.verb),
        "gerund": gerund(action.verb),
    }
    helper = rng.choice(tuple(GOVERNED))
    wanted, wrong = GOVERNED[helper]
    form = forms[wanted]
    if not good:
        form = rng.choice([forms[name] for name in wrong if forms[name] != form])
    return sentence(rng.choice(NAMES), helper, form, "the", noun, _maybe_scene(rng))


def determiner(rng: Random, good: bool) -> str:
    """``this`` and ``these``, ``every`` and ``many`` with the number of the noun."""
    many = rng.random() < 0.5
    plurals, singulars = ("these", "those", "many", "several"), ("this", "that", "every", "each")
    action, noun = _deed(rng)
    form = _number(noun, many == good)
    word = rng.choice(plurals if many else singulars)
    return sentence(rng.choice(NAMES), past(action.verb), word, form, _maybe_scene(rng))


def article(rng: Random, good: bool) -> str:
    """``a`` before a singular noun, not before a plural one; no bare singular."""
    action, noun = _deed(rng)
    many = rng.random() < 0.5
    phrase = plural(noun) if many else indefinite(noun)
    if not good:
        phrase = noun if many else f"{indefinite(noun).split()[0]} {plural(noun)}"
    return sentence(rng.choice(NAMES), past(action.verb), phrase, _scene(rng))


def reflexive(rng: Random, good: bool) -> str:
    """``himself`` and ``herself`` after the one they stand for."""
    woman = rng.random() < 0.5
    name, rival = rng.choice(WOMEN), rng.choice(MEN)
    if not woman:
        name, rival = rival, name
    pronoun = "herself" if woman == good else "himself"
    verb = rng.choice(
        ("saw", "hurt", "praised", "blamed", "drew", "described", "washed", "trusted")
    )
    frames = (
        f"{name} {verb} {pronoun} {_scene(rng)}",
        f"{rival} said that {name} {verb} {pronoun}",
        f"{name}, a friend of {rival}, {verb} {pronoun}",
    )
    return sentence(rng.choice(frames))


def order(rng: Random, good: bool) -> str:
    """A plain clause, or one with two neighbouring words exchanged."""
    action, noun = _deed(rng, inflected=False)
    adjective = any_adjective(rng, noun)
    words = ["the", rng.choice(JOBS), past(action.verb), "the", adjective, noun]
    words += _scene(rng).split()
    if not good:
        at = rng.choice((0, 1, 2, 3, 6, 7))
        words[at], words[at + 1] = words[at + 1], words[at]
    return sentence(*words)


def gap(rng: Random, good: bool) -> str:
    """A clause that lacks an article or a preposition, or does not."""
    action, noun = _deed(rng)
    adjective = any_adjective(rng, noun) if rng.random() < 0.5 else None
    parts = ["the", rng.choice(JOBS), past(action.verb), "the", adjective, noun]
    parts += _scene(rng).split()
    if not good:
        parts[rng.choice((0, 3, 6))] = None
    return sentence(*parts)


def embedded(rng: Random, good: bool) -> str:
    """A clause under a verb: finite after ``thought that``, infinitive after ``wanted``."""
    action, noun = _deed(rng)
    one, two = rng.sample(NAMES, 2)
    finite = rng.random() < 0.5
    inner = past(action.verb) if finite == good else f"to {action.verb}"
    verb = rng.choice(("thought", "knew", "said", "believed", "hoped", "heard"))
    opening = f"{verb} that" if finite else rng.choice(("wanted", "asked", "told"))
    return sentence(one, opening, two, inner, "the", noun)


def relative(rng: Random, good: bool) -> str:
    """A relative clause with its gap, and a clause with its pronoun; or the other way round."""
    action, noun = _deed(rng)
    name, adjective = rng.choice(NAMES), any_adjective(rng, noun)
    if rng.random() < 0.5:
        filler = None if good else "it"
        return sentence("the", noun, "that", name, past(action.verb), filler, "was", adjective)
    filler = "it" if good else None
    return sentence("the", noun, "was", adjective, "when", name, past(action.verb), filler)


def question(rng: Random, good: bool) -> str:
    """A question with the auxiliary in or out of its place."""
    action, noun = _deed(rng)
    name = rng.choice(NAMES)
    opening = rng.choice(("what", f"which {noun}", "when", "why"))
    thing = f"the {noun}" if opening in ("when", "why") else None
    middle = ["did", name] if good else [name, "did"]
    return sentence(opening, *middle, action.verb, thing, end="?")


def comparison(rng: Random, good: bool) -> str:
    """A comparative marked once, or twice, or not at all."""
    short = rng.random() < 0.5
    word = rng.choice(("tall", "old", "rich", "strong", "fast", "young", "kind", "quick"))
    if not short:
        word = rng.choice(("careful", "honest", "polite", "nervous", "famous", "patient"))
    marked = f"{word}er" if short else f"more {word}"
    if not good:
        marked = rng.choice((f"more {word}er", word)) if short else word
    one, two = rng.sample(NAMES, 2)
    return sentence(one, rng.choice(("is", "was", "became")), marked, "than", two)


FRAMES: tuple[Callable[[Random, bool], str], ...] = (
    agreement,
    copula,
    existential,
    coordination,
    verb_form,
    determiner,
    article,
    reflexive,
    order,
    gap,
    embedded,
    relative,
    question,
    comparison,
)
"""Constructions: each writes an acceptable sentence, or breaks its own rule."""
