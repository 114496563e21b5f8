"""English morphology and sentence assembly for the sample world."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tools.sample_world.world import NUMBERS, PROPER, word_list

IRREGULAR_PLURALS: Mapping[str, str] = MappingProxyType(
    {
        "mouse": "mice",
        "person": "people",
        "child": "children",
        "man": "men",
        "woman": "women",
        "fish": "fish",
        "salmon": "salmon",
        "trout": "trout",
        "carp": "carp",
        "wolf": "wolves",
        "leaf": "leaves",
        "potato": "potatoes",
    }
)

IRREGULAR_VERBS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        base: (past, participle)
        for base, past, participle in (
            line.split()
            for line in (
                "buy bought bought",
                "sell sold sold",
                "find found found",
                "lose lost lost",
                "break broke broken",
                "hide hid hidden",
                "show showed shown",
                "build built built",
                "draw drew drawn",
                "feed fed fed",
                "catch caught caught",
                "eat ate eaten",
                "grow grew grown",
                "cut cut cut",
                "write wrote written",
                "read read read",
                "steal stole stolen",
                "drive drove driven",
                "wear wore worn",
                "keep kept kept",
                "lend lent lent",
                "give gave given",
                "teach taught taught",
                "meet met met",
                "know knew known",
                "think thought thought",
                "see saw seen",
                "make made made",
                "take took taken",
                "tell told told",
                "say said said",
                "leave left left",
                "come came come",
                "go went gone",
                "sleep slept slept",
                "swim swam swum",
                "sing sang sung",
                "run ran run",
                "sit sat sat",
                "stand stood stood",
                "fall fell fallen",
                "fly flew flown",
                "hear heard heard",
                "forget forgot forgotten",
                "win won won",
                "put put put",
                "hold held held",
                "send sent sent",
                "hurt hurt hurt",
                "be was been",
                "have had had",
                "do did done",
            )
        )
    }
)

DOUBLED = frozenset(word_list("drop plan stop cut swim run sit put hop clap win forget hug"))
"""Verbs whose last consonant doubles before -ed and -ing."""

VOWELS = "aeiou"


def plural(noun: str) -> str:
    """Plural of a noun."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    return _with_s(noun)


def third(verb: str) -> str:
    """Third person singular present."""
    return {"be": "is", "have": "has", "do": "does"}.get(verb) or _with_s(verb)


def past(verb: str) -> str:
    """Simple past."""
    return IRREGULAR_VERBS[verb][0] if verb in IRREGULAR_VERBS else _with_ed(verb)


def participle(verb: str) -> str:
    """Past participle."""
    return IRREGULAR_VERBS[verb][1] if verb in IRREGULAR_VERBS else _with_ed(verb)


def gerund(verb: str) -> str:
    """The -ing form."""
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith(("ee", "be")):
        return verb[:-1] + "ing"
    return verb + "ing"


def indefinite(phrase: str) -> str:
    """The phrase with ``a`` or ``an`` in front."""
    vowel = phrase[0].lower() in VOWELS and not phrase.startswith(("uni", "use"))
    return f"{'an' if vowel else 'a'} {phrase}"


def counted(count: int, noun: str, adjective: str | None = None) -> str:
    """``a red car`` for 1, ``three red cars`` for 3."""
    front = "" if adjective is None else f"{adjective} "
    if count == 1:
        return indefinite(front + noun)
    return f"{NUMBERS[count - 1]} {front}{plural(noun)}"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def uncapital(text: str) -> str:
    """The text as it stands inside a sentence: a small first letter, except of a proper name."""
    first = text.split(maxsplit=1)[0].removesuffix("'s").strip(",.")
    return text if first in PROPER else text[:1].lower() + text[1:]


def sentence(*parts: str | None, end: str = ".") -> str:
    """Join the non-empty parts, start with a capital, close with ``end``."""
    return capital(" ".join(part for part in parts if part)) + end


def listed(items: list[str], word: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _with_ed(verb: str) -> str:
    if verb in DOUBLED:
        return verb + verb[-1] + "ed"
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"
