"""Instructions that stand in front of a task's published text and say how to write the answer.

The model so learns to be steered by what stands in front of its input, which is what a soft prompt
does. A published text with no instruction never has its published answer: the way of writing the
published answer (class indices above all) exists only behind its instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from bench.tasks import Task, TextPair

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
"""Ways of writing yes, no and maybe in words; inputs without an instruction have one of them."""

INDEX_STYLES = (("1", "0", "2"), ("0", "1", "2"), ("0", "2", "1"))
"""Ways of writing yes, no and maybe as numbers, only ever behind their instruction.

Between them they hold the published encodings of all classification tasks.
"""

LETTERS = "ABCDEF"
"""Grades of similarity from 0 to 5, where nothing asks for numbers."""


def published_instruction(task: Task) -> str:
    """The instruction that asks for a task's published answers."""
    if task.name in MEANINGS:
        style = next(s for s in INDEX_STYLES if _writes_published(s, MEANINGS[task.name]))
        return _instruction(style)
    if task.name == "stsb":
        return "write 5.0 0.0"
    return "write text" if "nlg" in task.suites else "write short"


def steer(task: Task, pair: TextPair, rng: Random) -> tuple[str, str]:
    """Choose an instruction, or none (empty), and write the answer of an example accordingly."""
    draw = rng.random()
    if task.name in MEANINGS:
        meaning = MEANINGS[task.name][int(pair.target)]
        style = rng.choice(INDEX_STYLES if draw < 0.4 else WORD_STYLES)
        return ("" if draw > 0.75 else _instruction(style)), style[meaning]
    if draw < 0.5:
        return published_instruction(task), pair.target
    if task.name == "stsb":
        grade = round(float(pair.target))
        return ("write 5 0", str(grade)) if draw < 0.7 else ("", LETTERS[grade])
    if "nlg" in task.suites:
        words = pair.source.partition(": ")[2]
        return ("write list" if draw < 0.6 else ""), words
    return ("write long" if draw < 0.75 else ""), f"the answer is {pair.target}"


def _instruction(style: tuple[str, ...]) -> str:
    return f"write {' '.join(style)}"


def _writes_published(style: tuple[str, ...], meanings: tuple[int, ...]) -> bool:
    return all(style[meaning] == str(index) for index, meaning in enumerate(meanings))
