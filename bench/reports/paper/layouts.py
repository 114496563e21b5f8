"""The paper's tables as data: which tasks stand in which order, and what a column is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.errors import UnknownNameError


@dataclass(frozen=True)
class Group:
    """Columns under one head.

    Attributes:
        title: the head.
        tasks: in the order of the papers.
        average: whether the mean over the tasks follows.
        details: whether the tasks themselves are shown.
    """

    title: str
    tasks: tuple[str, ...]
    average: bool = True
    details: bool = True


@dataclass(frozen=True)
class Layout:
    """One table of the paper.

    Attributes:
        title: what it shows.
        groups: of columns; one without any record is left out.
        by_shots: each task has a column per number of shots, and the full data has none.
        metrics: each task has a column per metric; empty: the task's table metric alone.
        parameters: whether trainable parameters stand in front.
        methods: whose rows are shown; empty: all.
        reference: label of the row that the others are compared with.
        labels: of rows that stand first, in this order.
    """

    title: str
    groups: tuple[Group, ...]
    by_shots: bool = False
    metrics: tuple[str, ...] = ()
    parameters: bool = False
    methods: tuple[str, ...] = ()
    reference: str = "pt"
    labels: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks of all groups."""
        return tuple(task for group in self.groups for task in group.tasks)


_SUITES = {
    "GLUE": ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"),
    "SuperGLUE": ("multirc", "boolq", "wic", "wsc.fixed", "cb"),
    "MRQA": ("nq", "hotpotqa", "searchqa", "newsqa"),
    "Others": ("winogrande", "yelp_polarity", "scitail", "paws"),
}


def _suites(*titles: str, details: bool = True) -> tuple[Group, ...]:
    return tuple(Group(title, _SUITES[title], details=details) for title in titles)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "glue-superglue": Layout("GLUE and SuperGLUE", _suites("GLUE", "SuperGLUE")),
        "mrqa-others": Layout("MRQA and other tasks", _suites("MRQA", "Others")),
        "few-shot": Layout(
            "Few-shot: columns are numbers of training examples",
            tuple(Group(task, (task,), average=False) for task in ("boolq", "cb", "scitail")),
            by_shots=True,
        ),
        "nlg": Layout(
            "Generation",
            tuple(Group(task, (task,), average=False) for task in ("e2e", "common_gen", "web_nlg")),
            metrics=("bleu", "rouge1", "rouge2", "rougeL", "meteor"),
        ),
        "ablation": Layout(
            "Ablation of DTVG",
            _suites("GLUE", "SuperGLUE"),
            methods=("dtvg",),
            reference="dtvg",
            labels=(
                "dtvg",
                "dtvg:grouping=similarity",
                "dtvg:grouping=consistency",
                "dtvg:grouping=target-only",
                "dtvg:grouping=all",
                "dtvg:grouping=fixed-first-step",
            ),
        ),
        "parameters": Layout(
            "Trainable parameters and average scores",
            _suites(*_SUITES, details=False),
            parameters=True,
        ),
    }
)
"""All layouts by name."""


def get_layout(name: str) -> Layout:
    """The layout of that name.

    Raises:
        UnknownNameError: there is none; the nearest names are offered.
    """
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return LAYOUTS[name]


__all__ = ["LAYOUTS", "Group", "Layout", "get_layout"]
