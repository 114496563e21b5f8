"""The numbers of a table: means, spreads, intervals and comparisons, no text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.records import Record
from bench.reports.evidence import Evidence, mean_replicates
from bench.reports.order import highest, reaches
from bench.reports.paper.columns import Column
from bench.reports.paper.rows import Row
from bench.reports.statistics import (
    ALPHA,
    Array,
    bootstrap_p_value,
    holm,
    mean_and_std,
    percentile_interval,
)

Status = Literal["finished", "failed", "missing", "conflict", "left out"]


@dataclass(frozen=True)
class Score:
    """One row's result in one column.

    Attributes:
        status: ``left out``: the metric could not be computed where the cells ran.
        mean: over seeds, in percent.
        std: sample standard deviation over seeds (divisor n - 1); None for a single one.
        seeds: number of finished seeds.
        failed: number of failed seeds.
        interval: of the mean over the same seeds, by bootstrap over test rows; None without
            predictions.
        best: whether no other row of the model, and not the majority class, has a higher mean.
        difference: mean over common seeds of this row minus the reference row.
        p_value: of the difference, by paired bootstrap over test rows.
        adjusted: the p-value after Holm's correction for all comparisons of the table.
    """

    status: Status
    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    failed: int = 0
    interval: tuple[float, float] | None = None
    best: bool = False
    difference: float | None = None
    p_value: float | None = None
    adjusted: float | None = None

    @property
    def significant(self) -> int:
        """1 if significantly above the reference, -1 if below, else 0."""
        if self.adjusted is None or self.difference is None or self.adjusted >= ALPHA:
            return 0
        return 1 if self.difference > 0 else -1


@dataclass(frozen=True)
class _Cell:
    """A row on one task: its score, and what averages and comparisons need besides."""

    score: Score
    by_seed: dict[int, float]
    records: dict[int, Record]
    replicates: dict[str, Array]

    def mean_replicates(self) -> Array | None:
        return mean_replicates(self.records.values(), self.replicates)


class ScoreGrid:
    """The scores of rows and columns.

    Args:
        rows: of the table.
        columns: of the table; those that show parameters have no scores.
        evidence: gives intervals and comparisons; None: there are none.
        against: label of the reference row of each model; None: no comparison.

    Attributes:
        majority: the majority class in each column.
        comparisons: number of differences that were tested.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        columns: Sequence[Column],
        evidence: Evidence | None = None,
        against: str | None = None,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self._evidence = evidence
        self._tasks: dict[tuple[str, int | None, str | None], list[_Cell]] = {}
        self._scores = [[Score("missing")] * len(columns) for _ in rows]
        for place, column in enumerate(columns):
            if column.kind in ("score", "average"):
                for line, score in zip(self._scores, self._column(column), strict=True):
                    line[place] = score
        self.comparisons = self._compare(against) if against is not None else 0
        self.majority = [_majority(rows, column) for column in columns]
        self._mark_best()

    def score(self, row: int, column: int) -> Score:
        """The score at a place."""
        return self._scores[row][column]

    def _column(self, column: Column) -> list[Score]:
        if column.kind == "score":
            return [c.score for c in self._cells(column.tasks[0], column.shots, column.metric)]
        by_task = [self._cells(task, column.shots, None) for task in column.tasks]
        return [_average(cells) for cells in zip(*by_task, strict=True)]

    def _cells(self, task: str, shots: int | None, metric: str | None) -> list[_Cell]:
        """The cells of all rows on one task."""
        key = (task, shots, metric)
        if key not in self._tasks:
            trials = [row.at(task, shots) for row in self.rows]
            replicates: dict[str, Array] = {}
            if self._evidence is not None:
                finished = [record for t in trials for record in t.finished.values()]
                replicates = self._evidence.replicates(finished, metric)
            cells = []
            for trial in trials:
                values = {seed: _value(record, metric) for seed, record in trial.finished.items()}
                by_seed = {seed: value for seed, value in values.items() if value is not None}
                cell = _Cell(Score("missing"), by_seed, dict(trial.finished), replicates)
                status: Status = "missing"
                if trial.conflict:
                    status = "conflict"
                elif by_seed:
                    status = "finished"
                elif trial.finished:
                    status = "left out"
                elif trial.failed:
                    status = "failed"
                score = _score(status, list(by_seed.values()), cell.mean_replicates())
                cells.append(replace(cell, score=replace(score, failed=trial.failed)))
            self._tasks[key] = cells
        return self._tasks[key]

    def _compare(self, against: str) -> int:
        """Compare every row with the reference row of its model; returns the number of tests."""
        places: list[tuple[int, int]] = []
        for index, column in enumerate(self.columns):
            if column.kind != "score":
                continue
            cells = self._cells(column.tasks[0], column.shots, column.metric)
            for number, row in enumerate(self.rows):
                reference = self.reference(row, against)
                if reference is None or reference == number:
                    continue
                found = _difference(cells[number], cells[reference])
                if found is None:
                    continue
                difference, p_value = found
                self._scores[number][index] = replace(
                    self._scores[number][index], difference=difference, p_value=p_value
                )
                if p_value is not None:
                    places.append((number, index))
        tested = [p for n, i in places if (p := self._scores[n][i].p_value) is not None]
        for (number, index), adjusted in zip(places, holm(tested), strict=True):
            self._scores[number][index] = replace(self._scores[number][index], adjusted=adjusted)
        return len(places)

    def reference(self, row: Row, against: str) -> int | None:
        """The place of the row that a row is compared with; None if its model has none."""
        return next(
            (i for i, r in enumerate(self.rows) if r.model == row.model and r.label == against),
            None,
        )

    def _mark_best(self) -> None:
        for index, majority in enumerate(self.majority):
            for model in {row.model for row in self.rows}:
                own = [n for n, row in enumerate(self.rows) if row.model == model]
                scores = [self._scores[n][index] for n in own]
                top = highest(score.mean for score in [*scores, majority])
                for number, score in zip(own, scores, strict=True):
                    self._scores[number][index] = replace(score, best=reaches(score.mean, top))
            top = highest([*(line[index].mean for line in self._scores), majority.mean])
            self.majority[index] = replace(majority, best=reaches(majority.mean, top))


def _majority(rows: Sequence[Row], column: Column) -> Score:
    """What always answering the most frequent training label scores; it is the same for all rows.

    The training rows of a few-shot sample follow the seed, so it may differ between seeds.
    """
    if column.kind not in ("score", "average"):
        return Score("missing")
    by_task = []
    for task in column.tasks:
        by_seed = {}
        for row in rows:
            for seed, record in row.at(task, column.shots).finished.items():
                assert record.scores is not None
                metric = column.metric or record.scores.table_metric
                if record.majority is not None and metric in record.majority.test:
                    by_seed[seed] = record.majority.test[metric]
        if not by_seed:
            return Score("missing")
        by_task.append(mean_and_std([by_seed[seed] for seed in sorted(by_seed)]))
    if len(by_task) == 1:
        mean, std = by_task[0]
        # A deviation of 0 is left out: there is nothing random about it.
        return Score("finished", mean, std or None)
    return Score("finished", math.fsum(mean for mean, _ in by_task) / len(by_task))


def _value(record: Record, metric: str | None) -> float | None:
    assert record.scores is not None
    return record.scores.test.get(metric or record.scores.table_metric)


def _score(status: Status, values: Sequence[float], replicates: Array | None) -> Score:
    if not values:
        return Score(status)
    mean, std = mean_and_std(values)
    interval = None if replicates is None else percentile_interval(replicates)
    return Score(status, mean, std, len(values), interval=interval)


def _average(cells: Sequence[_Cell]) -> Score:
    """The mean over tasks; its deviation is that of the seeds' own means."""
    means = [cell.score.mean for cell in cells]
    known = [mean for mean in means if mean is not None]
    if len(known) < len(means):
        return Score("missing")
    mean = math.fsum(known) / len(known)
    seeds = {tuple(sorted(cell.by_seed)) for cell in cells}
    std = None
    fewest = min(len(cell.by_seed) for cell in cells)
    if len(seeds) == 1:
        own = [math.fsum(c.by_seed[s] for c in cells) / len(cells) for s in next(iter(seeds))]
        std = mean_and_std(own)[1]
    replicates = [cell.mean_replicates() for cell in cells]
    drawn = [part for part in replicates if part is not None]
    interval = (
        percentile_interval(np.mean(drawn, axis=0)) if len(drawn) == len(replicates) else None
    )
    return Score("finished", mean, std, fewest, interval=interval)


def _difference(cell: _Cell, reference: _Cell) -> tuple[float, float | None] | None:
    """Mean difference over common seeds, with the p-value if all have predictions."""
    seeds = sorted(cell.by_seed.keys() & reference.by_seed.keys())
    if not seeds:
        return None
    observed = math.fsum(cell.by_seed[s] - reference.by_seed[s] for s in seeds) / len(seeds)
    replicates = paired_replicates(cell.records, reference.records, seeds, cell.replicates)
    p_value = None if replicates is None else bootstrap_p_value(observed, replicates)
    return observed, p_value


def paired_replicates(
    records: Mapping[int, Record],
    references: Mapping[int, Record],
    seeds: Sequence[int],
    replicates: Mapping[str, Array],
) -> Array | None:
    """Replicates ``(B,)`` of the mean difference over seeds, on the same resamples of rows."""
    ours = mean_replicates([records[seed] for seed in seeds], replicates)
    theirs = mean_replicates([references[seed] for seed in seeds], replicates)
    return None if ours is None or theirs is None else ours - theirs


__all__ = ["Score", "ScoreGrid", "Status", "paired_replicates"]
