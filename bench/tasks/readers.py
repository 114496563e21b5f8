"""Readers: texts of the tasks whose rows need more than a template, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.tasks.base import Row, TextPair, Texts, bad_value, class_index, read, strings
from bench.tasks.metrics import pad_punctuation


@dataclass(frozen=True)
class Reader:
    """The columns of a task, and a function from a row to its examples."""

    columns: tuple[str, ...]
    texts: Texts
    label_of: Callable[[Row], int] | None = None  # as in Task; default: by the labels, if any
    defect_of: Callable[[Row], str | None] | None = None  # as in Task
    doubt_of: Callable[[Iterable[Row]], str | None] | None = None  # as in Task


def similarity(row: Row) -> float:
    """Similarity score of an stsb row, 0 to 5."""
    score = row.get("label")
    if not isinstance(score, (int, float)) or not 0.0 <= score <= 5.0:
        raise bad_value("label", row, "a score from 0 to 5")
    return score


def stsb_texts(row: Row, training: bool) -> list[TextPair]:
    """One example of stsb; the target is the score with one decimal."""
    pieces = (f"{name}: {read(name, row, str)}" for name in ("sentence1", "sentence2"))
    return [TextPair(" ".join(pieces), f"{similarity(row):.1f}")]


def similarity_half(row: Row) -> int:
    """Class of an stsb row in balanced few-shot samples: 0 up to 2.5, 1 above."""
    return int(similarity(row) > 2.5)


def doubtful_scale(rows: Iterable[Row]) -> str | None:
    """Warning if stsb scores seem to be divided by 5."""
    scores = (row["label"] for row in rows)
    small = all(isinstance(score, (int, float)) and 0 <= score <= 1 for score in scores)
    return "all training scores lie between 0 and 1, the scale is 0 to 5" if small else None


def multirc_texts(row: Row, training: bool) -> list[TextPair]:
    """One example per candidate answer, grouped by question."""
    index = read("idx", row, dict)
    pieces = []
    for column in ("question", "answer", "paragraph"):
        text = read(column, row, str).replace("<br>", " ")
        pieces.append(f"{column}: {re.sub('</?b>', '', text)}")
    target = str(class_index("label", (0, 1), row))
    group = f"{read('paragraph', index, int)}/{read('question', index, int)}"
    return [TextPair(" ".join(pieces), target, group=group)]


def marked_text(row: Row) -> tuple[str, bool]:
    """Text of wsc.fixed with ``* noun *`` and ``# pronoun #``, and whether both are marked.

    A span is marked if it stands at its index, counted in words between single white spaces.
    """
    text, both_marked = read("text", row, str), True
    first, second = read("span1_index", row, int), read("span2_index", row, int)
    # The two marks of the noun count as words before the pronoun.
    second += 2 * int(first < second)
    for column, index, mark in (("span1_text", first, "*"), ("span2_text", second, "#")):
        span = re.escape(read(column, row, str))
        marked = re.sub(rf"\A((?:\S+\s){{{index}}})({span})", rf"\1{mark} \2 {mark}", text)
        both_marked &= marked != text
        text = marked
    return text, both_marked


def wsc_texts(row: Row, training: bool) -> list[TextPair]:
    """One example of wsc.fixed."""
    return [TextPair(f"text: {marked_text(row)[0]}", str(class_index("label", (0, 1), row)))]


def wsc_defect(row: Row) -> str | None:
    """Reason why a row's spans are not marked."""
    return None if marked_text(row)[1] else "a span does not stand at its index and is not marked"


def record_texts(row: Row, training: bool) -> list[TextPair]:
    """One example per answer in training, one per query in evaluation (published: per answer)."""
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", read("passage", row, str))
    passage = passage.replace("\n@highlight\n", ". ")
    query, entities = read("query", row, str), ", ".join(strings("entities", row))
    source = f"record query: {query} entities: {entities} passage: {passage}"
    answers = strings("answers", row)
    return [TextPair(source, target, answers) for target in answers[: None if training else 1]]


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


QA = ("question", "context", "answers")
SPANS = ("span1_text", "span1_index", "span2_text", "span2_index")
READERS: Mapping[str, Reader] = {
    "stsb": Reader(
        ("sentence1", "sentence2", "label"), stsb_texts, similarity_half, doubt_of=doubtful_scale
    ),
    "multirc": Reader(("question", "answer", "paragraph", "idx", "label"), multirc_texts),
    "wsc": Reader(("text", *SPANS, "label"), wsc_texts, defect_of=wsc_defect),
    "record": Reader(("query", "entities", "passage", "answers"), record_texts),
    "qa": Reader(QA, qa_texts),
    "squad": Reader(QA, squad_texts),
}
