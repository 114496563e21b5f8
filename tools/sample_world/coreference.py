"""wsc.fixed and winogrande: a pronoun (or gap) that only what is likely in the world resolves."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tools.sample_world.grammar import capital
from tools.sample_world.sampling import Row
from tools.sample_world.world import JOBS, KINDS, MEN, WOMEN, word_list


@dataclass(frozen=True)
class Schema:
    """A situation of two parties and reasons that fit only one of them.

    Attributes:
        openings: wordings over ``{a}`` and ``{b}``, naming them in either order.
        link: the word before the reason.
        reasons: what is said of a, and what is said of b; follows the pronoun.
        things: key of :data:`THINGS` if a and b are things; empty for people.
    """

    openings: tuple[str, ...]
    link: str
    reasons: tuple[tuple[str, ...], tuple[str, ...]]
    things: str = ""


def _schema(scene: str, reasons: str) -> Schema:
    openings, link, *things = scene.split(" | ")
    of_a, of_b = (tuple(side.strip().split("; ")) for side in reasons.split(" | "))
    return Schema(tuple(openings.split("; ")), link, (of_a, of_b), "".join(things))


_SITUATIONS = """
{a} lent money to {b}; {b} borrowed money from {a} | because
    was rich; had plenty of money | was poor; had no money left
{a} thanked {b}; {b} was thanked by {a} | because
    had received help; was saved in time | had given help; had been so kind
{a} beat {b} in the race; {b} lost the race against {a} | because
    was faster; was in good form | was slower; was badly injured
{a} asked {b} a question; {b} heard a question from {a} | because
    did not know the answer; wanted to learn | knew the answer; was an expert
{a} bought a car from {b}; {b} sold a car to {a} | because
    needed a car; had to drive to work | needed cash; had two cars
{a} carried the bag for {b}; {b} had the bag carried by {a} | because
    was strong; wanted to be kind | was weak; had a broken arm
{a} taught {b} to swim; {b} learned to swim from {a} | because
    swam well; was a trainer | could not swim; was a beginner
{a} hired {b}; {b} was hired by {a} | because
    needed a worker; had too much work | needed a job; had the right skills
{a} visited {b} in hospital; {b} had a visit from {a} in hospital | because
    was worried; wanted to cheer a friend | was ill; had an operation
{a} cooked dinner for {b}; {b} ate the dinner of {a} | because
    liked to cook; had a new recipe | was hungry; had not eaten all day
{a} hid from {b}; {b} looked for {a} | because
    was afraid; had broken the window | was angry; wanted the money back
{a} forgave {b}; {b} was forgiven by {a} | because
    was generous; did not hold a grudge | said sorry; regretted the lie
{a} envied {b}; {b} was envied by {a} | because
    had no success; never won anything | had great success; won every prize
{a} woke {b}; {b} was woken by {a} | because
    had made noise; came home late | had slept too long; had overslept
{a} followed the advice of {b}; {b} gave advice to {a} | because
    was unsure; did not know what to do | was wise; had more experience
{a} punished {b}; {b} was punished by {a} | because
    was strict; was the teacher | had cheated; had stolen a book
{a} waited for {b}; {b} kept {a} waiting | because
    was early; had come too soon | was late; had missed the bus
{a} trusted {b}; {b} had the trust of {a} | so
    told a secret; handed over the keys | heard a secret; was given the keys
{a} paid {b}; {b} was paid by {a} | so
    had less money; got a receipt | had more money; wrote a receipt
{a} called {b} but nobody answered; {b} missed a call from {a} | because
    had important news; wanted to talk | was asleep; had lost the phone
{a} guided {b} through the forest; {b} was led through the forest by {a} | because
    knew the way; had a map | was lost; was a stranger there
{a} interviewed {b}; {b} was interviewed by {a} | because
    was a reporter; wrote for a newspaper | was famous; had seen the crime
the {a} did not fit into the {b}; the {b} could not hold the {a} | because | fit
    was too big; was too large | was too small; was too narrow
the {a} broke the {b}; the {b} was broken by the {a} | because | break
    was very hard; was made of steel | was very fragile; was made of glass
the {a} covered the {b}; the {b} was covered by the {a} | because | cover
    was wide; was on top | was below; was at the bottom
"""
"""Two lines each: openings, link word and kind of things; what is said of a, and of b."""

_LINES = _SITUATIONS.strip().splitlines()
SCHEMAS = tuple(_schema(*pair) for pair in zip(_LINES[::2], _LINES[1::2], strict=True))

THINGS = {
    "fit": (
        word_list("violin guitar trumpet drum camera radio clock hammer ladder puzzle doll"),
        KINDS["container"],
    ),
    "break": (
        word_list("hammer stone pipe bell statue shovel"),
        word_list("vase mirror bottle lamp bowl window"),
    ),
    "cover": (
        word_list("blanket carpet sheet cloth"),
        word_list("table bed bench box chair"),
    ),
}
"""What the two parties of a schema on things can be."""


@dataclass(frozen=True)
class Case:
    """A worked-out schema.

    Attributes:
        before, pronoun, after: the text.
        parties: who or what it is about.
        referent: index of the party that the pronoun means.
    """

    before: str
    pronoun: str
    after: str
    parties: tuple[str, str]
    referent: int


def any_case(rng: Random) -> Case:
    """A random schema with random parties; either party is meant equally often."""
    schema = rng.choice(SCHEMAS)
    woman = rng.random() < 0.5
    if schema.things:
        first, second = (rng.choice(pool) for pool in THINGS[schema.things])
    else:
        first, second = rng.sample(WOMEN if woman else MEN, 2)
        if rng.random() < 0.3:
            first, second = (f"the {job}" for job in rng.sample(JOBS, 2))
    referent = rng.randrange(2)
    opening = rng.choice(schema.openings).format(a=first, b=second)
    reason = rng.choice(schema.reasons[referent])
    article = "the " if schema.things else ""
    pronoun = ("she" if woman else "he") if not schema.things else "it"
    return Case(
        before=f"{capital(opening)} {schema.link}",
        pronoun=pronoun,
        after=f"{reason}.",
        parties=(article + first, article + second),
        referent=referent,
    )


def winogrande(rng: Random) -> list[Row]:
    """A sentence with a gap and two options; answer "1" or "2"."""
    case = any_case(rng)
    order = rng.sample((0, 1), 2)
    return [
        {
            "sentence": f"{case.before} _ {case.after}",
            "option1": case.parties[order[0]],
            "option2": case.parties[order[1]],
            "answer": str(order.index(case.referent) + 1),
        }
    ]


def wsc(rng: Random) -> list[Row]:
    """A text, a noun in it, a pronoun in it; 1 if the pronoun means the noun (45 %)."""
    case = any_case(rng)
    label = int(rng.random() < 0.45)
    span1 = case.parties[case.referent if label else 1 - case.referent]
    text = f"{case.before} {case.pronoun} {case.after}"
    words = text.split()
    index = _word_index(words, span1)
    return [
        {
            "text": text,
            "span1_index": index,
            "span2_index": len(case.before.split()),
            "span1_text": " ".join(words[index : index + len(span1.split())]),
            "span2_text": case.pronoun,
            "label": label,
        }
    ]


def _word_index(words: list[str], span: str) -> int:
    wanted = span.lower().split()
    lower = [word.lower() for word in words]
    return next(i for i in range(len(words)) if lower[i : i + len(wanted)] == wanted)
