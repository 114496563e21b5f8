"""Extractive question answering: SQuAD and four datasets of MRQA 2019 (Fisch et al.)."""

from __future__ import annotations

from functools import partial

from bench.tasks.base import PARQUET_BRANCH, Row, TextPair, make_task, read, strings


def pad_punctuation(text: str) -> str:
    """Text with a space on both sides of each punctuation character, as in T5's preprocessing.

    Punctuation is any character but underscores, white space, digits, letters and accent marks;
    runs of white space become one space.
    """
    import regex  # Slow to import.

    padded: str = regex.sub(r"\s+", " ", regex.sub(r"([^_\s\p{N}\p{L}\p{M}])", r" \1 ", text))
    return padded


def qa_texts(row: Row, training: bool) -> list[TextPair]:
    """One example with the first answer as its target.

    Question, context and target are padded, the references are not: ``O ' Neil``, as it is
    learned, is no exact match of ``O'Neil``.
    """
    question, context = (pad_punctuation(read(name, row, str)) for name in ("question", "context"))
    answers = strings("answers", row)
    source = f"question: {question} context: {context}"
    return [TextPair(source, pad_punctuation(answers[0]), answers)]


def squad_texts(row: Row, training: bool) -> list[TextPair]:
    """One example of SQuAD, which keeps answers beside their positions."""
    answers = strings("text", read("answers", row, dict))
    return qa_texts({**row, "answers": answers}, training)


mrqa = partial(
    make_task,
    columns=("question", "context", "answers"),
    split_rule="hold-out-train",
    texts=qa_texts,
    scorers=("squad",),
    input_length=512,
    suites=("mrqa",),
)

TASKS = (
    mrqa(
        "squad",
        rows=(87599, 10570),
        repository="rajpurkar/squad@7b6d24c440a36b6815f21b70d25016731768db1f",
        texts=squad_texts,
        source_only=True,
    ),
    mrqa(
        "nq",
        rows=(104071, 12836),
        repository="lucadiliello/naturalquestionsshortqa@49435450b0abb287be45639fdaa49a9b56512f9b",
    ),
    mrqa("hotpotqa", rows=(72928, 5901), repository=f"lucadiliello/hotpotqa@{PARQUET_BRANCH}"),
    mrqa(
        "searchqa",
        rows=(117384, 16980),
        repository="lucadiliello/searchqa@c1a979068ba118d85467179b704031d113d689cc",
    ),
    mrqa(
        "newsqa",
        rows=(74160, 4212),
        repository="lucadiliello/newsqa@728e52920b8e4ffcfaad93fa47556f26a1d82546",
    ),
)
