"""e2e, common_gen and web_nlg: data put into words, with several references each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.sample_world.dossier import any_fact, any_kind, any_subject, tell_all
from tools.sample_world.events import any_agent
from tools.sample_world.grammar import capital, gerund, indefinite, past, sentence
from tools.sample_world.properties import PROPERTIES
from tools.sample_world.sampling import Row
from tools.sample_world.world import ACTIONS, KINDS, MANNERS, PLACES, word_list

VENUES = tuple(
    f"The {first} {second}"
    for first in word_list("Golden Silver Green Blue Red Old Happy Quiet")
    for second in word_list("Lamp Anchor Bell Fox Garden Spoon Crown Swan")
)
VENUE_SLOTS = {
    "eatType": ("restaurant", "pub", "coffee shop"),
    "food": ("Italian", "French", "Indian", "Chinese", "Japanese", "English"),
    "priceRange": ("cheap", "moderate", "high", "less than £20", "more than £30"),
    "customer rating": ("low", "average", "high", "1 out of 5", "3 out of 5", "5 out of 5"),
    "area": ("riverside", "city centre"),
    "familyFriendly": ("yes", "no"),
    "near": ("Burger Queen", "Rainbow Cafe", "The Bakers", "Crown Plaza", "Market Hall"),
}


def _distinct(make: Callable[[], str], count: int) -> list[str]:
    """Up to ``count`` different texts, in the order they were made."""
    return list(dict.fromkeys(make() for _ in range(4 * count)))[:count]


def e2e(rng: Random) -> list[Row]:
    """A venue as attribute-value pairs, and up to three descriptions of it."""
    chosen = set(rng.sample(tuple(VENUE_SLOTS), rng.randint(2, 5)))
    values = {slot: rng.choice(VENUE_SLOTS[slot]) for slot in VENUE_SLOTS if slot in chosen}
    name = rng.choice(VENUES)
    meaning = ", ".join(f"{slot}[{value}]" for slot, value in {"name": name, **values}.items())
    texts = _distinct(lambda: _described(rng, name, values), rng.choice((2, 3)))
    return [{"meaning_representation": meaning, "human_reference": text} for text in texts]


def _described(rng: Random, name: str, values: dict[str, str]) -> str:
    rest = dict(values)
    kind = rest.pop("eatType", "place")
    food = rest.pop("food", None)
    serving = ""
    if food and rng.random() < 0.5:
        kind = f"{food} {kind}"
    elif food:
        serving = f" serving {food} food"
    if rest.get("familyFriendly") == "yes" and rng.random() < 0.5:
        kind = f"family friendly {kind}"
        del rest["familyFriendly"]
    area, near = rest.pop("area", None), rest.pop("near", None)
    where = (f" in the {area}" if area else "") + (f" near {near}" if near else "")
    openings = [
        f"{name} is {indefinite(kind)}{serving}{where}.",
        f"There is {indefinite(kind)}{serving} called {name}{where}.",
    ]
    if where:
        openings.append(f"{capital(where.strip())}, {name} is {indefinite(kind)}{serving}.")
    remarks = [_remark(rng, slot, value) for slot, value in rest.items()]
    tail = " and ".join(rng.sample(remarks, len(remarks)))
    return " ".join([rng.choice(openings), *([sentence(tail)] if tail else [])])


def _remark(rng: Random, slot: str, value: str) -> str:
    if slot == "priceRange":
        exact = value[-1].isdigit()
        return (
            f"{rng.choice(('meals cost', 'you pay'))} {value}" if exact else f"prices are {value}"
        )
    if slot == "customer rating":
        return rng.choice((f"the customer rating is {value}", f"customers rate it {value}"))
    if value == "yes":
        return rng.choice(("children are welcome", "it is family friendly"))
    return rng.choice(("children are not welcome", "it is not family friendly"))


def common_gen(rng: Random) -> list[Row]:
    """A set of concepts, and sentences of daily life that use them all."""
    action = rng.choice(ACTIONS)
    noun = rng.choice(KINDS[rng.choice(action.objects)])
    place = rng.choice(tuple(PLACES))
    concepts = [action.verb, noun, place]
    manner = None
    if rng.random() < 0.4:
        manner = rng.choice(rng.choice(rng.choice(MANNERS)))
        concepts.append(manner)
    scene = f"{PLACES[place]} the {place}"

    def write() -> str:
        agent = rng.choice(("man", "woman", "boy", "girl", any_agent(rng)))
        agent = indefinite(agent) if agent.islower() else agent
        thing = rng.choice((indefinite(noun), f"the {noun}"))
        frames = (
            (agent, manner, past(action.verb), thing, scene),
            (agent, "is", manner, gerund(action.verb), thing, scene),
            (f"{scene},", agent, manner, past(action.verb), thing),
        )
        return sentence(*rng.choice(frames))

    concepts.sort()
    texts = _distinct(write, rng.choice((2, 3)))
    return [{"concepts": concepts, "target": text} for text in texts]


def web_nlg(rng: Random) -> list[Row]:
    """One to three triples on a subject, and up to three texts that tell them."""
    kind = any_kind(rng)
    subject = any_subject(rng, kind)
    chosen = rng.sample(PROPERTIES[kind], rng.randint(1, 3))
    facts = [any_fact(rng, kind, subject, prop) for prop in PROPERTIES[kind] if prop in chosen]
    cells = [(fact.subject, fact.property.name, fact.value) for fact in facts]
    triples = [" | ".join(cell.replace(" ", "_") for cell in triple) for triple in cells]
    texts = _distinct(lambda: " ".join(tell_all(rng, facts)[1]), rng.choice((2, 3)))
    return [
        {"input": triples, "target": text, "references": texts, "category": capital(kind)}
        for text in texts
    ]
