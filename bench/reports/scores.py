"""Scores of one section by row, task and seed: means, deviations, intervals and differences."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from bench.reports.frame import Section
from bench.reports.statistics import (
    ALPHA,
    Array,
    Bootstrap,
    bootstrap_p_value,
    holm,
    percentile_interval,
    seeded,
    two_level_interval,
    wilcoxon_p_value,
)

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg", "no_prompt", "fixed")
"""Order of rows; other methods follow by name."""

MAJORITY = "majority class"
BETTER, WORSE = "†", "‡"
Cell: TypeAlias = dict[str, Any]
"""Values of one field, and its text as ``number``, ``mark`` and ``after``."""

Place: TypeAlias = tuple[str, str, float]
"""Row, task and shots."""


@dataclass(frozen=True)
class Column:
    """One column of a table; ``kind`` is score, average, parameters, share or difference."""

    kind: str
    group: str
    title: str
    tasks: tuple[str, ...] = ()
    shots: float = math.inf
    metric: str = ""
    units: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table: its label and a cell per column; ``kind`` is for programs."""

    label: str
    cells: list[Cell]
    kind: str


class Scores:
    """Scores of a section.

    Attributes:
        rows: labels in the order of tables; the majority class stands last.
        constant: rows without training.
        metrics, test_rows: table metric and number of test rows by task.
        recorded, failed: number of (failed) seeds by place.
        conflicts: places with several records of one seed.
    """

    def __init__(
        self, section: Section, bootstrap: Bootstrap | None = None, first: Sequence[str] = ()
    ) -> None:
        self.section, self._bootstrap = section, bootstrap
        frame, place = section.frame, ["row", "task", "shots"]
        self.seeds = sorted(frame["seed"].unique())
        self.model = next(iter(section.records.values())).run.model
        known = frame.dropna(subset="metric")
        majority = known.dropna(subset="majority").drop_duplicates(["seed", *place[1:], "metric"])
        majority = majority.assign(row=MAJORITY, score=majority["majority"], id="")
        front, order = ({name: at for at, name in enumerate(names)} for names in (first, METHODS))
        rows = {
            (front.get(row, len(front)), order.get(method, len(order)), method, row)
            for row, method in zip(frame["row"], frame["method"], strict=True)
        }
        self.rows: list[str] = [key[-1] for key in sorted(rows)] + [MAJORITY] * (len(majority) > 0)
        self.constant = {MAJORITY, *frame.loc[frame["constant"], "row"]}
        runs = frame.drop_duplicates([*place, "seed", "id"])
        seeds = runs.groupby([*place, "status"])["seed"].nunique().unstack(fill_value=0)
        self.recorded: Mapping[Place, int] = runs.groupby(place)["seed"].nunique().to_dict()
        self.failed: Mapping[Place, int] = seeds.get("failed", pd.Series(dtype=int)).to_dict()
        self.conflicts = set(runs[runs.duplicated([*place, "seed"])].groupby(place).groups)
        shown = known[known["shown"]].drop_duplicates("task").set_index("task")
        self.metrics: Mapping[str, str] = shown["metric"].to_dict()
        self.test_rows: Mapping[str, float] = shown["test_rows"].to_dict()
        self._scores: dict[Any, dict[int, float]] = {}
        self._ids: dict[Any, dict[str, dict[int, str]]] = {}
        for key, part in pd.concat([known, majority]).groupby([*place, "metric"]):
            if key[:3] not in self.conflicts:
                self._scores[key] = dict(zip(part["seed"], part["score"], strict=True))
                ids = dict(zip(part["seed"], part["id"], strict=True))
                self._ids.setdefault(key[1:], {})[key[0]] = ids

    def facts(self) -> dict[str, Any]:
        """The setting for programs; None: no limit."""
        setting = {k: None if v == math.inf else v for k, v in self.section.setting.items()}
        return setting | {"seeds": " ".join(map(str, self.seeds))}

    def _key(self, task: str, column: Column) -> tuple[str, float, str]:
        """Task, shots and metric of a column of scores, or of one task of an average."""
        return task, column.shots, column.metric or self.metrics.get(task, "")

    def _draws(self, row: str, task: str, column: Column, seeds: Iterable[int]) -> Array | None:
        """Resampled means over some seeds; None without predictions."""
        key = self._key(task, column)
        if self._bootstrap is None or row == MAJORITY or not seeds:
            return None
        ids = self._ids[key]
        known = self._bootstrap.draws(
            {i for own in ids.values() for i in own.values() if i}, key[2]
        )
        return mean_draws([known.get(ids[row][seed]) for seed in seeds])

    def cell(self, row: str, column: Column, interval: bool) -> Cell:
        """Mean over seeds, and over the tasks of an average, with deviation and interval."""
        places = [(row, task, column.shots) for task in column.tasks]
        found = [self._scores.get((row, *self._key(task, column)), {}) for task in column.tasks]
        failed = sum(self.failed.get(place, 0) for place in places)
        cell: Cell = {"status": "missing", "n_seeds": min(map(len, found)), "n_failed": failed}
        if not all(found):
            if column.kind == "score" and places[0] in self.conflicts:
                cell["status"] = "conflict"
            elif column.kind == "score" and failed == self.recorded.get(places[0]):
                cell["status"] = "failed"
            return cell
        means = [math.fsum(own.values()) / len(own) for own in found]
        cell |= {"status": "finished", "mean": math.fsum(means) / len(means)}
        if len({frozenset(own) for own in found}) == 1 and len(found[0]) > 1:
            # The deviation of an average is that of the seeds' own averages.
            averages = [math.fsum(own[seed] for own in found) / len(found) for seed in found[0]]
            cell["std"] = statistics.stdev(averages)
        if interval:
            pairs = zip(column.tasks, found, strict=True)
            draws = mean_draws([self._draws(row, task, column, own) for task, own in pairs])
            if draws is not None:
                cell["ci_low"], cell["ci_high"] = percentile_interval(draws)
        return cell

    def difference(self, row: str, against: str, column: Column) -> Cell:
        """A row minus another on one task over common seeds, with interval and p-value."""
        (task,) = column.tasks
        ours, theirs = (
            self._scores.get((name, *self._key(task, column)), {}) for name in (row, against)
        )
        by_seed = {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}
        if row in (against, MAJORITY) or not by_seed:
            return {}
        mean = math.fsum(by_seed.values()) / len(by_seed)
        cell: Cell = {"difference": mean, "n_seeds": len(by_seed), "by_seed": by_seed}
        cell["number"] = number(mean, "+")
        left, right = (self._draws(name, task, column, by_seed) for name in (row, against))
        if left is not None and right is not None:
            cell["ci_low"], cell["ci_high"] = percentile_interval(left - right)
            cell["p_value"] = bootstrap_p_value(mean, left - right)
            cell["after"] = interval_text(cell)
        return cell


def mean_draws(parts: Sequence[Array | None]) -> Array | None:
    """Mean of resampled scores; None if one is missing."""
    known = [part for part in parts if part is not None]
    return np.mean(known, axis=0) if len(known) == len(parts) else None


def adjust(cells: Iterable[Cell]) -> int:
    """Add Holm's correction and marks to the cells that were tested; returns their number."""
    tested = [cell for cell in cells if "p_value" in cell]
    for cell, p_value in zip(tested, holm([cell["p_value"] for cell in tested]), strict=True):
        cell["p_holm"] = p_value
        if p_value < ALPHA:
            cell["mark"] = BETTER if cell["difference"] > 0 else WORSE
    return len(tested)


def number(value: float, sign: str = "") -> str:
    """One digit after the point, without the sign of a rounded -0.0."""
    return f"{round(value, 1) + 0.0:{sign}.1f}"


def interval_text(cell: Cell) -> str:
    """The interval of a cell in brackets; empty if it has none."""
    return f"[{number(cell['ci_low'])}, {number(cell['ci_high'])}]" if "ci_low" in cell else ""


SUMMARY = [
    *(Column("difference", "", title) for title in ("targets", "mean difference")),
    *(Column("difference", "targets with a", title) for title in ("win", "tie", "loss")),
    *(Column("difference", "significant", title) for title in ("wins", "losses")),
    *(Column("difference", "Wilcoxon over targets", title) for title in ("p", "p (Holm)")),
]


def differences(scores: Scores, against: str, tasks: Sequence[str]) -> dict[str, dict[str, Cell]]:
    """Differences to the reference by row and task, with Holm's correction for all of them."""
    found: dict[str, dict[str, Cell]] = {row: {} for row in scores.rows}
    for row, own in found.items():
        for task in tasks:
            column = Column("score", "", task, (task,), scores.section.setting["shots"])
            if cell := scores.difference(row, against, column):
                own[task] = cell
    adjust(cell for own in found.values() for cell in own.values())
    return {row: own for row, own in found.items() if own}


def summary_lines(found: dict[str, dict[str, Cell]]) -> Iterator[Line]:
    """A line per row over all targets."""
    means = {row: [cell["difference"] for cell in own.values()] for row, own in found.items()}
    tests = [wilcoxon_p_value(own) for own in means.values()]
    for (row, own), p_value, adjusted in zip(means.items(), tests, holm(tests), strict=True):
        cells = list(found[row].values())
        mean = math.fsum(own) / len(own)
        first: Cell = {"number": number(mean, "+"), "difference": mean}
        if len(own) > 1:
            groups = [list(cell["by_seed"].values()) for cell in cells]
            first["ci_low"], first["ci_high"] = two_level_interval(groups, seeded(row))
        first["after"] = interval_text(first)
        # Outcomes by the digits that tables show.
        signs = Counter(math.copysign(1, s) if (s := round(value, 1)) else 0 for value in own)
        marked = Counter(cell.get("mark") for cell in cells)
        counts = [signs[1], signs[0], signs[-1], marked["†"], marked["‡"]]
        yield Line(
            row,
            [
                {"number": str(len(own))},
                first,
                *({"number": str(count)} for count in counts),
                *({"number": f"{value:.3f}", "p_value": value} for value in (p_value, adjusted)),
            ],
            "summary",
        )
