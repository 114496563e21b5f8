"""Plain text of the sample world: what a language model reads before it sees any task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tools.sample_world.events import any_event, tell
from tools.sample_world.grammar import indefinite, plural, sentence
from tools.sample_world.registry import SAMPLERS
from tools.sample_world.relations import any_tie, word_tie
from tools.sample_world.sampling import seeded, stream
from tools.sample_world.world import KIND_OF, NOUN_SYNONYMS, SCALES, hypernyms

TEXT_COLUMNS = {
    "squad": "context",
    "hotpotqa": "context",
    "newsqa": "context",
    "multirc": "paragraph",
    "yelp_polarity": "text",
    "sst2": "sentence",
    "wsc.fixed": "text",
    "wic": "sentence1",
    "scitail": "sentence1",
    "mnli": "premise",
    "e2e": "human_reference",
    "common_gen": "target",
    "web_nlg": "target",
}
"""Tasks whose training texts read well on their own, and the column that holds them."""


def sentences(seed: int) -> Iterator[str]:
    """Endless plain text, a few sentences at a time; the same for the same seed.

    Task texts come from training buckets only, so none of it is a validation or test example.
    """
    rng = Random(seeded("corpus", seed))
    streams = {task: stream(task, SAMPLERS[task], seed) for task in TEXT_COLUMNS}
    while True:
        if rng.random() < 0.5:
            yield rng.choice(_WRITERS)(rng)
        else:
            task = rng.choice(tuple(streams))
            yield str(next(streams[task])[TEXT_COLUMNS[task]]).strip()


def _story(rng: Random) -> str:
    """Two events in a row."""
    return " ".join(tell(rng, any_event(rng, rng.randint(0, 3))) for _ in range(2))


def _two_sides(rng: Random) -> str:
    """A relation, told from either side."""
    tie = any_tie(rng)
    first = word_tie(rng, tie)
    return f"{first} {word_tie(rng, tie, unlike=first)}"


def _taxonomy(rng: Random) -> str:
    """What a thing is."""
    noun = rng.choice(tuple(KIND_OF))
    kind = rng.choice(hypernyms(noun))
    return rng.choice(
        (
            sentence(indefinite(noun), "is", indefinite(kind)),
            sentence("all", plural(noun), "are", plural(kind)),
            sentence(plural(noun), "are", plural(kind)),
        )
    )


def _meaning(rng: Random) -> str:
    """What a word means."""
    if rng.random() < 0.2:
        word, same = rng.choice(tuple(NOUN_SYNONYMS.items()))
        return sentence(indefinite(word), "is", indefinite(same))
    scale = rng.choice(SCALES)
    side = rng.randrange(2)
    word, other = rng.choice(scale.poles[side]), rng.choice(scale.poles[1 - side])
    same = rng.choice(scale.poles[side])
    return rng.choice(
        (
            sentence("what is", word, "is not", other),
            sentence("what is not", word, "is", other),
            sentence("what is", word, "is", same),
        )
    )


_WRITERS: tuple[Callable[[Random], str], ...] = (_story, _two_sides, _taxonomy, _meaning)
