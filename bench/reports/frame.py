"""Records as one tidy frame, and the parts of it that may share a table."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import RecordError
from bench.record import Record, read_records
from bench.reports.statistics import Bootstrap

CONSTANT = ("no_prompt", "fixed")
"""Methods that train nothing."""

SETTING = [
    *("preset", "model", "model_digest", "data_kind", "data", "data_seed", "shots"),
    *("prompt_length", "input_length", "validation_rows", "precision", "results", "data_version"),
]
"""Columns that never mix in a table."""

OF_TRAINING = ("shots", "prompt_length", "validation_rows")
"""Parts of the setting without a meaning for methods that train nothing."""


@dataclass(frozen=True)
class Results:
    """Content of a results folder.

    Attributes:
        frame: one row per run and test metric (``shown``: the one of tables); one row without a
            metric for a failed run. No limit (full data, no cap) is infinity.
        warnings: one line per file that was left out.
    """

    folder: Path
    records: list[Record]
    frame: pd.DataFrame
    warnings: list[str]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Resampled scores of the runs, shared by all tables."""
        return Bootstrap(records_folder(self.folder), self.records)

    def only(self, ids: Collection[str]) -> Results:
        """The records of some runs."""
        records = [record for record in self.records if record.id in ids]
        return Results(self.folder, records, make_frame(records), self.warnings)


@dataclass(frozen=True)
class Section:
    """Records of one setting, by run id.

    The frame has a column ``row``, a label that is unique for method and settings. Runs of methods
    that train nothing are repeated for all shots and seeds.
    """

    setting: Mapping[str, Any]
    frame: pd.DataFrame
    records: Mapping[str, Record]


def records_folder(folder: Path) -> Path:
    """``folder/records``, or the folder itself if it has none."""
    return folder / "records" if (folder / "records").is_dir() else folder


def load_results(folder: Path) -> Results:
    """Read all records of a results folder; raises RecordError if it does not exist."""
    if not folder.is_dir():
        raise RecordError(f"no results folder {folder}: give the --out folder of a run")
    found, warnings = read_records(records_folder(folder))
    records = {record.id: record for record in reversed(found)}
    if copies := len(found) - len(records):
        warnings.append(f"{records_folder(folder)} holds {copies} copies of records: left out")
    kept = [record for record in found if records[record.id] is record]
    return Results(folder, kept, make_frame(kept), warnings)


def make_frame(records: Iterable[Record]) -> pd.DataFrame:
    """The tidy frame of records; see :class:`Results`."""
    frame: pd.DataFrame = pd.DataFrame([line for r in records for line in _lines(r)])
    if frame.empty:
        return frame
    limits = ["shots", "input_length", "validation_rows"]
    frame[limits] = frame[limits].astype(float).fillna(math.inf)
    values = ["score", "majority", "test_rows", "parameters"]
    frame[values] = frame[values].astype(float)
    # The n-th version of a task's rows and metrics, by age.
    age = frame.groupby(["task", "origin"])["started"].transform("min") + frame["origin"]
    keys = ["task", *(key for key in SETTING if key not in (*OF_TRAINING, "data_version"))]
    versions = age.groupby([frame[key] for key in keys])
    frame["data_version"] = versions.transform(lambda own: pd.factorize(own, sort=True)[0] + 1)
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
        "origin": f"{run.data.fingerprint} {run.data.revision} {run.versions.task}",
        "started": record.timing.started,
        "commit": (record.provenance.git_commit or "unknown")[:12],
        "test_rows": record.rows.test if record.rows else None,
        "parameters": training.trainable_parameters if training else None,
        "constant": run.method in CONSTANT or bool(training and not training.trainable_parameters),
    }
    majority = record.majority.test if record.majority else {}
    for metric, score in (scores.test if scores else {None: None}).items():
        line |= {"metric": metric, "score": score, "majority": majority.get(metric or "")}
        yield line | {"shown": scores is not None and metric == scores.table_metric}


def make_sections(results: Results, frame: pd.DataFrame, by_shots: bool = False) -> list[Section]:
    """Split rows of the frame so that no section mixes settings (but shots, with ``by_shots``)."""
    keys = [key for key in SETTING if not (by_shots and key == "shots")]
    records = {record.id: record for record in results.records}
    sections = []
    for setting, part in _by_setting(frame, keys) if len(frame) else ():
        own = {id: records[id] for id in part["id"].unique()}
        rows = part["id"].map(row_labels(own.values()))
        sections.append(Section(setting, part.assign(row=rows), own))
    return sections


def _by_setting(
    frame: pd.DataFrame, keys: list[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The frame by setting; runs of methods that train nothing join all settings they fit."""
    loose = [key for key in keys if key not in OF_TRAINING]
    constant = frame[frame["constant"]].sort_values(["status", "seed"], ascending=[False, True])
    constant = constant.drop_duplicates(["label", "task", "metric", *loose])
    used: set[Any] = set()
    for values, part in frame[~frame["constant"]].groupby(keys):
        setting = dict(zip(keys, values, strict=True))
        fitting = constant[(constant[loose] == [setting[key] for key in loose]).all(axis=1)]
        used |= {*fitting.index}
        places = part[["shots", "seed"]].drop_duplicates()
        # The majority class of a few-shot sample is that of its own training rows.
        repeated = fitting.drop(columns=["shots", "seed", "majority"]).merge(places, how="cross")
        yield setting, pd.concat([part, repeated], ignore_index=True)
    for values, part in constant.drop(index=list(used)).groupby(keys):
        yield dict(zip(keys, values, strict=True)), part


def row_labels(records: Iterable[Record]) -> dict[str, str]:
    """The row of each record of one section, by run id.

    Settings and method version are added to labels that would stand for several of them. Options of
    the training loop may follow task and shots; they are added if they differ otherwise.
    """
    facts: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    places: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        run = record.run
        known = {"method": run.method, "version": run.versions.method, **run.settings}
        options = {f"training.{name}": value for name, value in run.training.items()}
        places[run.label, None, None].append(known)
        places[run.label, run.task, run.shots].append(options)
        facts[run.label][record.id] = known | options
    telling: dict[str, set[str]] = defaultdict(set)
    for (label, *_), group in places.items():
        names = {name for known in group for name in known}
        telling[label] |= {n for n in names if len({repr(own.get(n)) for own in group}) > 1}
    labels = {}
    for label, members in facts.items():
        for id, known in members.items():
            parts = [
                f"{name}={_plain(known[name])}" for name in sorted(telling[label] & known.keys())
            ]
            labels[id] = f"{label} [{', '.join(parts)}]" if parts else label
    return labels


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
