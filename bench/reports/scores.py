"""Scores of one section by row, task and seed: means, deviations, intervals and differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from bench.reports.frame import Section
from bench.reports.layouts import display
from bench.reports.statistics import ALPHA, Bootstrap, holm, mean_draws, percentile_interval

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg", "no_prompt", "fixed")
"""Order of rows; other methods follow by name."""

MAJORITY = "majority class"
BETTER, WORSE = "†", "‡"
Cell: TypeAlias = dict[str, Any]
"""Values of one field, and its text as ``number``, ``mark``, ``after`` (spread) and ``note``."""

Place: TypeAlias = tuple[str, str, float]
"""Row, task and shots."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``kind`` is score, average, parameters, share, rank, outcomes, difference or text.
    """

    kind: str
    group: str
    title: str
    tasks: tuple[str, ...] = ()
    shots: float = math.inf
    metric: str = ""

    @property
    def heads(self) -> tuple[str, str]:
        """Group and title as people read them; a task stands alone."""
        group = "" if self.tasks == (self.title,) else display(self.group)
        return group, display(self.title)


@dataclass(frozen=True)
class Line:
    """One row of a table: its label and a cell per column.

    ``kind`` is method, constant, majority, published, summary or target.
    """

    label: str
    cells: list[Cell]
    kind: str

    @property
    def floor(self) -> bool:
        """Whether nothing was trained for it."""
        return self.kind in ("constant", "majority")


class Scores:
    """Scores of a section.

    Attributes:
        rows: labels in the order of tables; the majority class stands last.
        constant: rows without training.
        metrics, test_rows: table metric and number of test rows by task.
        recorded, failed: number of (failed) seeds by place.
        ids: of the run with the lowest seed by place.
        conflicts: places with several records of one seed.
        tries: number of settings among which validation chose, by row.
        left_out: why a metric was left out, by metric.
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
        methods = frame.set_index("row")["method"].to_dict()
        front, order = ({name: at for at, name in enumerate(names)} for names in (first, METHODS))
        keys = {
            row: (front.get(row, len(front)), order.get(method, len(order)), method, row)
            for row, method in methods.items()
        }
        self.rows: list[str] = sorted(keys, key=keys.__getitem__)
        self.rows += [MAJORITY] * (len(majority) > 0)
        self.tries: dict[str, int] = {}
        self.left_out: dict[str, str] = {}
        for id, row in zip(frame["id"], frame["row"], strict=True):
            record = section.records[id]
            self.left_out |= record.scores.left_out if record.scores else {}
            if record.tries:
                self.tries[row] = max(len(record.tries), self.tries.get(row, 0))
        self.constant = {MAJORITY, *frame.loc[frame["constant"], "row"]}
        runs = frame.drop_duplicates([*place, "seed", "id"]).sort_values("seed")
        failed = runs[runs["status"] == "failed"]
        self.recorded: Mapping[Place, int] = runs.groupby(place)["seed"].nunique().to_dict()
        self.failed: Mapping[Place, int] = failed.groupby(place)["seed"].nunique().to_dict()
        self.ids: Mapping[Place, str] = runs.groupby(place)["id"].first().to_dict()
        self.conflicts = set(runs[runs.duplicated([*place, "seed"])].groupby(place).groups)
        shown = known[known["shown"]].drop_duplicates("task").set_index("task")
        self.metrics: Mapping[str, str] = shown["metric"].to_dict()
        self.test_rows: Mapping[str, float] = shown["test_rows"].to_dict()
        self._scores: dict[Any, dict[int, tuple[float, str]]] = {}
        lines = pd.concat([known, majority])[[*place, "metric", "seed", "score", "id"]]
        for *key, seed, score, id in lines.itertuples(index=False, name=None):
            if tuple(key[:3]) not in self.conflicts:
                self._scores.setdefault(tuple(key), {})[seed] = score, id

    def facts(self) -> dict[str, Any]:
        """The setting for programs; None: no limit."""
        setting = {k: None if v == math.inf else v for k, v in self.section.setting.items()}
        return setting | {"seeds": " ".join(map(str, self.seeds))}

    def runs(self, row: str, task: str, shots: float, metric: str = "") -> dict[int, Any]:
        """Score and run id by seed; without a metric, in that of tables."""
        return self._scores.get((row, task, shots, metric or self.metrics.get(task, "")), {})

    def means(self, tasks: Iterable[str], shots: float, complete: bool = False) -> pd.DataFrame:
        """Mean scores by trained row and task, of the tasks that all of these rows finished.

        ``complete``: with all seeds, and by the rows without training too.
        """
        apart = {MAJORITY} if complete else self.constant
        rows = [row for row in self.rows if row not in apart]
        found = {task: [self.runs(row, task, shots) for row in rows] for task in tasks}
        least = len(self.seeds) if complete else 1
        means = {
            task: [statistics.fmean(score for score, _ in runs.values()) for runs in own]
            for task, own in found.items()
            if min(map(len, own), default=0) >= least
        }
        frame: pd.DataFrame = pd.DataFrame(means, index=rows, dtype=float)
        return frame

    def cell(self, row: str, column: Column, interval: bool) -> Cell:
        """Mean over seeds, and over the tasks of an average, with deviation and interval."""
        places = [(row, task, column.shots) for task in column.tasks]
        found = [self.runs(*place, column.metric) for place in places]
        failed = sum(self.failed.get(place, 0) for place in places)
        cell: Cell = {"status": "missing", "n_seeds": min(map(len, found)), "n_failed": failed}
        if column.kind == "score" and places[0] in self.ids:
            cell["id"] = self.ids[places[0]]
        if not all(found):
            if column.kind == "score" and places[0] in self.conflicts:
                cell["status"] = "conflict"
            elif column.kind == "score" and failed == self.recorded.get(places[0]):
                cell["status"] = "failed"
            return cell
        means = [math.fsum(score for score, _ in own.values()) / len(own) for own in found]
        cell |= {"status": "finished", "mean": math.fsum(means) / len(means)}
        if len({frozenset(own) for own in found}) == 1 and len(found[0]) > 1:
            # The deviation of an average is that of the seeds' own averages.
            averages = [math.fsum(own[seed][0] for own in found) / len(found) for seed in found[0]]
            cell["std"] = statistics.stdev(averages)
        if interval and self._bootstrap is not None and row != MAJORITY:
            parts = []
            for task, own in zip(column.tasks, found, strict=True):
                metric = column.metric or self.metrics[task]
                parts.append(self._bootstrap.mean((id for _, id in own.values()), metric))
            if (draws := mean_draws(parts)) is not None:
                cell["ci_low"], cell["ci_high"] = percentile_interval(draws)
        return cell

    def difference(self, row: str, against: str, column: Column) -> Cell:
        """A row minus another on one task over common seeds, with interval and p-value."""
        (task,) = column.tasks
        place = (task, column.shots, column.metric or self.metrics.get(task, ""))
        ours, theirs = self.runs(row, *place), self.runs(against, *place)
        common = sorted(ours.keys() & theirs.keys())
        if row in (against, MAJORITY) or not common:
            return {}
        by_seed = {seed: ours[seed][0] - theirs[seed][0] for seed in common}
        mean = math.fsum(by_seed.values()) / len(by_seed)
        cell: Cell = {"difference": mean, "n_seeds": len(by_seed), "by_seed": by_seed}
        cell["number"] = number(mean, "+")
        if self._bootstrap is not None and against != MAJORITY:
            pairs = [(ours[seed][1], theirs[seed][1]) for seed in common]
            cell |= self._bootstrap.compare(pairs, place[-1], mean)
            cell["after"] = interval_text(cell)
        return cell


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
