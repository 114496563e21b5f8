"""Short questions on the words of the sample world: what is a robin, is *costly* like *cheap*.

They give words their meaning early on. The tasks alone hardly do: there, no single word tells the
label, so that nothing is learned of a word before all the others are known.
"""

from __future__ import annotations

from random import Random

from tools.sample_world.sentiment import FILM_WORDS, GENERAL, PARTICULAR
from tools.sample_world.world import ACTIONS, KIND_OF, MANNERS, NOUN_SYNONYMS, SCALES, hypernyms

Entry = tuple[str, str]
"""Question and answer."""

POLES = (*(scale.poles for scale in SCALES), *MANNERS)
NOUNS = tuple(KIND_OF)
OPINIONS = (FILM_WORDS, GENERAL, *PARTICULAR.values())


def entry(rng: Random) -> Entry:
    """One question on a word, or on how two words compare."""
    return rng.choice((_opinion, _kind, _nouns, _qualities, _actions))(rng)


def _opinion(rng: Random) -> Entry:
    words, answer = rng.choice(
        [
            (side, answer)
            for pair in OPINIONS
            for side, answer in zip(pair, ("bad", "good"), strict=True)
        ]
    )
    return f"opinion {rng.choice(words)}", answer


def _kind(rng: Random) -> Entry:
    noun = rng.choice(NOUNS)
    return f"kind of {noun}", hypernyms(noun)[0]


def _nouns(rng: Random) -> Entry:
    noun = rng.choice(NOUNS)
    draw = rng.random()
    if draw < 0.3:
        return _compared(noun, rng.choice(hypernyms(noun)), "kind")
    if draw < 0.5:
        return _compared(rng.choice(hypernyms(noun)), noun, "example")
    if draw < 0.7:
        return _compared(noun, NOUN_SYNONYMS.get(noun, noun), "same")
    second = rng.choice(NOUNS)
    return _compared(noun, second, "same" if noun == second else "other")


def _qualities(rng: Random) -> Entry:
    poles, others = rng.sample(POLES, 2)
    side = rng.randrange(2)
    relation, words = rng.choice(
        (("same", poles[side]), ("opposite", poles[1 - side]), ("other", rng.choice(others)))
    )
    return _compared(rng.choice(poles[side]), rng.choice(words), relation)


def _actions(rng: Random) -> Entry:
    action, other = rng.sample(ACTIONS, 2)
    same = (action.verb, *action.synonyms)
    if rng.random() < 0.4:
        return _compared(rng.choice(same), rng.choice(same), "same")
    if action.opposites and rng.random() < 0.6:
        return _compared(rng.choice(same), rng.choice(action.opposites), "opposite")
    relation = "opposite" if other.verb in action.opposites else "other"
    if set(other.opposites) & set(same):
        relation = "opposite"
    return _compared(rng.choice(same), other.verb, relation)


def _compared(first: str, second: str, relation: str) -> Entry:
    return f"compare {first} and {second}", relation
