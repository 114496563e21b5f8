"""Which records may share a table, and which of them a row.

A table holds one :class:`Setting` and one version of the data of each task. Within a table, records
of the same method label share a row unless they differ in hyper-parameters or method code.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import ModelBlock, Record


@dataclass(frozen=True)
class Setting:
    """What all records of a table have in common."""

    model: ModelBlock
    data_kind: str
    data_name: str
    shots: int | None
    data_seed: int
    prompt_length: int
    preset: str
    harness: str
    schema: int

    @classmethod
    def of(cls, record: Record) -> Setting:
        """The setting of a record."""
        cell = record.cell
        return cls(
            model=cell.model,
            data_kind=cell.data.kind,
            data_name=cell.data.name,
            shots=cell.shots,
            data_seed=cell.data_seed,
            prompt_length=cell.prompt_length,
            preset=cell.preset,
            harness=cell.code.harness,
            schema=record.schema,
        )

    def facts(self) -> dict[str, str | int | bool | None]:
        """All parts by name, as plain values."""
        return {
            "preset": self.preset,
            "model": self.model.name,
            "model_kind": self.model.kind,
            "model_bundled": self.model.bundled,
            "model_note": self.model.note,
            "model_parameters": self.model.parameters,
            "model_digest": self.model.digest,
            "data_kind": self.data_kind,
            "data": self.data_name,
            "data_seed": self.data_seed,
            "shots": self.shots,
            "prompt_length": self.prompt_length,
            "harness_code": self.harness,
            "schema": self.schema,
        }

    def sort_key(self) -> tuple[tuple[bool, str | int], ...]:
        """Orders tables: by preset, model, data, then shots with the full data last."""
        return tuple(
            (value is None, 0 if value is None else value) for value in self.facts().values()
        )


@dataclass(frozen=True)
class DataVersion:
    """What the scores of a task's column rest on; records of two versions share no table."""

    fingerprint: str
    revision: str | None
    test_rows: int | None
    metric: str | None

    @classmethod
    def of(cls, record: Record) -> DataVersion:
        """The version of a record; a failed one may not know rows and metric."""
        return cls(
            fingerprint=record.cell.data.fingerprint,
            revision=record.cell.data.revision,
            test_rows=None if record.rows is None else record.rows.test,
            metric=None if record.scores is None else record.scores.table_metric,
        )

    def holds(self, other: DataVersion) -> bool:
        """Whether ``other`` is this version, as far as it is known."""
        return (
            (self.fingerprint, self.revision) == (other.fingerprint, other.revision)
            and other.test_rows in (None, self.test_rows)
            and other.metric in (None, self.metric)
        )

    def __str__(self) -> str:
        parts = [f"fingerprint {self.fingerprint[:12]}"]
        if self.revision is not None:
            parts.append(f"revision {self.revision}")
        if self.test_rows is not None:
            parts.append(f"{self.test_rows} test rows")
        if self.metric is not None:
            parts.append(self.metric)
        return ", ".join(parts)


def data_versions(records: Iterable[Record]) -> dict[str, tuple[DataVersion, ...]]:
    """The versions of each task's data among the records of one setting, the oldest first."""
    started: dict[str, dict[DataVersion, str]] = defaultdict(dict)
    for record in records:
        times = started[record.cell.task]
        version = DataVersion.of(record)
        times[version] = min(record.timing.started, times.get(version, record.timing.started))
    return {task: _distinct(times) for task, times in started.items()}


def _distinct(started: Mapping[DataVersion, str]) -> tuple[DataVersion, ...]:
    """Versions by age; what a more complete version holds is no version of its own."""
    versions = sorted(started, key=lambda version: (started[version], repr(version)))
    return tuple(
        version
        for version in versions
        if not any(other.holds(version) for other in versions if other != version)
    )


def row_labels(records: Iterable[Record]) -> dict[str, str]:
    """The row of each record of one table, by cell digest.

    It is the method's label. Where records of one label differ in settings or method code, what
    differs is added, so that a row stands for one method. Options of the training loop may follow
    the task (small tasks train for fewer steps) and the shots; they are added if they differ within
    both.
    """
    by_label: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_label[record.cell.method.label].append(record)
    labels: dict[str, str] = {}
    for label, members in by_label.items():
        method = {record.digest: _method_facts(record) for record in members}
        training = {record.digest: _training_facts(record) for record in members}
        by_task: dict[tuple[str, int | None], list[Mapping[str, str]]] = defaultdict(list)
        for record in members:
            by_task[record.cell.task, record.cell.shots].append(training[record.digest])
        telling = set(differing(list(method.values())))
        telling.update(name for group in by_task.values() for name in differing(group))
        for record in members:
            known = method[record.digest] | training[record.digest]
            parts = [f"{name}={shortened(known[name])}" for name in sorted(telling & set(known))]
            labels[record.digest] = f"{label} [{', '.join(parts)}]" if parts else label
    return labels


def differing(facts: Sequence[Mapping[str, Hashable]]) -> list[str]:
    """Names of the facts that are not the same everywhere, in order of appearance."""
    names = dict.fromkeys(name for known in facts for name in known)
    missing = object()
    return [name for name in names if len({known.get(name, missing) for known in facts}) > 1]


def shortened(value: str) -> str:
    """A digest by its first twelve characters; other text as it is."""
    return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value


def _method_facts(record: Record) -> dict[str, str]:
    cell = record.cell
    facts = {"method": cell.method.name, "method_code": cell.code.method}
    return facts | {name: _plain(value) for name, value in cell.method.settings.items()}


def _training_facts(record: Record) -> dict[str, str]:
    options = record.cell.training
    return {f"training.{name}": _plain(value) for name, value in options.items()}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


__all__ = ["DataVersion", "Setting", "data_versions", "differing", "row_labels", "shortened"]
