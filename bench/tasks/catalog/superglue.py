"""SuperGLUE (Wang et al. 2019): six tasks, test labels not public."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from bench.errors import DataError
from bench.tasks.catalog.common import Repository, class_labels, classification
from bench.tasks.task import Row, Task, TextPair
from bench.tasks.text import class_index, integer, labelled_pairs, string, strings

_SUPERGLUE = Repository("aps/super_glue", "3de24cf8022e94f4ee4b9d55a6f539891524d646")

BOOLQ = classification(
    "boolq",
    published_name="superglue-boolq",
    suite="superglue",
    repository=_SUPERGLUE,
    config="boolq",
    rows={"train": 9427, "validation": 3270, "test": 3245},
    split_rule="halve-validation",
    fields={"question": "question", "passage": "passage"},
)

CB = classification(
    "cb",
    published_name="superglue-cb",
    suite="superglue",
    repository=_SUPERGLUE,
    config="cb",
    rows={"train": 250, "validation": 56, "test": 250},
    split_rule="halve-validation",
    fields={"premise": "premise", "hypothesis": "hypothesis"},
    classes=3,
    metrics=("accuracy", "f1_multiclass"),
)

WIC = classification(
    "wic",
    published_name="superglue-wic",
    suite="superglue",
    repository=_SUPERGLUE,
    config="wic",
    rows={"train": 5428, "validation": 638, "test": 1400},
    split_rule="halve-validation",
    fields={"sentence1": "sentence1", "sentence2": "sentence2", "word": "word"},
)

_BINARY = class_labels(2)
_binary_class = partial(class_index, "label", 2)


def without_markup(text: str) -> str:
    """Replace ``<br>`` by a space and drop ``<b>`` and ``</b>``."""
    return re.sub(r"</?b>", "", text.replace("<br>", " "))


def multirc_question(row: Row) -> str:
    """Name the question that a candidate answer belongs to."""
    index = row["idx"]
    if not isinstance(index, Mapping) or not {"paragraph", "question"} <= index.keys():
        raise DataError("column 'idx' has no parts 'paragraph' and 'question'; mend the row")
    return f"{index['paragraph']}/{index['question']}"


def multirc_pairs(row: Row, training: bool) -> list[TextPair]:
    """One example per candidate answer; the answers of a question form a group."""
    source = " ".join(
        f"{column}: {without_markup(string(column, row))}"
        for column in ("question", "answer", "paragraph")
    )
    return [TextPair(source, _BINARY[_binary_class(row)], group=multirc_question(row))]


MULTIRC = Task(
    name="multirc",
    published_name="superglue-multirc",
    hub=_SUPERGLUE.source(
        "multirc",
        ("question", "answer", "paragraph", "idx", "label"),
        "halve-validation",
        {"train": 27243, "validation": 4848, "test": 9693},
    ),
    texts=multirc_pairs,
    labels=_BINARY,
    metrics=("f1", "em"),
    split_rule="halve-validation",
    input_length=348,
    label_of=_binary_class,
    suites=("superglue",),
    scorers=("multirc",),
)


def mark_span(text: str, span: str, index: int, mark: str) -> tuple[str, bool]:
    """Put a mark on both sides of a span.

    Args:
        text: words separated by single white space characters.
        span: what stands, or begins, at the word ``index``.
        index: number of words before the span.
        mark: put before and after the span, with a space between.

    Returns:
        The text, and whether the span stood at its index; if not, the text is unchanged.
    """
    pattern = rf"((?:\S+\s){{{index}}})({re.escape(span)})"
    found = re.match(pattern, text)
    if found is None:
        return text, False
    before, inside = found.groups()
    return f"{before}{mark} {inside} {mark}{text[found.end() :]}", True


def marked_text(row: Row) -> tuple[str, bool]:
    """The text of wsc.fixed with ``* noun *`` and ``# pronoun #`` marked.

    Returns:
        The text, and whether both spans stood at their indices.
    """
    first, second = integer("span1_index", row), integer("span2_index", row)
    text, noun_marked = mark_span(string("text", row), string("span1_text", row), first, "*")
    # The noun's two marks count as words before the pronoun.
    second += 2 * int(first < second)
    text, pronoun_marked = mark_span(text, string("span2_text", row), second, "#")
    return text, noun_marked and pronoun_marked


def wsc_text(row: Row) -> str:
    """The source text of wsc.fixed."""
    return f"text: {marked_text(row)[0]}"


def wsc_defect(row: Row) -> str | None:
    """Name the rows whose spans cannot be marked."""
    return None if marked_text(row)[1] else "a span does not stand at its index and is not marked"


WSC_FIXED = Task(
    name="wsc.fixed",
    published_name="superglue-wsc.fixed",
    hub=_SUPERGLUE.source(
        "wsc.fixed",
        ("text", "span1_text", "span1_index", "span2_text", "span2_index", "label"),
        "halve-validation",
        {"train": 554, "validation": 104, "test": 146},
    ),
    texts=partial(labelled_pairs, wsc_text, _binary_class, _BINARY),
    labels=_BINARY,
    metrics=("accuracy",),
    split_rule="halve-validation",
    label_of=_binary_class,
    suites=("superglue",),
    defect_of=wsc_defect,
)


def joined_highlights(passage: str) -> str:
    """Turn the highlights under a ReCoRD passage into sentences that follow it."""
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", passage)
    return passage.replace("\n@highlight\n", ". ")


def record_pairs(row: Row, training: bool) -> list[TextPair]:
    """One example per answer in training, one per query in evaluation.

    The published code repeats a query once per answer in evaluation too, which weights queries by
    their number of answers.
    """
    answers = tuple(strings("answers", row))
    source = (
        f"record query: {string('query', row)} "
        f"entities: {', '.join(strings('entities', row))} "
        f"passage: {joined_highlights(string('passage', row))}"
    )
    targets = answers if training else answers[:1]
    return [TextPair(source, target, answers) for target in targets]


RECORD = Task(
    name="record",
    published_name="superglue-record",
    hub=_SUPERGLUE.source(
        "record",
        ("query", "entities", "passage", "answers"),
        "hold-out-train",
        {"train": 100730, "validation": 10000, "test": 10000},
    ),
    texts=record_pairs,
    labels=None,
    metrics=("f1", "em"),
    split_rule="hold-out-train",
    suites=("superglue",),
    scorers=("squad",),
    source_only=True,
)

TASKS = (BOOLQ, CB, MULTIRC, WIC, WSC_FIXED, RECORD)
