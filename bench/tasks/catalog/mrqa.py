"""Extractive question answering: SQuAD and four sets of the MRQA 2019 task (Fisch et al.)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import regex

from bench.errors import DataError
from bench.tasks.catalog.common import Repository
from bench.tasks.task import PARQUET_BRANCH, Row, Task, TextPair
from bench.tasks.text import string, strings

_PUNCTUATION = regex.compile(r"([^_\s\p{N}\p{L}\p{M}])")


def pad_punctuation(text: str) -> str:
    """Put a space on both sides of each punctuation character, as T5's preprocessing does.

    Punctuation is whatever is no underscore, white space, digit, letter or accent mark; runs of
    white space then become one space.
    """
    padded: str = regex.sub(r"\s+", " ", _PUNCTUATION.sub(r" \1 ", text))
    return padded


def listed_answers(row: Row) -> list[str]:
    """The answers of an MRQA row."""
    return strings("answers", row)


def squad_answers(row: Row) -> list[str]:
    """The answers of a SQuAD row, which keeps them beside their positions."""
    answers = row["answers"]
    if not isinstance(answers, dict) or "text" not in answers:
        raise DataError("column 'answers' has no part 'text'; give the data SQuAD's columns")
    return strings("text", answers)


def qa_pairs(answers_of: Callable[[Row], list[str]], row: Row, training: bool) -> list[TextPair]:
    """One example; the target is the first answer.

    Question, context and target have their punctuation padded, the references have not (as in the
    published code): ``O ' Neil``, learned as written, is not an exact match of ``O'Neil``.
    """
    question = pad_punctuation(string("question", row))
    context = pad_punctuation(string("context", row))
    answers = answers_of(row)
    source = f"question: {question} context: {context}"
    return [TextPair(source, pad_punctuation(answers[0]), tuple(answers))]


def question_answering(
    name: str,
    repository: Repository,
    *,
    train: int,
    validation: int,
    answers_of: Callable[[Row], list[str]] = listed_answers,
    source_only: bool = False,
) -> Task:
    """A task that answers a question from a context.

    Args:
        name: on the command line and in the source text.
        repository: where the hub keeps it.
        train: expected training rows.
        validation: expected validation rows.
        answers_of: reads the gold answers of a row.
        source_only: no target of the papers.
    """
    return Task(
        name=name,
        published_name=name,
        hub=repository.source(
            None,
            ("question", "context", "answers"),
            "hold-out-train",
            {"train": train, "validation": validation},
        ),
        texts=partial(qa_pairs, answers_of),
        labels=None,
        metrics=("f1", "em"),
        split_rule="hold-out-train",
        input_length=512,
        suites=("mrqa",),
        scorers=("squad",),
        source_only=source_only,
    )


SQUAD = question_answering(
    "squad",
    Repository("rajpurkar/squad", "7b6d24c440a36b6815f21b70d25016731768db1f"),
    train=87599,
    validation=10570,
    answers_of=squad_answers,
    source_only=True,
)

NQ = question_answering(
    "nq",
    Repository("lucadiliello/naturalquestionsshortqa", "49435450b0abb287be45639fdaa49a9b56512f9b"),
    train=104071,
    validation=12836,
)

HOTPOTQA = question_answering(
    "hotpotqa",
    Repository("lucadiliello/hotpotqa", PARQUET_BRANCH),
    train=72928,
    validation=5901,
)

SEARCHQA = question_answering(
    "searchqa",
    Repository("lucadiliello/searchqa", "c1a979068ba118d85467179b704031d113d689cc"),
    train=117384,
    validation=16980,
)

NEWSQA = question_answering(
    "newsqa",
    Repository("lucadiliello/newsqa", "728e52920b8e4ffcfaad93fa47556f26a1d82546"),
    train=74160,
    validation=4212,
)

TASKS = (SQUAD, NQ, HOTPOTQA, SEARCHQA, NEWSQA)
