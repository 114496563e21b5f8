"""Scores of one section by row, task and seed: means, deviations, intervals and differences."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from bench.reports.frame import Section
from bench.reports.layouts import DASH, display
from bench.reports.statistics import (
    ALPHA,
    Bootstrap,
    holm,
    mean_draws,
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
        conflicts: places with several records of one seed.
        tries: number of settings among which validation chose, by row.
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
        chosen = frame["id"].map(lambda id: len(section.records[id].tries))
        tries = frame.loc[chosen > 0, "row"].to_frame().assign(tries=chosen)
        self.tries: Mapping[str, int] = tries.groupby("row")["tries"].max().to_dict()
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
        lines = pd.concat([known, majority])[[*place, "metric", "seed", "score", "id"]]
        for *parts, seed, score, id in lines.itertuples(index=False, name=None):
            if (key := tuple(parts))[:3] not in self.conflicts:
                self._scores.setdefault(key, {})[seed] = score
                self._ids.setdefault(key[1:], {}).setdefault(key[0], {})[seed] = id

    def facts(self) -> dict[str, Any]:
        """The setting for programs; None: no limit."""
        setting = {k: None if v == math.inf else v for k, v in self.section.setting.items()}
        return setting | {"seeds": " ".join(map(str, self.seeds))}

    def _key(self, task: str, column: Column) -> tuple[str, float, str]:
        """Task, shots and metric of a column of scores, or of one task of an average."""
        return task, column.shots, column.metric or self.metrics.get(task, "")

    def _runs(self, task: str, column: Column) -> tuple[dict[str, dict[int, str]], set[str], str]:
        """Ids by row and seed for one task of a column, all of them, and the metric."""
        ids = self._ids[key := self._key(task, column)]
        return ids, {id for own in ids.values() for id in own.values() if id}, key[2]

    def by_seed(self, row: str, task: str, shots: float) -> list[float]:
        """Scores of the seeds in the table metric."""
        column = Column("score", "", task, (task,), shots)
        return [*self._scores.get((row, *self._key(task, column)), {}).values()]

    def means(self, tasks: Iterable[str], shots: float, complete: bool = False) -> pd.DataFrame:
        """Mean scores by trained row and task, of the tasks that all of these rows finished.

        ``complete``: with all seeds, and by the rows without training too.
        """
        columns = [Column("score", "", task, (task,), shots) for task in tasks]
        rows = [
            row for row in self.rows if row not in (MAJORITY, *([] if complete else self.constant))
        ]
        cells = {c.title: [self.cell(row, c, False) for row in rows] for c in columns}
        least = len(self.seeds) if complete else 1
        values = {
            t: [c.get("mean") for c in own]
            for t, own in cells.items()
            if min(c["n_seeds"] for c in own) >= least
        }
        found: pd.DataFrame = pd.DataFrame(values, index=rows, dtype=float)
        return found

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
        if interval and self._bootstrap is not None:
            parts = []
            for task, own in zip(column.tasks, found, strict=True):
                ids, runs, metric = self._runs(task, column)
                parts.append(self._bootstrap.mean(runs, [ids[row][seed] for seed in own], metric))
            if (draws := mean_draws(parts)) is not None:
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
        if self._bootstrap is not None:
            ids, runs, metric = self._runs(task, column)
            pairs = [(ids[row][seed], ids[against][seed]) for seed in by_seed]
            cell |= self._bootstrap.compare(runs, pairs, metric, mean)
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


SUMMARY = [
    *(Column("difference", "", title) for title in ("targets", "mean difference")),
    *(Column("difference", "targets with a", title) for title in ("win", "tie", "loss")),
    *(Column("difference", "significant", title) for title in ("wins", "losses")),
    *(Column("difference", "Wilcoxon over targets", title) for title in ("p", "p (Holm)")),
    *(Column("text", "", title) for title in ("verdict", "sources")),
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


def summary_lines(scores: Scores, found: dict[str, dict[str, Cell]]) -> Iterator[Line]:
    """A line per row over all targets."""
    ids = scores.section.frame.groupby("row")["id"].unique()
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
        counts = [signs[1], signs[0], signs[-1], marked[BETTER], marked[WORSE]]
        verdict = ("helps" if mean > 0 else "hurts") if adjusted < ALPHA else "no clear effect"
        records = (scores.section.records[id] for id in ids[row])
        sources = dict.fromkeys(display(own.task) for r in records for own in r.sources)
        yield Line(
            row,
            [
                {"number": str(len(own))},
                first,
                *({"number": str(count)} for count in counts),
                *({"number": f"{value:.3f}", "p_value": value} for value in (p_value, adjusted)),
                *({"number": text} for text in (verdict, ", ".join(sources) or DASH)),
            ],
            "summary",
        )
