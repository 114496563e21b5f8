"""The tables of the papers, and the names they show, as data. A new layout is one more entry."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UnknownNameError

DASH = "\N{EN DASH}"
"""Stands for a value that is missing."""


@dataclass(frozen=True)
class Layout:
    """One kind of table.

    Attributes:
        groups: tasks by the head above them; a group without any record is left out.
        average, details: whether the mean over a group, and its tasks, are shown.
        ranks: whether mean rank, and wins, ties and losses against the reference, are shown.
        by_shots: a column per task and number of shots, without the full data.
        metrics: a column per task and metric; empty: the task's table metric.
        parameters: whether the share of trainable parameters is shown.
        transfer: differences to the reference instead of scores.
        methods: whose rows are shown; empty: all.
        labels: of rows that stand first.
        reference: label of the row that others are compared with.
    """

    title: str
    groups: Mapping[str, tuple[str, ...]]
    average: bool = True
    details: bool = True
    ranks: bool = False
    by_shots: bool = False
    metrics: tuple[str, ...] = ()
    parameters: bool = False
    transfer: bool = False
    methods: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    reference: str = "pt"


with Path(__file__).with_name("names.csv").open(encoding="utf-8") as _file:
    NAMES: Mapping[str, str] = dict(csv.reader(_file))
"""Names of methods, tasks and metrics in tables and figures; others are shown as they are."""


def display(name: str) -> str:
    """The name that people read, of a method, a row with its settings, a task or a metric."""
    if name in NAMES:
        return NAMES[name]
    return re.sub(r"^\w+(?=[:, ])", lambda found: NAMES.get(found[0], found[0]), name)


_GLUE = {
    "GLUE": ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"),
    "SuperGLUE": ("multirc", "boolq", "wic", "wsc.fixed", "cb"),
}
_OTHERS = {
    "MRQA": ("nq", "hotpotqa", "searchqa", "newsqa"),
    "Others": ("winogrande", "yelp_polarity", "scitail", "paws"),
}
_GENERATION = ("e2e", "common_gen", "web_nlg")
_GROUPINGS = ("similarity", "consistency", "target-only", "all", "fixed-first-step")

LAYOUTS: Mapping[str, Layout] = {
    "glue-superglue": Layout("GLUE and SuperGLUE", _GLUE),
    "mrqa-others": Layout("MRQA and other tasks", _OTHERS),
    "few-shot": Layout(
        "Few-shot, columns are numbers of training examples",
        {task: (task,) for task in ("boolq", "cb", "scitail")},
        average=False,
        by_shots=True,
    ),
    "nlg": Layout(
        "Generation (BLEU of sacrebleu, ROUGE of rouge_score, METEOR of nltk; all references)",
        {task: (task,) for task in _GENERATION},
        average=False,
        metrics=("bleu", "rouge1", "rouge2", "rougeL", "meteor"),
    ),
    "ablation": Layout(
        "Ablation of DTVG",
        _GLUE,
        methods=("dtvg",),
        labels=("dtvg", *(f"dtvg:grouping={name}" for name in _GROUPINGS)),
        reference="dtvg",
    ),
    "parameters": Layout(
        "Trainable parameters and average scores", _GLUE | _OTHERS, details=False, parameters=True
    ),
    "summary": Layout(
        "Average scores",
        _GLUE | _OTHERS | {"Generation": _GENERATION},
        details=False,
        ranks=True,
    ),
    "transfer": Layout("Transfer", {}, transfer=True),
}


def get_layout(name: str) -> Layout:
    """The layout of that name."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return LAYOUTS[name]
