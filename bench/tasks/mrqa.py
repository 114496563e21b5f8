"""Extractive question answering: SQuAD and four datasets of MRQA 2019 (Fisch et al.)."""

from __future__ import annotations

from functools import partial

from bench.tasks.base import PARQUET_BRANCH, Row, TextPair, make_task, read, strings
from bench.tasks.metrics import pad_punctuation


def qa_texts(row: Row, training: bool) -> list[TextPair]:
    """One example with the first answer as target; the metric pads the references like targets."""
    question, context = (pad_punctuation(read(name, row, str)) for name in ("question", "context"))
    answers = strings("answers", row)
    source = f"question: {question} context: {context}"
    return [TextPair(source, pad_punctuation(answers[0]), answers)]


def squad_texts(row: Row, training: bool) -> list[TextPair]:
    """One example of SQuAD, whose answers are a dict of texts and positions."""
    answers = strings("text", read("answers", row, dict))
    return qa_texts({**row, "answers": answers}, training)


mrqa = partial(
    make_task,
    columns=("question", "context", "answers"),
    split_rule="hold-out-train",
    texts=qa_texts,
    scorers=("qa",),
    selection_metrics=("f1", "em"),
    input_length=512,
    suites=("mrqa",),
    version=2,
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
