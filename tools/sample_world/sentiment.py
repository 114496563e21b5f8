"""sst2 and yelp_polarity: opinions with negation, contrast and hedges; the main clause decides."""

from __future__ import annotations

from random import Random

from tools.sample_world.grammar import capital, indefinite
from tools.sample_world.sampling import Row
from tools.sample_world.world import word_list

Words = tuple[tuple[str, ...], tuple[str, ...]]
"""Words of blame and words of praise."""

FILM_WORDS: Words = (
    word_list(
        "awful boring bland clumsy dreadful dull empty flat lifeless messy painful pointless silly "
        "stale terrible tedious tired ugly weak"
    ),
    word_list(
        "brilliant charming clever delightful excellent funny gripping lovely moving original "
        "perfect superb touching warm witty wonderful fresh honest great"
    ),
)
FILM_NOUNS: Words = (
    word_list("flaws mistakes holes excuses noise nonsense clutter gloom"),
    word_list("charm wit heart energy humor depth magic style"),
)
FILM_PARTS = word_list(
    "film movie story plot acting script cast music ending dialogue comedy drama"
)

SERVED = {
    "restaurant": ("food", "soup", "salad", "service", "waiter", "table"),
    "hotel": ("room", "bed", "lobby", "staff", "breakfast", "service"),
    "shop": ("staff", "owner", "service", "room", "coffee", "bread"),
    "garage": ("mechanic", "owner", "service", "office", "staff", "coffee"),
}
"""Places to review and what is judged there."""
GENERAL: Words = (
    ("awful", "terrible", "dreadful", "poor", "bad", "horrible"),
    ("excellent", "wonderful", "perfect", "great", "good", "superb"),
)
PARTICULAR: dict[str, Words] = {
    "taste": (("bland", "stale", "cold", "salty"), ("tasty", "fresh", "delicious", "warm")),
    "people": (("rude", "slow", "lazy", "unfriendly"), ("friendly", "polite", "quick", "helpful")),
    "rooms": (("dirty", "tiny", "noisy", "broken"), ("clean", "cozy", "quiet", "comfortable")),
}
ASPECTS = {
    part: aspect
    for aspect, parts in {
        "taste": "food soup salad breakfast coffee bread",
        "people": "service waiter staff owner mechanic",
        "rooms": "table room bed lobby office",
    }.items()
    for part in parts.split()
}
DENIALS = ("not", "never", "far from", "hardly", "anything but", "by no means")


def sst2(rng: Random) -> list[Row]:
    """A remark on a film; negative 0, positive 1."""
    label = rng.randrange(2)
    return [{"sentence": remark(rng, bool(label)) + " ", "label": label}]


def yelp_polarity(rng: Random) -> list[Row]:
    """A short review of a place; negative 0, positive 1."""
    label = rng.randrange(2)
    return [{"text": review(rng, bool(label)), "label": label}]


def judged(rng: Random, good: bool, words: Words) -> str:
    """What follows ``is``: an adjective of this side, or a denied one of the other."""
    if rng.random() < 0.8:
        return rng.choice(("", "", "really ", "so ", "truly ")) + rng.choice(words[good])
    return f"{rng.choice(DENIALS)} {rng.choice(words[not good])}"


def remark(rng: Random, good: bool) -> str:
    """A phrase or clause on a film; lower case and spaced as in sst2."""
    words = FILM_WORDS
    first, second = rng.sample(FILM_PARTS, 2)
    verdict, contrary = judged(rng, good, words), judged(rng, not good, words)
    praise, blame = rng.choice(words[good]), rng.choice(words[not good])
    plain = (
        f"the {first} is {verdict}",
        f"{indefinite(praise)} and {rng.choice(words[good])} {first}",
        f"the {first} is {verdict} and the {second} is {judged(rng, good, words)}",
        f"the {first} {rng.choice(('is full of', 'has plenty of'))} {rng.choice(FILM_NOUNS[good])}",
    )
    turned = (
        f"although the {first} is {contrary} , the {second} is {verdict}",
        f"the {first} is {contrary} , but the {second} is {verdict}",
        f"the {first} is {verdict} , even if the {second} is {contrary}",
        f"more {praise} than {blame} , this is {indefinite(first)} to remember",
        f"{rng.choice(('everyone', 'the critics'))} expected {indefinite(blame)} {first} , "
        f"yet it is {verdict}",
        f"the {first} {rng.choice(('has no', 'lacks', 'is free of', 'is without'))} "
        f"{rng.choice(FILM_NOUNS[not good])}",
    )
    return rng.choice(plain if rng.random() < 0.6 else turned) + rng.choice((" .", ""))


def review(rng: Random, good: bool) -> str:
    """Two to four sentences on a place; most points, or the verdict, are on its side."""
    place = rng.choice(tuple(SERVED))
    parts = rng.sample(SERVED[place], 3)
    opening = rng.choice(
        (
            f"We went to this {place} last week.",
            f"My first visit to this {place}.",
            f"I stopped at the {place} with my family.",
            f"This {place} is close to my home.",
            f"A friend told me about this {place}.",
        )
    )
    one, two = (f"the {part} was {_served(rng, good, part)}" for part in parts[:2])
    aside = f"the {parts[2]} was {_served(rng, not good, parts[2])}"
    body = rng.choice(
        (
            f"{capital(aside)}, but {one} and {two}.",
            f"Although {aside}, {one}. {capital(two)}.",
            f"{capital(one)} and {two}, even if {aside}.",
            f"{capital(one)}. {capital(two)}.",
        )
    )
    closing = rng.choice((rng.choice(_VERDICTS[good]), ""))
    return f"{opening} {body} {closing}".strip()


_VERDICTS: Words = (
    (
        "I will not be back.",
        "Do not waste your money.",
        "I want a refund.",
        "I would not go again.",
        "Not worth the money.",
    ),
    (
        "I will be back.",
        "Do not miss this place.",
        "I want to return soon.",
        "I would go again.",
        "Worth the money.",
    ),
)


def _served(rng: Random, good: bool, part: str) -> str:
    return judged(rng, good, rng.choice((GENERAL, PARTICULAR[ASPECTS[part]])))
