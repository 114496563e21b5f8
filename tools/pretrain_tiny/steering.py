"""Instructions that stand in front of a task's published text and say how to write the answer.

The model so learns to be steered by what stands in front of its input, which is what a soft prompt
does. A published text with no instruction never has its published answer: the way of writing the
published answer (class indices above all) exists only behind its instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from bench.tasks.base import Task, TextPair

YES, NO, MAYBE = range(3)

MEANINGS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("cola", "sst2", "mrpc", "qqp", "boolq", "multirc", "wic"), (NO, YES)),
    **dict.fromkeys(("wsc.fixed", "winogrande", "yelp_polarity", "paws"), (NO, YES)),
    **dict.fromkeys(("qnli", "rte", "scitail"), (YES, NO)),
    "mnli": (YES, MAYBE, NO),
    "cb": (YES, NO, MAYBE),
}
"""What the class indices of a task mean: entailed, acceptable, positive, ... are all "yes"."""

WORD_STYLES = (
    ("true", "false", "open"),
    ("right", "wrong", "other"),
    ("good", "bad", "small"),
    ("A", "B", "C"),
    ("all", "no", "some"),
)
"""Ways of writing yes, no and maybe in words, behind their instruction."""

PLAIN = ("same", "opposite", "other")
"""How yes, no and maybe are written where no instruction says otherwise."""

INDEX_STYLES = (("1", "0", "2"), ("0", "1", "2"), ("0", "2", "1"))
"""Ways of writing yes, no and maybe as numbers, only ever behind their instruction.

Between them they hold the published encodings of all classification tasks.
"""

LETTERS = "ABCDEF"
"""Grades of similarity from 0 to 5, where nothing asks for numbers."""


NAMES: Mapping[str, str] = {
    **{"write true false open": "true", "write right wrong other": "right"},
    **{"write good bad small": "good", "write A B C": "A", "write all no some": "all"},
    **{"write 1 0 2": "down", "write 0 1 2": "up", "write 0 2 1": "turn"},
    **{"write short": "short", "write long": "long", "write 5.0 0.0": "5.0", "write 5 0": "5"},
    **{"write text": "text", "write list": "list"},
}
"""Another way to say each instruction: in one word, which is no random word where names are used.

Words that were read before. With letters that no text had, the published names of tasks that are
never seen were taken for names of instructions.

What an instruction asks for depends on the order of its words; a name may stand anywhere and more
than once, so that every place of a soft prompt can come nearer to it by itself.
"""

MOST_NAMES = 4
"""Times that a name stands there."""

RESTATED = 6
"""Words of a question, field marks included, that are repeated where none asks for the answer."""


ASKED_SHARE = 0.8
"""Share of other examples than judgements with an instruction."""


def published_instruction(task: Task) -> str:
    """The instruction that asks for a task's published answers."""
    if task.name in MEANINGS:
        style = next(s for s in INDEX_STYLES if _writes_published(s, MEANINGS[task.name]))
        return _instruction(style)
    if task.name == "stsb":
        return "write 5.0 0.0"
    return "write text" if "nlg" in task.suites else "write short"


def any_style(rng: Random, named: float) -> tuple[str, tuple[str, ...]]:
    """An instruction, by name in that share of cases, and how it has yes, no and maybe written."""
    style = rng.choice(INDEX_STYLES if rng.random() < 0.5 else WORD_STYLES)
    return _perhaps_named(_instruction(style), rng, named), style


def steer(
    task: Task, pair: TextPair, rng: Random, styled: float = 0.75, named: float = 0.0
) -> tuple[str, str]:
    """Choose an instruction, or none (empty), and write the answer of an example accordingly.

    Args:
        task: of the example.
        pair: its published text and answer.
        rng: chooses.
        styled: share of judgements with an instruction.
        named: share of instructions that are a name.
    """
    judged = task.name in MEANINGS
    if rng.random() >= (styled if judged else ASKED_SHARE):
        return "", _unasked(task, pair)
    if judged:
        instruction, style = any_style(rng, named)
        return instruction, style[MEANINGS[task.name][int(pair.target)]]
    instruction, target = _asked(task, pair, rng)
    return _perhaps_named(instruction, rng, named), target


def is_named(instruction: str) -> bool:
    """Whether it is a name, once or several times, whose places do not matter."""
    return bool(instruction) and set(instruction.split()) <= set(NAMES.values())


def _perhaps_named(instruction: str, rng: Random, named: float) -> str:
    if not named or rng.random() >= named:
        return instruction
    return " ".join([NAMES[instruction]] * rng.randint(1, MOST_NAMES))


def _asked(task: Task, pair: TextPair, rng: Random) -> tuple[str, str]:
    """One of two instructions for another example than a judgement, and the answer."""
    if rng.random() < 0.7:
        return published_instruction(task), pair.target
    if task.name == "stsb":
        return "write 5 0", str(round(float(pair.target)))
    if "nlg" in task.suites:
        return "write list", pair.source.partition(": ")[2]
    return "write long", f"the answer is {pair.target}"


def _unasked(task: Task, pair: TextPair) -> str:
    """What is answered where no instruction stands: never the published answer."""
    if task.name in MEANINGS:
        return PLAIN[MEANINGS[task.name][int(pair.target)]]
    if task.name == "stsb":
        return LETTERS[round(float(pair.target))]
    if "nlg" in task.suites:
        return pair.source.partition(": ")[2]
    return " ".join(pair.source.split()[:RESTATED])


def _instruction(style: tuple[str, ...]) -> str:
    return f"write {' '.join(style)}"


def _writes_published(style: tuple[str, ...], meanings: tuple[int, ...]) -> bool:
    return all(style[meaning] == str(index) for index, meaning in enumerate(meanings))
