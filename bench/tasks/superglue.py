"""SuperGLUE (Wang et al. 2019): six tasks without public test labels."""

from __future__ import annotations

import re
from typing import Any

from bench.tasks.base import Row, Task, TextPair, class_index, classification, read, strings


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


def superglue(name: str, *declaration: Any, **settings: Any) -> Task:
    """A task of SuperGLUE, declared as in :func:`bench.tasks.base.classification`."""
    defaults = {
        "published_name": f"superglue-{name}",
        "repository": "aps/super_glue@3de24cf8022e94f4ee4b9d55a6f539891524d646",
        "config": name,
        "suites": ("superglue",),
    }
    return classification(name, *declaration, **(defaults | settings))


CB: dict[str, Any] = {"classes": (0, 1, 2), "scorers": ("accuracy", "f1_multiclass")}

# Name, columns of the source text, split rule, rows of train, validation and test.
TASKS = (
    superglue("boolq", ("question", "passage"), "halve-validation", (9427, 3270, 3245)),
    superglue("cb", ("premise", "hypothesis"), "halve-validation", (250, 56, 250), **CB),
    superglue(
        "multirc",
        (),
        "halve-validation",
        (27243, 4848, 9693),
        columns=("question", "answer", "paragraph", "idx", "label"),
        texts=multirc_texts,
        scorers=("multirc",),
        selection_metrics=("f1",),
        input_length=348,
        version=2,
    ),
    superglue("wic", ("sentence1", "sentence2", "word"), "halve-validation", (5428, 638, 1400)),
    superglue(
        "wsc.fixed",
        (),
        "halve-validation",
        (554, 104, 146),
        columns=("text", "span1_text", "span1_index", "span2_text", "span2_index", "label"),
        texts=wsc_texts,
        defect_of=wsc_defect,
    ),
    superglue(
        "record",
        (),
        "hold-out-train",
        (100730, 10000, 10000),
        columns=("query", "entities", "passage", "answers"),
        texts=record_texts,
        labels=None,
        label_of=None,
        scorers=("squad",),
        source_only=True,
    ),
)
