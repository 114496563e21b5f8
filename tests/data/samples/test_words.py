"""The lexicon is consistent and English morphology is right."""

from __future__ import annotations

from itertools import islice

import pytest

from bench.data.samples import SIZES, generate
from bench.data.samples.corpus import sentences
from bench.data.samples.grammar import (
    counted,
    gerund,
    indefinite,
    listed,
    participle,
    past,
    plural,
    sentence,
    third,
    uncapital,
)
from bench.data.samples.world import (
    ACTIONS,
    KIND_OF,
    KINDS,
    NAMES,
    NOUN_SYNONYMS,
    POLE_OF,
    SCALES,
    hypernyms,
)

FORMS = """
    buy buys bought bought buying | purchase purchases purchased purchased purchasing
    sell sells sold sold selling | find finds found found finding | lose loses lost lost losing
    discover discovers discovered discovered discovering
    repair repairs repaired repaired repairing | fix fixes fixed fixed fixing
    mend mends mended mended mending
    break breaks broke broken breaking | paint paints painted painted painting
    wash washes washed washed washing | clean cleans cleaned cleaned cleaning
    carry carries carried carried carrying | drop drops dropped dropped dropping
    transport transports transported transported transporting | hide hides hid hidden hiding
    conceal conceals concealed concealed concealing | show shows showed shown showing
    build builds built built building | construct constructs constructed constructed constructing
    destroy destroys destroyed destroyed destroying | draw draws drew drawn drawing
    sketch sketches sketched sketched sketching | feed feeds fed fed feeding
    photograph photographs photographed photographed photographing
    chase chases chased chased chasing | pursue pursues pursued pursued pursuing
    watch watches watched watched watching | observe observes observed observed observing
    ignore ignores ignored ignored ignoring | catch catches caught caught catching
    capture captures captured captured capturing | release releases released released releasing
    eat eats ate eaten eating | devour devours devoured devoured devouring
    cook cooks cooked cooked cooking | prepare prepares prepared prepared preparing
    grow grows grew grown growing | cultivate cultivates cultivated cultivated cultivating
    cut cuts cut cut cutting | write writes wrote written writing
    compose composes composed composed composing | read reads read read reading
    open opens opened opened opening | close closes closed closed closing
    steal steals stole stolen stealing | return returns returned returned returning
    rent rents rented rented renting | drive drives drove driven driving
    play plays played played playing | wear wears wore worn wearing | love loves loved loved loving
    adore adores adored adored adoring | hate hates hated hated hating
    visit visits visited visited visiting | avoid avoids avoided avoided avoiding
    keep keeps kept kept keeping | discard discards discarded discarded discarding
    borrow borrows borrowed borrowed borrowing | lend lends lent lent lending
"""


def test_every_verb_of_the_world_is_inflected_as_in_english() -> None:
    table = [entry.split() for line in FORMS.strip().splitlines() for entry in line.split("|")]
    verbs = {verb for a in ACTIONS for verb in (a.verb, *a.synonyms, *a.opposites)}
    assert {base for base, *_ in table} == verbs
    for base, *forms in table:
        assert [third(base), past(base), participle(base), gerund(base)] == forms


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("dog", "dogs"),
        ("mouse", "mice"),
        ("cherry", "cherries"),
        ("box", "boxes"),
        ("toy", "toys"),
        ("beach", "beaches"),
        ("wolf", "wolves"),
        ("trout", "trout"),
        ("person", "people"),
    ],
)
def test_plurals(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_articles_numbers_and_lists() -> None:
    assert indefinite("apple") == "an apple"
    assert indefinite("ugly boat") == "an ugly boat"
    assert indefinite("unhappy nurse") == "an unhappy nurse"
    assert indefinite("used car") == "a used car"
    assert indefinite("red car") == "a red car"
    assert counted(1, "oak") == "an oak"
    assert counted(3, "oak", "old") == "three old oaks"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert sentence("the dog", None, "ran", end="?") == "The dog ran?"


def test_only_proper_names_keep_their_capital() -> None:
    assert uncapital("The dog ran.") == "the dog ran."
    assert uncapital("Anna ran.") == "Anna ran."
    assert uncapital("Anna's dog ran.") == "Anna's dog ran."
    assert uncapital("In May, Anna ran.") == "in May, Anna ran."


def test_every_noun_has_one_kind_and_every_quality_one_scale() -> None:
    nouns = [noun for members in KINDS.values() for noun in members]
    assert len(nouns) == len(set(nouns))
    qualities = [word for scale in SCALES for pole in scale.poles for word in pole]
    assert len(qualities) == len(set(qualities)) == len(POLE_OF)
    assert hypernyms("robin") == ("bird", "animal")
    assert not set(NOUN_SYNONYMS.values()) & set(KIND_OF)
    assert len(set(NAMES)) == len(NAMES)


def test_the_world_is_small() -> None:
    used: set[str] = set()
    for task in SIZES:
        for row in generate(task, "train", 400):
            for value in row.values():
                text = value if isinstance(value, str) else ""
                used.update(word.strip(".,?!;\"'()").lower() for word in text.split())
    assert 1200 < len({word for word in used if word.isalpha()}) < 2500


def test_plain_text_is_deterministic_varied_and_free_of_test_examples() -> None:
    lines = list(islice(sentences(3), 4000))
    assert lines == list(islice(sentences(3), 4000))
    assert lines != list(islice(sentences(4), 4000))
    assert len(set(lines)) > 3000
    assert all(line and line == line.strip() for line in lines)
    held_out = {str(row["sentence"]).strip() for row in generate("sst2", "validation", 1000)}
    held_out |= {str(row["text"]) for row in generate("yelp_polarity", "test", 1000)}
    assert not held_out & set(lines)
