"""GLUE (Wang et al. 2018): eight tasks without public test labels."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from bench.tasks.base import Row, Task, bad_value, classification, labelled_text


def similarity(row: Row) -> float:
    """Similarity score of an stsb row, 0 to 5."""
    score = row.get("label")
    if not isinstance(score, (int, float)) or not 0.0 <= score <= 5.0:
        raise bad_value("label", row, "a score from 0 to 5")
    return score


def doubtful_scale(rows: Iterable[Row]) -> str | None:
    """Warning if stsb scores seem to be divided by 5."""
    scores = (row["label"] for row in rows)
    small = all(isinstance(score, (int, float)) and 0 <= score <= 1 for score in scores)
    return "all training scores lie between 0 and 1, the scale is 0 to 5" if small else None


def similarity_half(row: Row) -> int:
    """Class of an stsb row in balanced few-shot samples: 0 up to 2.5, 1 above."""
    return int(similarity(row) > 2.5)


def rounded_similarity(row: Row) -> str:
    """Target of an stsb row: its score with one decimal."""
    return f"{similarity(row):.1f}"


def glue(name: str, *declaration: Any, **settings: Any) -> Task:
    """A task of GLUE, declared as in :func:`bench.tasks.base.classification`."""
    repository = "nyu-mll/glue@bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
    defaults = {"repository": repository, "config": name, "suites": ("glue",)}
    return classification(name, *declaration, **(defaults | settings))


PAIR = ("sentence1", "sentence2")
MNLI_ROWS = {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832}
F1 = ("accuracy", "f1_with_invalid")
COLA: dict[str, Any] = {
    "scorers": ("matthews_correlation", "accuracy"),
    "selection_metrics": ("matthews_correlation",),
    "version": 2,
}

# Name, columns of the source text, split rule, rows of train, validation and test.
TASKS = (
    glue("cola", ("sentence",), "halve-validation", (8551, 1043, 1063), **COLA),
    glue("sst2", ("sentence",), "hold-out-train", (67349, 872, 1821)),
    glue("mrpc", PAIR, "halve-validation", (3668, 408, 1725), scorers=F1),
    glue("qqp", ("question1", "question2"), "hold-out-train", (363846, 40430, 390965), scorers=F1),
    glue(
        "stsb",
        PAIR,
        "halve-validation",
        (5749, 1500, 1379),
        texts=partial(labelled_text, {name: name for name in PAIR}, rounded_similarity),
        labels=None,
        label_of=similarity_half,
        doubt_of=doubtful_scale,
        scorers=("pearson", "spearmanr"),
    ),
    glue("mnli", ("premise", "hypothesis"), "mnli", MNLI_ROWS, classes=(0, 1, 2)),
    glue("qnli", ("question", "sentence"), "hold-out-train", (104743, 5463, 5463)),
    glue("rte", PAIR, "halve-validation", (2490, 277, 3000)),
)
