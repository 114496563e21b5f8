"""The sample world: who and what there is, and the words that name it.

Every generator draws from these tables, so that what a model learns from one task (a robin is a
bird, ``purchase`` means ``buy``, ``dirty`` excludes ``clean``) helps it in the others. Towns,
regions, companies and people are invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def word_list(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


WOMEN = word_list(
    "Anna Bella Clara Diana Elena Fiona Grace Helen Irene Julia Karen Laura Maria Nina Olga Paula "
    "Sara Tina Vera Wendy Alice Emma Lucy Ruth Eva Ivy Jane Kate Mary Nora"
)
MEN = word_list(
    "Adam Ben Carl David Eric Frank George Henry Ivan Jack Kevin Leo Noah Oscar Peter Robert Simon "
    "Tom Victor Walter Alan Bruno Daniel Felix Hugo Luke Max Paul Sam Theo"
)
NAMES = WOMEN + MEN
SURNAMES = word_list(
    "Adler Baxter Collins Dalton Ellis Foster Grant Harper Ingram Jensen Keller Lambert Morris "
    "Norton Osborn Palmer Quinn Reeves Spencer Turner Vaughn Walsh Barker Dixon"
)
TOWNS = word_list(
    "Alden Brenford Carwick Dunmore Elmstead Farley Glenholm Harwick Kelby Lowden Marston Newholm "
    "Oakdale Penfield Ravenby Selwick Thornby Upton Wexley Ashwell Bramford Colbridge Dalham "
    "Eastvale Fernley Hollin Ironby Kingsley Lynwood Millbrook"
)
REGIONS = word_list("Norland Sudmark Westria Highmere Caldonia Brevia Tarland Zelmark")
RIVERS = word_list("Arlen Brona Corva Delva Esker Fenna Garrow Lorne Mirra Tarn")
COMPANIES = word_list(
    "Redstone Bluepeak Novatek Silverline Greenway Brightco Northstar Ironworks Clearwater "
    "Sunfield Westport Goldmark"
)

WEEKDAYS = word_list("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = word_list(
    "January February March April May June July August September October November December"
)
YEARS = tuple(str(year) for year in range(1950, 2000))
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COLORS = word_list("red blue green yellow black white brown gray pink purple")
SUBJECTS = word_list("history music law chemistry medicine biology art physics geography")
PRODUCTS = word_list("cheese wine glass paper silk honey coal salt pottery steel")

PLANETS = word_list("Jupiter Saturn Earth Mars Mercury")
PROPER = frozenset(
    (*NAMES, *SURNAMES, *TOWNS, *REGIONS, *RIVERS, *COMPANIES, *WEEKDAYS, *MONTHS, *PLANETS, "I")
)
"""Words that keep their capital inside a sentence."""

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        kind: tuple(members.split())
        for kind, members in {
            "mammal": "dog cat horse cow goat pig rabbit fox bear wolf lion tiger monkey mouse",
            "bird": "robin crow owl eagle swan parrot sparrow pigeon",
            "fish": "salmon trout shark carp",
            "insect": "bee ant beetle moth",
            "tree": "oak pine birch maple willow",
            "flower": "rose tulip daisy lily poppy",
            "fruit": "apple pear cherry plum lemon peach melon",
            "vegetable": "carrot onion potato cabbage pumpkin turnip",
            "dessert": "cake pie pudding cookie tart",
            "meal": "soup stew salad pizza sandwich omelet",
            "vehicle": "car truck bus van tractor bicycle",
            "boat": "canoe ferry raft yacht kayak",
            "instrument": "violin guitar piano flute drum trumpet",
            "tool": "hammer saw shovel drill ladder rake",
            "seat": "chair bench stool sofa",
            "garment": "coat hat scarf shirt glove sweater dress",
            "container": "box bag basket bucket barrel suitcase",
            "toy": "doll kite puzzle balloon ball",
            "text": "novel letter poem essay diary",
            "jewel": "ring necklace bracelet crown",
            "device": "computer camera radio printer clock",
            "building": "school hospital library museum church hotel bank theater",
            "artist": "painter singer dancer poet actor",
            "athlete": "runner swimmer boxer skier",
            "scientist": "chemist biologist physicist geologist",
            "official": "judge mayor senator minister",
            "worker": "plumber carpenter baker farmer miner gardener",
            "medic": "doctor nurse surgeon dentist",
        }.items()
    }
)
"""Kind to its members: the hyponyms of one level."""

KIND_PARENT: Mapping[str, str] = MappingProxyType(
    {"mammal": "animal", "bird": "animal", "fish": "animal", "insect": "animal"}
    | {"tree": "plant", "flower": "plant"}
    | dict.fromkeys(("artist", "athlete", "scientist", "official", "worker", "medic"), "person")
)
"""The second level of hyponymy, where there is one."""

KIND_OF: Mapping[str, str] = MappingProxyType(
    {noun: kind for kind, members in KINDS.items() for noun in members}
)

LIVING = ("mammal", "bird", "fish", "insect")
PLANTS = ("tree", "flower")
EDIBLE = ("fruit", "vegetable", "dessert", "meal")
GOODS = word_list("vehicle boat instrument tool seat garment container toy text jewel device")
ROLES = ("artist", "athlete", "scientist", "official", "worker", "medic")
JOBS = tuple(job for kind in ROLES for job in KINDS[kind])

NOUN_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "bicycle": "bike",
        "doctor": "physician",
        "sofa": "couch",
        "sweater": "pullover",
        "novel": "book",
        "cookie": "biscuit",
        "suitcase": "case",
        "car": "automobile",
        "truck": "lorry",
        "pig": "hog",
        "rabbit": "bunny",
    }
)

PLACES: Mapping[str, str] = MappingProxyType(
    {
        noun: preposition
        for preposition, nouns in {
            "in": "garden kitchen park forest barn attic cellar yard classroom office garage "
            "village valley",
            "at": "market harbor station fair airport",
            "on": "beach bridge hill island farm street",
        }.items()
        for noun in nouns.split()
    }
)
"""Scene of an event to its preposition."""


@dataclass(frozen=True)
class Scale:
    """Two poles of one quality; words of one pole are synonyms, words across it exclude another.

    Attributes:
        name: of the quality.
        poles: the words of either pole.
        kinds: what it can be said of: ``thing``, ``animal``, ``person``.
    """

    name: str
    poles: tuple[tuple[str, ...], tuple[str, ...]]
    kinds: tuple[str, ...]


def _scale(line: str) -> Scale:
    name, first, second, kinds = (part.split() for part in line.split("|"))
    return Scale(name[0], (tuple(first), tuple(second)), tuple(kinds))


SCALES = tuple(
    _scale(line)
    for line in (
        "size | big large | small little | thing animal",
        "price | expensive costly | cheap inexpensive | thing",
        "age | old ancient | new modern | thing",
        "dirt | dirty filthy | clean spotless | thing animal",
        "weight | heavy | light | thing",
        "beauty | beautiful pretty | ugly | thing animal",
        "moisture | wet damp | dry | thing animal",
        "noise | loud noisy | quiet silent | animal person",
        "strength | strong powerful | weak feeble | animal person",
        "mood | happy cheerful | sad unhappy | person",
        "calm | calm relaxed | nervous anxious | person",
        "wealth | rich wealthy | poor | person",
        "years | young | elderly | person",
        "courage | brave courageous | timid fearful | animal person",
        "wits | clever smart | foolish silly | person",
        "manners | polite courteous | rude | person",
        "warmth | kind friendly | cruel mean | person",
        "speed | fast quick | slow | animal",
    )
)
POLE_OF: Mapping[str, tuple[Scale, int]] = MappingProxyType(
    {word: (scale, i) for scale in SCALES for i, pole in enumerate(scale.poles) for word in pole}
)

MANNERS = (
    (("quickly", "rapidly"), ("slowly", "unhurriedly")),
    (("carefully", "cautiously"), ("carelessly", "recklessly")),
    (("quietly", "silently"), ("loudly", "noisily")),
    (("gladly", "willingly"), ("reluctantly", "unwillingly")),
    (("secretly", "privately"), ("openly", "publicly")),
)
"""Adverb pairs: synonyms inside a pole, opposites across."""


@dataclass(frozen=True)
class Action:
    """A transitive verb of the world.

    Attributes:
        verb: base form.
        synonyms: base forms of the same meaning.
        opposites: base forms that exclude it.
        objects: kinds of its object.
    """

    verb: str
    synonyms: tuple[str, ...]
    opposites: tuple[str, ...]
    objects: tuple[str, ...]


def _action(line: str) -> Action:
    verb, synonyms, opposites, objects = (part.split() for part in line.split("|"))
    groups = {"GOODS": GOODS, "EDIBLE": EDIBLE, "LIVING": LIVING, "PLANTS": PLANTS}
    kinds = tuple(kind for word in objects for kind in groups.get(word, (word,)))
    return Action(verb[0], tuple(synonyms), tuple(opposites), kinds)


_LISTED = tuple(
    _action(line)
    for line in (
        "buy | purchase | sell | GOODS EDIBLE",
        "find | discover | lose | garment tool toy jewel text device",
        "repair | fix mend | break | vehicle boat instrument tool seat device toy",
        "paint | | | boat seat container vehicle",
        "wash | clean | | vehicle boat garment container fruit",
        "carry | transport | drop | container instrument tool seat",
        "hide | conceal | show | toy text jewel",
        "build | construct | destroy | boat seat toy device",
        "draw | sketch | | LIVING PLANTS building",
        "photograph | | | LIVING PLANTS building",
        "feed | | | mammal bird fish",
        "chase | pursue | | mammal bird",
        "watch | observe | ignore | LIVING building",
        "catch | capture | release | LIVING",
        "eat | devour | | fruit dessert meal",
        "cook | prepare | | meal vegetable",
        "grow | cultivate | | PLANTS fruit vegetable",
        "cut | | | fruit vegetable dessert tree flower",
        "write | compose | | text",
        "read | | | text",
        "open | | close | container text",
        "steal | | return | jewel vehicle toy device garment",
        "rent | | | vehicle boat",
        "drive | | | vehicle",
        "play | | | instrument",
        "wear | | | garment jewel",
        "love | adore | hate | LIVING EDIBLE PLANTS",
        "visit | | avoid | building",
        "keep | | discard | GOODS",
        "borrow | | lend | GOODS",
    )
)
ACTIONS = _LISTED + tuple(
    Action(verb, (), (action.verb, *action.synonyms), action.objects)
    for action in _LISTED
    for verb in action.opposites
)
"""The verbs, and their opposites as verbs of their own."""


def hypernyms(noun: str) -> tuple[str, ...]:
    """The words for what a noun's bearer also is, nearest first: robin, bird, animal."""
    kind = KIND_OF[noun]
    parent = KIND_PARENT.get(kind)
    return (kind,) if parent is None else (kind, parent)


def sort_of(noun: str) -> str:
    """Which qualities a noun can have: ``person``, ``animal`` or ``thing``."""
    parent = KIND_PARENT.get(KIND_OF[noun])
    return parent if parent in ("person", "animal") else "thing"
