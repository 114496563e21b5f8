"""School science of the sample world: what kinds of living things share, causes, comparisons."""

from __future__ import annotations

from random import Random

from tools.sample_world.grammar import indefinite, plural, sentence
from tools.sample_world.world import KINDS, PLANETS, word_list

TRAITS: dict[str, tuple[str, ...]] = {
    "mammal": ("feed milk to their young", "have warm blood", "breathe with lungs", "have hair"),
    "bird": ("have feathers", "lay hard eggs", "have a beak", "build nests"),
    "fish": ("breathe through gills", "live in water", "have fins", "have scales"),
    "insect": ("have six legs", "have a hard shell", "grow from larvae", "smell with feelers"),
    "tree": ("have a woody trunk", "store carbon", "grow rings every year", "have bark"),
    "flower": ("attract bees", "make pollen", "open in sunlight", "have petals"),
    "fruit": ("contain seeds", "hold sugar", "grow from blossoms", "supply vitamins"),
    "vegetable": ("contain fiber", "grow in soil", "supply minerals", "need rain"),
}
"""What all of a kind do or have, after a plural subject; no two kinds share a trait."""

CAUSES = (
    ("heat", "evaporation"),
    ("friction", "heat"),
    ("pressure", "cracks"),
    ("wind", "waves"),
    ("gravity", "tides"),
    ("rain", "erosion"),
    ("smoke", "pollution"),
    ("bacteria", "infection"),
    ("exercise", "sweat"),
    ("cold", "frost"),
    ("lightning", "thunder"),
    ("drought", "hunger"),
    ("rust", "damage"),
    ("noise", "stress"),
    ("light", "growth"),
    ("melting ice", "floods"),
)

RANKS = (
    ("heavier", "lighter", word_list("lead iron stone wood cork")),
    ("harder", "softer", word_list("diamond steel iron gold wax")),
    ("hotter", "cooler", word_list("lightning lava fire steam ice")),
    ("faster", "slower", word_list("light sound wind rain snow")),
    ("larger", "smaller", PLANETS),
)


def science_pair(rng: Random, entailed: bool) -> tuple[str, str]:
    """A premise and a hypothesis that it entails, or leaves open."""
    return rng.choices((trait_pair, cause_pair, rank_pair), (60, 20, 20))[0](rng, entailed)


def trait_pair(rng: Random, entailed: bool) -> tuple[str, str]:
    """Each of two kinds has its trait, something is of one kind: has it the trait?"""
    kind, foreign = rng.sample(tuple(TRAITS), 2)
    trait, foreign_trait = rng.choice(TRAITS[kind]), rng.choice(TRAITS[foreign])
    member = rng.choice(KINDS[kind])
    laws = [f"{plural(kind)} {trait}", f"{plural(foreign)} {foreign_trait}"]
    first, second = (rng.choice(("", "all ")) + law for law in rng.sample(laws, 2))
    is_one = f"{indefinite(member)} is {indefinite(kind)}"
    premise = rng.choice(
        (
            sentence(f"{first}, {second}, and {is_one}"),
            f"{sentence(f'{first} and {second}')} {sentence(is_one)}",
            sentence(f"{plural(member)} are {plural(kind)}, {first} and {second}"),
        )
    )
    return premise, sentence(plural(member), trait if entailed else foreign_trait)


def cause_pair(rng: Random, entailed: bool) -> tuple[str, str]:
    """One thing causes another; not the other way round, and not a third."""
    cause, effect = rng.choice(CAUSES)
    place = rng.choice(
        ("in nature", "on land", "at sea", "in the mountains", "in cities", "at night")
    )
    premise = rng.choice(
        (
            f"{place}, {cause} often causes {effect}",
            f"{place}, {effect} can be a result of {cause}",
            f"{cause} is a common cause of {effect} {place}",
            f"{effect} {place} can be caused by {cause}",
        )
    )
    if not entailed:
        cause, effect = effect, cause
    hypothesis = rng.choice(
        (
            f"{cause} can cause {effect}",
            f"{effect} can come from {cause}",
            f"{effect} can be caused by {cause}",
            f"{cause} can lead to {effect}",
        )
    )
    return sentence(premise), sentence(hypothesis)


def rank_pair(rng: Random, entailed: bool) -> tuple[str, str]:
    """A comparison and its converse or its reverse."""
    more, less, order = rng.choice(RANKS)
    top, middle, low = (order[i] for i in sorted(rng.sample(range(len(order)), 3)))
    laws = (f"{top} is {more} than {middle}", f"{low} is {less} than {middle}")
    premise = " and ".join(rng.sample(laws, 2))
    first, second = rng.choice(((top, middle), (middle, low), (top, low)))
    if rng.random() < 0.5:
        word, pair = more, (first, second)
    else:
        word, pair = less, (second, first)
    if not entailed:
        pair = pair[1], pair[0]
    return sentence(premise), sentence(pair[0], "is", word, "than", pair[1])
