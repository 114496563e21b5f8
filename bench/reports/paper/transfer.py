"""Whether transfer helps: every method minus a reference, task by task and over all of them.

A pair of cells agrees in task, shots, seed and everything else that makes a table; it differs in
the method. Seeds that only one of the two has finished are left out.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.records import Record
from bench.reports.evidence import SEED, Evidence
from bench.reports.order import DECIMALS
from bench.reports.paper.rows import Row, Trials
from bench.reports.paper.scores import paired_replicates
from bench.reports.results import table_score
from bench.reports.statistics import (
    ALPHA,
    bootstrap_p_value,
    holm,
    percentile_interval,
    two_level_interval,
    wilcoxon_p_value,
)

FEWEST = 2 + math.floor(math.log2(1 / ALPHA))
"""Targets below which a verdict would say nothing: without any effect, all differences of ``n``
targets have one sign with probability ``2 ** (1 - n)``, which must be below the level."""


@dataclass(frozen=True)
class TaskDifference:
    """A method minus the reference on one task, in percentage points.

    Attributes:
        task: the target.
        by_seed: difference per common seed, at least one.
        interval: of the mean over seeds, by paired bootstrap over test rows; None without
            predictions.
        p_value: of the mean, by the same bootstrap.
        adjusted: the p-value after Holm's correction for all methods and tasks.
        sources: how many seeds used which source tasks; empty if the method tells none.
    """

    task: str
    by_seed: Mapping[int, float]
    interval: tuple[float, float] | None
    p_value: float | None
    adjusted: float | None
    sources: Mapping[str, int]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return math.fsum(self.by_seed.values()) / len(self.by_seed)

    @property
    def outcome(self) -> int:
        """1 for a win, 0 for a tie, -1 for a loss, by the digits that tables show."""
        shown = round(self.mean, DECIMALS)
        return (shown > 0) - (shown < 0)

    @property
    def significant(self) -> bool:
        """Whether the adjusted p-value is below the level."""
        return self.adjusted is not None and self.adjusted < ALPHA


@dataclass(frozen=True)
class Summary:
    """A method minus the reference over several tasks.

    Attributes:
        differences: one per task.
        interval: of the mean over tasks, by a bootstrap over tasks and, within each, seeds; None
            for a single task, which says nothing about others.
        p_value: Wilcoxon's signed-rank test over the tasks' means.
        adjusted: the p-value after Holm's correction for the methods.
    """

    differences: tuple[TaskDifference, ...]
    interval: tuple[float, float] | None
    p_value: float
    adjusted: float

    @property
    def mean(self) -> float:
        """Mean over tasks of the means over seeds."""
        return math.fsum(d.mean for d in self.differences) / len(self.differences)

    @property
    def verdict(self) -> str:
        """``helps`` or ``hurts`` where the interval of enough tasks does not hold 0."""
        if self.interval is None or len(self.differences) < FEWEST:
            return "unclear"
        low, high = self.interval
        return "helps" if low > 0 else "hurts" if high < 0 else "unclear"

    def count(self, outcome: int, *, significant: bool = False) -> int:
        """Number of tasks with an outcome; only significant ones if asked."""
        return sum(
            d.outcome == outcome and (d.significant or not significant) for d in self.differences
        )


def task_differences(
    rows: Sequence[Row], reference: Row, tasks: Sequence[str], shots: int | None, evidence: Evidence
) -> dict[str, list[TaskDifference]]:
    """Differences of each row to the reference, by label, in the order of the tasks.

    Args:
        rows: to compare; the reference may be among them.
        reference: what is subtracted.
        tasks: the targets.
        shots: of the cells.
        evidence: gives intervals and p-values.
    """
    others = [row for row in rows if row.label != reference.label]
    found: dict[str, list[TaskDifference]] = {row.label: [] for row in others}
    for task in tasks:
        base = reference.at(task, shots)
        trials = {row.label: row.at(task, shots) for row in others}
        everyone = [base, *trials.values()]
        replicates = evidence.replicates([r for t in everyone for r in t.finished.values()])
        for label, trial in trials.items():
            difference = _difference(task, trial, base, replicates)
            if difference is not None:
                found[label].append(difference)
    tested = [d for differences in found.values() for d in differences if d.p_value is not None]
    adjusted = iter(holm([d.p_value for d in tested if d.p_value is not None]))
    return {
        label: [
            d if d.p_value is None else replace(d, adjusted=next(adjusted)) for d in differences
        ]
        for label, differences in found.items()
    }


def summaries(
    differences: Mapping[str, Sequence[TaskDifference]], tasks: Collection[str]
) -> dict[str, Summary]:
    """The differences over some tasks, by label; methods without any are left out."""
    chosen = {label: tuple(d for d in own if d.task in tasks) for label, own in differences.items()}
    known = {label: own for label, own in chosen.items() if own}
    p_values = {label: wilcoxon_p_value([d.mean for d in own]) for label, own in known.items()}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        label: Summary(own, _interval(label, own), p_values[label], adjusted[label])
        for label, own in known.items()
    }


def _interval(label: str, differences: Sequence[TaskDifference]) -> tuple[float, float] | None:
    if len(differences) == 1:
        return None
    generator = np.random.default_rng([SEED, zlib.crc32(label.encode())])
    return two_level_interval([list(d.by_seed.values()) for d in differences], generator)


def _difference(
    task: str, trial: Trials, base: Trials, replicates: Mapping[str, np.ndarray]
) -> TaskDifference | None:
    seeds = sorted(trial.finished.keys() & base.finished.keys())
    if not seeds:
        return None
    by_seed = {s: table_score(trial.finished[s]) - table_score(base.finished[s]) for s in seeds}
    drawn = paired_replicates(trial.finished, base.finished, seeds, replicates)
    mean = math.fsum(by_seed.values()) / len(seeds)
    return TaskDifference(
        task=task,
        by_seed=by_seed,
        interval=None if drawn is None else percentile_interval(drawn),
        p_value=None if drawn is None else bootstrap_p_value(mean, drawn),
        adjusted=None,
        sources=_count_sources([trial.finished[seed] for seed in seeds]),
    )


def _count_sources(records: Sequence[Record]) -> dict[str, int]:
    """How many cells used each source, the most used first."""
    used = [sources_used(record) for record in records]
    counts = Counter(name for names in used if names is not None for name in names or ("none",))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def sources_used(record: Record) -> tuple[str, ...] | None:
    """The source tasks that a cell's best checkpoint rests on; None if the record does not tell.

    SPoT: the one it started from. DTVG: the group. ATTEMPT: the one with most attention. A method
    that does not choose (MPT): all that it started from.
    """
    best = record.diagnostics.get("best")
    told = best if isinstance(best, dict) else {}
    source, group, attention = (told.get(key) for key in ("source", "group", "attention"))
    if isinstance(source, str):
        return (source,)
    if isinstance(group, list):
        return tuple(name for name in group if isinstance(name, str))
    weights = attention.get("sources") if isinstance(attention, dict) else None
    if isinstance(weights, dict):
        numbers = {name: w for name, w in weights.items() if isinstance(w, int | float)}
        return (max(numbers, key=lambda name: (numbers[name], name)),) if numbers else None
    return tuple(part.task for part in record.sources) if record.sources else None


__all__ = ["Summary", "TaskDifference", "sources_used", "summaries", "task_differences"]
