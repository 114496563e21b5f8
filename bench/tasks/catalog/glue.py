"""GLUE (Wang et al. 2018): eight tasks, test labels not public."""

from __future__ import annotations

import math

from bench.errors import DataError
from bench.tasks.catalog.common import Repository, classification
from bench.tasks.task import Row, Task, TextPair
from bench.tasks.text import join_fields

_GLUE = Repository("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")

_PAIR = {"sentence1": "sentence1", "sentence2": "sentence2"}

COLA = classification(
    "cola",
    suite="glue",
    repository=_GLUE,
    config="cola",
    rows={"train": 8551, "validation": 1043, "test": 1063},
    split_rule="halve-validation",
    fields={"sentence": "sentence"},
    metrics=("matthews_correlation", "accuracy"),
)

SST2 = classification(
    "sst2",
    suite="glue",
    repository=_GLUE,
    config="sst2",
    rows={"train": 67349, "validation": 872, "test": 1821},
    split_rule="hold-out-train",
    fields={"sentence": "sentence"},
)

MRPC = classification(
    "mrpc",
    suite="glue",
    repository=_GLUE,
    config="mrpc",
    rows={"train": 3668, "validation": 408, "test": 1725},
    split_rule="halve-validation",
    fields=_PAIR,
    metrics=("accuracy", "f1"),
    scorers=("accuracy", "f1_with_invalid"),
)

QQP = classification(
    "qqp",
    suite="glue",
    repository=_GLUE,
    config="qqp",
    rows={"train": 363846, "validation": 40430, "test": 390965},
    split_rule="hold-out-train",
    fields={"question1": "question1", "question2": "question2"},
    metrics=("accuracy", "f1"),
    scorers=("accuracy", "f1_with_invalid"),
)

MNLI = classification(
    "mnli",
    suite="glue",
    repository=_GLUE,
    config="mnli",
    rows={"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
    split_rule="mnli",
    fields={"premise": "premise", "hypothesis": "hypothesis"},
    classes=3,
)

QNLI = classification(
    "qnli",
    suite="glue",
    repository=_GLUE,
    config="qnli",
    rows={"train": 104743, "validation": 5463, "test": 5463},
    split_rule="hold-out-train",
    fields={"question": "question", "sentence": "sentence"},
)

RTE = classification(
    "rte",
    suite="glue",
    repository=_GLUE,
    config="rte",
    rows={"train": 2490, "validation": 277, "test": 3000},
    split_rule="halve-validation",
    fields=_PAIR,
)


def similarity(row: Row) -> float:
    """Read the similarity score of stsb, a number from 0 to 5."""
    value = row["label"]
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not 0.0 <= score <= 5.0:
        raise DataError(
            f"column 'label' holds {value!r}, not a score from 0 to 5; mend the row or use a "
            "split whose labels are public"
        )
    return score


def similarity_half(row: Row) -> int:
    """Class of an stsb row in balanced few-shot samples: 0 up to 2.5, 1 above."""
    return int(similarity(row) > 2.5)


def similarity_pairs(row: Row, training: bool) -> list[TextPair]:
    """One stsb example; the target is the score rounded to one decimal."""
    return [TextPair(join_fields(_PAIR, row), f"{similarity(row):.1f}")]


STSB = Task(
    name="stsb",
    published_name="stsb",
    hub=_GLUE.source(
        "stsb",
        (*_PAIR.values(), "label"),
        "halve-validation",
        {"train": 5749, "validation": 1500, "test": 1379},
    ),
    texts=similarity_pairs,
    labels=None,
    metrics=("pearson", "spearmanr"),
    split_rule="halve-validation",
    label_of=similarity_half,
    suites=("glue",),
)

TASKS = (COLA, SST2, MRPC, QQP, STSB, MNLI, QNLI, RTE)
