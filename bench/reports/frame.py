"""Records as one tidy frame, and the scores of each setting by row, task and seed."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeAlias

import pandas as pd

from bench.errors import RecordError
from bench.record import Record, read_records
from bench.reports.layouts import display
from bench.reports.statistics import ALPHA, Bootstrap, holm
from bench.tasks import TASKS

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg", "no_prompt", "fixed")
"""Order of rows; other methods follow by name."""

MAJORITY = "majority class"
BETTER, WORSE = "†", "‡"
Cell: TypeAlias = dict[str, Any]
"""Values of one field, and its text as ``number``, ``mark``, ``after`` (spread) and ``note``."""

Condition: TypeAlias = tuple[str, str, float]
"""Row, task and shots of a run."""

UNTRAINED = ("no_prompt", "fixed")
"""Methods without training."""

SETTING = [
    *("preset", "model", "model_digest", "data_kind", "data", "data_seed", "shots"),
    *("prompt_length", "input_length", "validation_rows", "train_rows", "test_rows"),
    *("precision", "results", "data_version"),
]
"""Columns whose values never mix in a table."""

OF_TRAINING = ("shots", "prompt_length", "validation_rows", "train_rows")
"""Columns of SETTING that do not affect methods without training."""


@dataclass(frozen=True)
class Results:
    """Records of a result folder."""

    folder: Path
    records: list[Record]
    warnings: list[str]  # One line per ignored file.

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per run and test metric, and one without metric per failed run.

        ``shown``: whether tables show the metric. Infinity means no limit (full data).
        """
        return _make_frame(self.records)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Resampled scores of the runs, shared by all tables."""
        return Bootstrap(self.folder / "records", self.records)

    @cached_property
    def sections(self) -> list[Scores]:
        """Scores of each setting, with all runs."""
        return make_sections(self, self.frame)

    def only(self, ids: Collection[str]) -> Results:
        """Results of the runs with these ids."""
        return replace(self, records=[record for record in self.records if record.id in ids])


def load_results(folder: Path) -> Results:
    """Read all records of a result folder; RecordError if it does not exist."""
    if not folder.is_dir():
        raise RecordError(f"no result folder {folder}: give the --out folder of a run")
    records, warnings = read_records(folder / "records")
    return Results(folder, records, warnings)


def _make_frame(records: Iterable[Record]) -> pd.DataFrame:
    frame: pd.DataFrame = pd.DataFrame([line for record in records for line in _lines(record)])
    if frame.empty:
        return frame
    limits = ["shots", "input_length", "validation_rows", "train_rows", "test_rows"]
    frame[limits] = frame[limits].astype(float).fillna(math.inf)
    values = ["score", "majority", "tested_rows", "parameters"]
    frame[values] = frame[values].astype(float)
    # A model or folder that was given in two ways gets one name.
    frame["model"] = frame.groupby("model_digest")["model"].transform("min")
    names = frame.groupby(["task", "data_kind", "origin"])["data"].transform("min")
    frame["data"] = names.groupby(frame["data"]).transform("min")
    # Numbers the versions of a task's rows and metrics by age.
    ages = frame.groupby(["task", "origin"])["started"].transform("min") + frame["origin"]
    keys = ["task", *(key for key in SETTING if key not in (*OF_TRAINING, "data_version"))]
    groups = ages.groupby([frame[key] for key in keys])
    frame["data_version"] = groups.transform(lambda group: pd.factorize(group, sort=True)[0] + 1)
    return frame


def _lines(record: Record) -> Iterator[dict[str, Any]]:
    run, scores, training = record.run, record.scores, record.training
    nested = {"settings", "training", "needs", "model", "data", "versions"}
    line = run.model_dump(exclude=nested) | {
        "id": record.id,
        "status": record.status,
        "model": run.model.name,
        "model_digest": run.model.digest,
        "data_kind": run.data.kind,
        "data": run.data.name,
        "results": run.versions.results,
        "variant": f"{run.versions.method} {run.settings} {run.needs}",
        "origin": f"{run.data.fingerprint} {run.data.revision} {run.versions.task}",
        "started": record.timing.started,
        "commit": (record.provenance.git_commit or "unknown")[:12],
        "tested_rows": record.rows.test if record.rows else None,
        "parameters": training.trainable_parameters if training else None,
        "untrained": run.method in UNTRAINED
        or bool(training and not training.trainable_parameters),
    }
    majority = record.majority.test if record.majority else {}
    for metric, score in (scores.test if scores else {None: None}).items():
        line |= {"metric": metric, "score": score, "majority": majority.get(metric or "")}
        yield line | {"shown": scores is not None and metric == scores.table_metric}


def split_by_setting(
    frame: pd.DataFrame, by_shots: bool
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield each setting (without shots if ``by_shots``) and its part of the frame.

    Runs of methods without training are added to all matching settings, for all shots and seeds.
    """
    keys = [key for key in SETTING if not (by_shots and key == "shots")]
    shared = [key for key in keys if key not in OF_TRAINING]
    untrained = frame[frame["untrained"]].sort_values(["status", "seed"], ascending=[False, True])
    first_ids = untrained.groupby(["label", "variant", "task", *shared])["id"].transform("first")
    untrained = untrained[untrained["id"] == first_ids]
    used: set[Any] = set()
    for values, part in frame[~frame["untrained"]].groupby(keys):
        setting = dict(zip(keys, values, strict=True))
        matching = untrained[(untrained[shared] == [setting[key] for key in shared]).all(axis=1)]
        used |= {*matching.index}
        repeats = part[["shots", "seed"]].drop_duplicates()
        repeated = matching.drop(columns=["shots", "seed"]).merge(repeats, how="cross")
        yield setting, pd.concat([part, repeated], ignore_index=True)
    for values, part in untrained.drop(index=list(used)).groupby(keys):
        yield dict(zip(keys, values, strict=True)), part


def row_labels(records: Iterable[Record]) -> dict[str, str]:
    """Row label of each record of one setting, by run id.

    Settings and method version are added to labels that several variants share. Training options
    are added only if they differ within one task and number of shots.
    """
    variants: dict[str, tuple[str, dict[str, Any]]] = {}
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        run = record.run
        settings = {"method": run.method, "version": run.versions.method, **run.settings}
        options = {f"training.{name}": value for name, value in run.training.items()}
        groups[run.label, None, None].append(settings)
        groups[run.label, run.task, run.shots].append(options)
        variants[record.id] = run.label, settings | options
    differing: dict[str, set[str]] = defaultdict(set)
    for (label, *_), group in groups.items():
        names = {name for values in group for name in values}
        differing[label] |= {n for n in names if len({repr(v.get(n)) for v in group}) > 1}
    labels = {}
    for id, (label, values) in variants.items():
        parts = [f"{name}={_plain(values[name])}" for name in sorted(differing[label] & {*values})]
        labels[id] = f"{label} [{', '.join(parts)}]" if parts else label
    return labels


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


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
        """Displayed group and title; a task column shows no group."""
        group = "" if self.tasks == (self.title,) else display(self.group)
        return group, display(self.title)


class Scores:
    """Records and scores of one setting.

    Attributes:
        frame: the setting's lines, with ``row``: a label unique for method and settings; runs of
            methods without training are repeated for all shots and seeds.
        finished: lines with scores, without conflicting records.
        tasks, rows: in the order of tables; the majority class stands last.
        untrained: rows without training.
        metrics, test_rows: table metric and number of test rows by task.
        recorded, failed, ids: numbers of recorded and failed seeds, and an id, by condition.
        conflicts: conditions with several records of one seed.
    """

    def __init__(
        self,
        setting: Mapping[str, Any],
        frame: pd.DataFrame,
        records: Mapping[str, Record],
        bootstrap: Bootstrap,
        first: Sequence[str] = (),
    ) -> None:
        self.setting, self.records, self._bootstrap = setting, records, bootstrap
        self.frame = frame = frame.assign(row=frame["id"].map(row_labels(records.values())))
        condition = ["row", "task", "shots"]
        self.tasks = ordered_tasks(frame["task"])
        self.seeds = sorted(frame["seed"].unique())
        self.model = next(iter(records.values())).run.model
        scored = frame.dropna(subset="metric")
        majority = scored.dropna(subset="majority")
        majority = majority.drop_duplicates(["task", "shots", "seed", "metric"])
        majority = majority.assign(row=MAJORITY, score=majority["majority"], id="")
        front = {row: index for index, row in enumerate(first)}
        order = {method: index for index, method in enumerate(METHODS)}
        keys = {
            row: (front.get(row, len(front)), order.get(method, len(order)), method, row)
            for row, method in frame.set_index("row")["method"].items()
        }
        self.rows: list[str] = sorted(keys, key=keys.__getitem__) + [MAJORITY] * bool(len(majority))
        self.untrained = {MAJORITY, *frame.loc[frame["untrained"], "row"]}
        runs = frame.drop_duplicates([*condition, "seed", "id"]).sort_values("seed")
        failed = runs[runs["status"] == "failed"]
        self.recorded: Mapping[Condition, int] = runs.groupby(condition)["seed"].nunique().to_dict()
        self.failed: Mapping[Condition, int] = failed.groupby(condition)["seed"].nunique().to_dict()
        self.ids: Mapping[Condition, str] = runs.groupby(condition)["id"].first().to_dict()
        self.conflicts = set(runs[runs.duplicated([*condition, "seed"])].groupby(condition).groups)
        by_task = scored[scored["shown"]].drop_duplicates("task").set_index("task")
        self.metrics: Mapping[str, str] = by_task["metric"].to_dict()
        self.test_rows: Mapping[str, int] = by_task["tested_rows"].astype(int).to_dict()
        self.finished = scored[~scored.set_index(condition).index.isin([*self.conflicts])]
        self._scores: dict[Any, dict[int, tuple[float, str]]] = {}
        lines = pd.concat([self.finished, majority])[[*condition, "metric", "seed", "score", "id"]]
        for *key, seed, score, id in lines.itertuples(index=False, name=None):
            self._scores.setdefault(tuple(key), {})[seed] = score, id

    def facts(self) -> dict[str, Any]:
        """JSON-ready setting; None means no limit."""
        setting = {k: None if v == math.inf else v for k, v in self.setting.items()}
        return setting | {"seeds": " ".join(map(str, self.seeds))}

    def runs(self, row: str, task: str, shots: float, metric: str = "") -> dict[int, Any]:
        """Score and run id by seed; the default metric is the one that tables show."""
        return self._scores.get((row, task, shots, metric or self.metrics.get(task, "")), {})

    def means(self, tasks: Iterable[str], shots: float, complete: bool = False) -> pd.DataFrame:
        """Mean scores by trained row and task, for the tasks that all these rows have finished.

        With ``complete``: with all seeds, and including rows without training.
        """
        excluded = {MAJORITY} if complete else self.untrained
        rows = [row for row in self.rows if row not in excluded]
        finished = self.finished[self.finished["shown"] & (self.finished["shots"] == shots)]
        scores = finished.groupby(["row", "task"])["score"]
        counts = scores.size().unstack().reindex(index=rows, columns=[*tasks])
        common = (counts >= (len(self.seeds) if complete else 1)).all() & bool(rows)
        # Rounded, so that equal means do not depend on the order of seeds.
        means = scores.mean().unstack().round(9)
        frame: pd.DataFrame = means.reindex(index=rows, columns=common.index[common])
        return frame

    def cell(self, row: str, column: Column) -> Cell:
        """Mean over seeds (and over tasks in an average column), with deviation and text."""
        conditions = [(row, task, column.shots) for task in column.tasks]
        runs = [self.runs(*condition, column.metric) for condition in conditions]
        failed = sum(self.failed.get(condition, 0) for condition in conditions)
        cell: Cell = {"status": "missing", "n_seeds": min(map(len, runs)), "n_failed": failed}
        if column.kind == "score" and conditions[0] in self.ids:
            cell["id"] = self.ids[conditions[0]]
        if not all(runs):
            if column.kind == "score" and conditions[0] in self.conflicts:
                cell |= {"status": "conflict", "number": "conflict"}
            elif column.kind == "score" and failed == self.recorded.get(conditions[0]):
                cell |= {"status": "failed", "number": "failed"}
            return cell
        scores = [{seed: score for seed, (score, _) in by_seed.items()} for by_seed in runs]
        mean = fmean(fmean(by_seed.values()) for by_seed in scores)
        cell |= {"status": "finished", "mean": mean}
        untrained = row in self.untrained
        spread = ""
        seeds = scores[0].keys()
        if len(seeds) > 1 and all(by_seed.keys() == seeds for by_seed in scores):
            # The deviation of an average is taken over the averages of single seeds.
            cell["std"] = stdev([fmean(by_seed[seed] for by_seed in scores) for seed in seeds])
            if not untrained or cell["std"] >= 1e-9:
                spread = f"± {number(cell['std'])}"
        if cell["n_seeds"] < len(self.seeds) and not untrained:
            cell["note"] = f"(n={cell['n_seeds']}{f', {failed} failed' if failed else ''})"
        return cell | {"number": number(mean), "after": spread}

    def difference(self, row: str, against: str, column: Column) -> Cell:
        """Difference of two rows on one task over common seeds, with interval and p-value."""
        (task,) = column.tasks
        metric = column.metric or self.metrics.get(task, "")
        left = self.runs(row, task, column.shots, metric)
        right = self.runs(against, task, column.shots, metric)
        seeds = sorted(left.keys() & right.keys())
        if row in (against, MAJORITY) or not seeds:
            return {}
        by_seed = {seed: left[seed][0] - right[seed][0] for seed in seeds}
        mean = fmean(by_seed.values())
        cell: Cell = {"difference": mean, "n_seeds": len(seeds), "by_seed": by_seed}
        cell["number"] = number(mean, "+")
        if len(seeds) < len(self.seeds) and not self.untrained & {row, against}:
            cell["note"] = f"(n={len(seeds)})"
        pairs = tuple((left[seed][1], right[seed][1]) for seed in seeds)
        cell |= self._bootstrap.compare(pairs, metric, mean)
        return cell | {"after": interval_text(cell)}

    def differences(self, against: str) -> dict[str, dict[str, Cell]]:
        """Differences to a row by row and task, with Holm's correction for all of them."""
        by_row: dict[str, dict[str, Cell]] = {row: {} for row in self.rows}
        for row, cells in by_row.items():
            for task in self.tasks:
                column = Column("score", "", task, (task,), self.setting["shots"])
                if cell := self.difference(row, against, column):
                    cells[task] = cell
        adjust(cell for cells in by_row.values() for cell in cells.values())
        return {row: cells for row, cells in by_row.items() if cells}


def make_sections(
    results: Results, frame: pd.DataFrame, by_shots: bool = False, first: Sequence[str] = ()
) -> list[Scores]:
    """Scores of each setting (of all shots with ``by_shots``), with the rows ``first`` on top."""
    records = {record.id: record for record in results.records}
    return [
        Scores(setting, part, {id: records[id] for id in part["id"]}, results.bootstrap, first)
        for setting, part in (split_by_setting(frame, by_shots) if len(frame) else ())
    ]


def ordered_tasks(names: Iterable[str]) -> list[str]:
    """Tasks in the order of the suites; others follow by name."""
    order = {task.name: index for index, task in enumerate(TASKS)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))


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


def p_text(p_value: float) -> str:
    """Three digits after the point; very small values as a bound."""
    return "<0.001" if p_value < 0.0005 else f"{p_value:.3f}"
