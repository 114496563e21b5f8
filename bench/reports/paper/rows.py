"""The rows of a table: the cells of one method on one model, by task, shots and seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.records import ModelBlock, Record
from bench.reports.order import row_key
from bench.reports.sections import Section
from bench.reports.settings import differing, row_labels, shortened


@dataclass(frozen=True)
class Trials:
    """What one row has on one task and number of shots.

    Attributes:
        finished: records by seed.
        failed: number of seeds that failed.
        conflict: whether a seed has records that contradict each other: they started from
            different prompts. None is used then.
    """

    finished: Mapping[int, Record] = field(default_factory=dict)
    failed: int = 0
    conflict: bool = False


@dataclass(frozen=True)
class Row:
    """One method on one model.

    Attributes:
        model: it runs on.
        label: as tables show it; unique for the model.
        method: name of the method.
        spec: the method as the user wrote it.
        trials: by task and shots.
    """

    model: ModelBlock
    label: str
    method: str
    spec: str
    trials: Mapping[tuple[str, int | None], Trials]

    def at(self, task: str, shots: int | None) -> Trials:
        """What the row has there."""
        return self.trials.get((task, shots), Trials())

    @property
    def finished(self) -> list[Record]:
        """All finished records."""
        return [record for t in self.trials.values() for record in t.finished.values()]


def make_rows(
    section: Section, method_order: Sequence[str] = (), first: Sequence[str] = ()
) -> list[Row]:
    """The rows of a section, model by model.

    Args:
        section: its records.
        method_order: names of methods in the order of the rows; others follow by name.
        first: labels that precede all others, in this order.
    """
    by_model: dict[ModelBlock, list[Record]] = defaultdict(list)
    for record in section.records:
        by_model[record.cell.model].append(record)
    key = row_key(method_order)
    front = {label: index for index, label in enumerate(first)}

    def order(row: tuple[str, str]) -> tuple[int, int, str, str]:
        return front.get(row[1], len(front)), *key(*row)

    rows = []
    for model in sorted(by_model, key=model_order):
        labels = row_labels(by_model[model])
        by_label: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in by_model[model]:
            by_label[record.cell.method.name, labels[record.digest]].append(record)
        rows += [
            Row(model, label, method, members[0].cell.method.label, _trials(members))
            for (method, label), members in sorted(
                by_label.items(), key=lambda item: order(item[0])
            )
        ]
    return rows


def _trials(records: Sequence[Record]) -> dict[tuple[str, int | None], Trials]:
    by_place: dict[tuple[str, int | None], dict[int, list[Record]]] = {}
    for record in records:
        place = (record.cell.task, record.cell.shots)
        by_place.setdefault(place, {}).setdefault(record.cell.seed, []).append(record)
    return {
        place: Trials(
            finished={
                seed: members[0]
                for seed, members in sorted(seeds.items())
                if members[0].status == "finished" and not _conflict(seeds)
            },
            failed=sum(
                any(record.status == "failed" for record in members) for members in seeds.values()
            ),
            conflict=_conflict(seeds),
        )
        for place, seeds in by_place.items()
    }


def _conflict(seeds: Mapping[int, Sequence[Record]]) -> bool:
    return any(len(members) > 1 for members in seeds.values())


def model_order(model: ModelBlock) -> tuple[bool, int, str, str, str, bool]:
    """Sorts models: encoder-decoders first, then by size; no two have the same place."""
    return (
        model.kind != "encoder-decoder",
        model.parameters,
        model.name,
        model.digest,
        model.note,
        model.bundled,
    )


def model_titles(models: Sequence[ModelBlock]) -> dict[ModelBlock, str]:
    """A name for each model; where names are equal, what tells them apart is added."""
    titles = {}
    for model in models:
        twins = [asdict(other) for other in models if other.name == model.name]
        own = asdict(model)
        parts = [f"{name}={shortened(str(own[name]))}" for name in differing(twins)]
        titles[model] = f"{model.name} [{', '.join(parts)}]" if parts else model.name
    return titles


__all__ = ["Row", "Trials", "make_rows", "model_order", "model_titles"]
