"""Timings that a result folder holds, of trainings and cells that are like planned ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from bench.errors import RecordError
from bench.predictions import predictions_file
from bench.records import Record, read_records
from bench.runs.cells import SOURCE_STAGE, Training
from bench.runs.estimate.costs import TrainingKind, method_kind, training_kind
from bench.runs.plan import Plan
from bench.runs.prompts import PromptCard
from bench.runs.provenance import provenance
from bench.runs.results import ResultFolder
from bench.training.settings import TrainingSettings

LONGEST_AROUND = 10.0
"""Seconds around a short training that may still belong to it."""

Hardware = tuple[tuple[str, str], ...]
"""What records say of a machine."""


def hardware_of(values: Mapping[str, Any]) -> Hardware:
    """The ``hardware`` block of a record, a card, or this machine."""
    return tuple((name, str(values.get(name))) for name in ("cpu", "threads", "gpu"))


def this_hardware() -> Hardware:
    """This machine, with the threads of this process as they are now."""
    return hardware_of({**provenance()["hardware"], "threads": torch.get_num_threads()})


def hardware_text(hardware: Hardware) -> str:
    """A machine in words."""
    values = dict(hardware)
    if values["gpu"] != "None":
        return values["gpu"]
    threads = "thread" if values["threads"] == "1" else "threads"
    return f"{values['cpu']}, {values['threads']} {threads}"


@dataclass(frozen=True)
class Timed:
    """A finished training or cell, as a planned one would look that does the same work.

    Attributes:
        training: like a planned one.
        hardware: that it ran on.
        steps: done.
        evaluations: on validation.
        seconds: of both together.
        around: seconds from its start to its end in which it neither trained nor evaluated; None:
            it was interrupted, another process did a part, or others shared its passes.
        alone: whether it had every pass to itself; else its seconds are a share of theirs.
        file: card or record.
        test_seconds: of the evaluation of a cell.
        answers: bytes of each stored answer of a cell.
        tensors: bytes of a prompt's tensors.
    """

    training: Training
    hardware: Hardware
    steps: int
    evaluations: int
    seconds: float
    around: float | None
    alone: bool
    file: Path
    test_seconds: float | None = None
    answers: float = 0.0
    tensors: float = 0.0


class Templates:
    """Finds the planned training that one of a record or card is like.

    Args:
        plan: what is to be estimated.
    """

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
        # Cards of older versions name no precision: there was one.
        precision = values.get("precision", "float32")
        if (values["model"], precision) != (setting.model.digest, setting.precision):
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


def timed_trainings(folder: ResultFolder, like: Templates) -> Iterator[Timed]:
    """The trainings behind the prompts of the store."""
    cards, _ = folder.prompts.cards()
    for card in cards:
        training = None if card.imported else like.find(card.training)
        if training is not None:
            yield _card(folder, card, training)


def _card(folder: ResultFolder, card: PromptCard, training: Training) -> Timed:
    timing, place = card.timing, folder.prompts.folder
    seconds = timing["training_seconds"]
    alone = card.result.get("trainings_per_pass") is None  # Cards of older versions lack it.
    return Timed(
        training,
        hardware_of(card.provenance.get("hardware", {})),
        card.result["steps"],
        len(card.result["curve"]),
        seconds,
        _around(timing["started"], timing["finished"], seconds) if alone else None,
        alone,
        place / f"{card.digest}.json",
        tensors=(place / f"{card.digest}.safetensors").stat().st_size,
    )


def timed_cells(folder: ResultFolder, like: Templates) -> Iterator[Timed]:
    """The cells with records, and what these say of their trainings."""
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
        "precision": cell.precision,
        "data_seed": cell.data_seed,
        "prompt_length": cell.prompt_length,
        "input_length": cell.input_length,
    }


def _record(folder: ResultFolder, record: Record, training: Training) -> Timed:
    assert record.training is not None
    assert record.rows is not None
    hardware = record.provenance.hardware
    timing = record.timing
    answers = folder.records / predictions_file(record)
    size = answers.stat().st_size if answers.is_file() else 0
    worked = timing.training_seconds + timing.evaluation_seconds
    alone = record.training.trainings_per_pass is None
    return Timed(
        training,
        hardware_of({"cpu": hardware.cpu, "threads": hardware.threads, "gpu": hardware.gpu}),
        record.training.steps,
        len(record.training.curve),
        timing.training_seconds,
        _around(timing.started, timing.finished, worked) if alone else None,
        alone,
        folder.records / record.file_name,
        test_seconds=timing.evaluation_seconds,
        answers=size / max(1, record.rows.test),
    )


def _around(started: str, finished: str, worked: float) -> float | None:
    """Seconds besides the work; None if so much passed that there was a pause between, or so little
    that an earlier process did a part of the work."""
    passed = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    rest = passed.total_seconds() - worked  # Either end is cut to a second, so it may be negative.
    return rest if -1.0 <= rest <= max(LONGEST_AROUND, worked) else None


__all__ = [
    "Hardware",
    "Templates",
    "Timed",
    "hardware_of",
    "hardware_text",
    "this_hardware",
    "timed_cells",
    "timed_trainings",
]
