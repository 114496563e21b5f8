"""Costs from records and prompts that are there: of the same model, on one kind of hardware."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.errors import RecordError
from bench.predictions import predictions_file
from bench.records import Record, read_records
from bench.runs.cells import SOURCE_STAGE, Training
from bench.runs.estimate.costs import (
    Costs,
    Lines,
    Observation,
    TrainingKind,
    evaluation_features,
    evaluation_kind,
    method_kind,
    step_features,
    training_kind,
)
from bench.runs.estimate.sizes import (
    CARD_LISTS,
    RECORD_LISTS,
    FileSize,
    Sizes,
    file_size,
    mean_size,
)
from bench.runs.estimate.workload import Workload
from bench.runs.plan import Plan
from bench.runs.prompts import PromptCard
from bench.runs.results import ResultFolder
from bench.training.settings import TrainingSettings

LEAST_SHARE = 0.1
"""Of a training's seconds, so much at least are its steps, whatever its evaluations may take."""

LONGEST_AROUND = 10.0
"""Seconds around a short training that may still belong to it."""

Hardware = tuple[tuple[str, str], ...]
"""What records say of a machine."""


def hardware_of(values: Mapping[str, Any]) -> Hardware:
    """The ``hardware`` block of a record, a card, or this machine."""
    return tuple((name, str(values.get(name))) for name in ("cpu", "threads", "gpu"))


def hardware_text(hardware: Hardware) -> str:
    """A machine in words."""
    values = dict(hardware)
    if values["gpu"] != "None":
        return values["gpu"]
    return f"{values['cpu']}, {values['threads']} threads"


@dataclass(frozen=True)
class _Timed:
    """A finished training or cell, as a planned one would look that does the same work."""

    training: Training
    hardware: Hardware
    steps: int
    evaluations: int
    seconds: float
    around: float | None
    """Seconds from its start to its end in which it neither trained nor evaluated; None: it was
    interrupted, or another process did a part."""
    file: Path
    test_seconds: float | None = None
    answers: float = 0.0
    """Bytes of each stored answer."""
    tensors: float | None = None


def observed_costs(
    folder: ResultFolder,
    plan: Plan,
    workload: Workload,
    hardware: Hardware | None,
) -> Costs | None:
    """Costs from what a result folder holds of the plan's model and data.

    Args:
        folder: records and prompts.
        plan: what is to be estimated.
        workload: of its rows.
        hardware: whose timings count; None: of the machine with the most.

    Returns:
        None if there are no timings of trainings or none of evaluations.
    """
    like = _Templates(plan)
    cards = list(_cards(folder, like))
    records = list(_records(folder, like))
    if hardware is None:
        seen = Counter(each.hardware for each in (*records, *cards))
        if not seen:
            return None
        hardware = seen.most_common(1)[0][0]
    cards = [each for each in cards if each.hardware == hardware]
    records = [each for each in records if each.hardware == hardware]
    # The record of a cell repeats what the card of its prompt says.
    carded = {each.training.digest for each in cards}
    trained = [*cards, *(each for each in records if each.training.digest not in carded)]
    if not trained or not records:
        return None
    evaluations = Lines(list(_evaluations(records, workload)))
    steps = Lines(list(_steps(trained, workload, evaluations)))
    per_training = _mean(each.around for each in cards)
    return Costs(
        steps=steps,
        evaluations=evaluations,
        per_training=per_training,
        per_evaluation=0.0,  # Part of the seconds that are counted as steps.
        per_cell=max(0.0, _mean(each.around for each in records) - per_training),
        start=0.0,
        sizes=_sizes(cards, records),
        origin=(
            f"timings of {len(trained)} trainings and {len(records)} cells in {folder.folder} "
            f"({hardware_text(hardware)})"
        ),
        share=_share(trained, workload),
        notes=("the loading of the model is not counted",),
    )


class _Templates:
    """Finds the planned training that one of a record or card is like."""

    def __init__(self, plan: Plan) -> None:
        self._kinds: dict[TrainingKind, Training] = {}
        self._data: dict[str, str] = {}
        for training in plan.trainings.values():
            self._kinds.setdefault(training_kind(training), training)
            self._data[training.task] = training.data.fingerprint

    def find(self, values: Mapping[str, Any]) -> Training | None:
        """A training with the values of a card; None if nothing planned is comparable."""
        try:
            return self._find(values)
        except (KeyError, TypeError, ValueError):  # Of another version, or imported from elsewhere.
            return None

    def _find(self, values: Mapping[str, Any]) -> Training | None:
        task = values["task"]
        kind = method_kind(values["method"], values["settings"]), task == SOURCE_STAGE
        template = self._kinds.get(kind)
        if template is None or self._data.get(task) != values["data"]:
            return None
        setting = template.setting
        if values["model"] != setting.model.digest:
            return None
        if (values["data_seed"], values["input_length"]) != (
            setting.data_seed,
            setting.input_length,
        ):
            return None
        return replace(
            template,
            task=task,
            shots=values["shots"],
            seed=values["seed"],
            hyperparameters=TrainingSettings(**values["hyperparameters"]),
            setting=replace(setting, prompt_length=values["prompt_length"]),
        )


def _cards(folder: ResultFolder, like: _Templates) -> Iterator[_Timed]:
    cards, _ = folder.prompts.cards()
    for card in cards:
        training = None if card.imported else like.find(card.training)
        if training is not None:
            yield _card(folder, card, training)


def _card(folder: ResultFolder, card: PromptCard, training: Training) -> _Timed:
    timing, place = card.timing, folder.prompts.folder
    seconds = timing["training_seconds"]
    return _Timed(
        training,
        hardware_of(card.provenance.get("hardware", {})),
        card.result["steps"],
        len(card.result["curve"]),
        seconds,
        _around(timing["started"], timing["finished"], seconds),
        place / f"{card.digest}.json",
        tensors=(place / f"{card.digest}.safetensors").stat().st_size,
    )


def _records(folder: ResultFolder, like: _Templates) -> Iterator[_Timed]:
    try:
        found, _ = read_records(folder.records)
    except RecordError:
        return
    for record in found:
        training = like.find(_values(record))
        if training is not None and record.training is not None and record.rows is not None:
            yield _record(folder, record, training)


def _values(record: Record) -> dict[str, Any]:
    """What a card would say of the training behind a record."""
    cell = record.cell
    return {
        "method": cell.method.name,
        "settings": dict(cell.method.settings),
        "task": cell.task,
        "data": cell.data.fingerprint,
        "shots": cell.shots,
        "seed": cell.seed,
        "hyperparameters": dict(cell.training),
        "model": cell.model.digest,
        "data_seed": cell.data_seed,
        "prompt_length": cell.prompt_length,
        "input_length": cell.input_length,
    }


def _record(folder: ResultFolder, record: Record, training: Training) -> _Timed:
    assert record.training is not None
    assert record.rows is not None
    hardware = record.provenance.hardware
    timing = record.timing
    answers = folder.records / predictions_file(record)
    size = answers.stat().st_size if answers.is_file() else 0
    return _Timed(
        training,
        hardware_of({"cpu": hardware.cpu, "threads": hardware.threads, "gpu": hardware.gpu}),
        record.training.steps,
        len(record.training.curve),
        timing.training_seconds,
        _around(
            timing.started, timing.finished, timing.training_seconds + timing.evaluation_seconds
        ),
        folder.records / record.file_name,
        test_seconds=timing.evaluation_seconds,
        answers=size / record.rows.test,
        tensors=None,
    )


def _around(started: str, finished: str, worked: float) -> float | None:
    """Seconds besides the work; None if so much passed that there was a pause between."""
    passed = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    rest = passed.total_seconds() - worked  # Either end is cut to a second, so it may be negative.
    return rest if rest <= max(LONGEST_AROUND, worked) else None


def _evaluations(records: Iterable[_Timed], workload: Workload) -> Iterator[Observation[str]]:
    for each in records:
        if each.test_seconds is not None:
            load = workload.test(each.training)
            kind = evaluation_kind(each.training)
            yield Observation(kind, evaluation_features(load), each.test_seconds)


def _steps(
    trained: Iterable[_Timed], workload: Workload, evaluations: Lines[str]
) -> Iterator[Observation[TrainingKind]]:
    for each in trained:
        once = evaluations.seconds(
            evaluation_kind(each.training), evaluation_features(workload.validation(each.training))
        )
        seconds = max(each.seconds - each.evaluations * once, LEAST_SHARE * each.seconds)
        load = workload.training(each.training)
        kind = training_kind(each.training)
        yield Observation(kind, step_features(load), seconds / each.steps)


def _share(trained: Iterable[_Timed], workload: Workload) -> float | None:
    shares = [
        each.steps / workload.training(each.training).steps
        for each in trained
        if each.training.hyperparameters.patience is not None
    ]
    return _mean(shares) if shares else None


def _sizes(cards: Iterable[_Timed], records: Iterable[_Timed]) -> Sizes:
    tensors: dict[TrainingKind, float] = {}
    card_sizes: dict[TrainingKind, list[FileSize]] = defaultdict(list)
    record_sizes: dict[TrainingKind, list[FileSize]] = defaultdict(list)
    for card in cards:
        kind = training_kind(card.training)
        tensors[kind] = max(card.tensors or 0.0, tensors.get(kind, 0.0))
        card_sizes[kind].append(file_size(card.file, CARD_LISTS))
    answers = []
    for record in records:
        record_sizes[training_kind(record.training)].append(file_size(record.file, RECORD_LISTS))
        answers.append(record.answers)
    return Sizes(
        tensors,
        {kind: mean_size(found) for kind, found in card_sizes.items()},
        {kind: mean_size(found) for kind, found in record_sizes.items()},
        _mean(answers),
    )


def _mean(values: Iterable[float | None]) -> float:
    """Of those that are known; 0 without any."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else 0.0


__all__ = ["Hardware", "hardware_of", "hardware_text", "observed_costs"]
