"""Units of the grid: a training run that gives a soft prompt, and a cell that reports on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from bench.models.info import ModelInfo, Precision
from bench.record_blocks import record_file_name
from bench.registry import MethodSpec, method_entry
from bench.runs.code import harness_digest, method_digest
from bench.training.listeners import TrainingInfo
from bench.training.settings import TrainingSettings

SOURCE_STAGE = "sources"
"""Stands in for the task of a multi-task source stage."""

Role = Literal["source prompt", "shared prompt", "target prompt", "cell"]


@dataclass(frozen=True)
class GivenPrompt:
    """A stored prompt that the user gives in place of training a source prompt.

    Attributes:
        task: source task it stands for.
        digest: its name in the prompt store.
        initial_digest: of the ``P_init`` it started from; None if unknown.
    """

    task: str
    digest: str
    initial_digest: str | None

    def describe(self) -> str:
        """One short line: task and digest."""
        return f"{self.task} given {self.digest[:12]}"


@dataclass(frozen=True)
class DataInfo:
    """Which rows a run reads: kind of source, its name, fingerprint and revision for one task."""

    kind: str
    name: str
    fingerprint: str
    revision: str | None


@dataclass(frozen=True)
class Setting:
    """What all trainings of one run share.

    Attributes:
        model: the frozen language model.
        data_seed: of the split into validation and test.
        prompt_length: ``r``.
        input_length: cap on input tokens, or None.
        validation_rows: rows to validate on, or None: all.
        precision: of the frozen weights.
    """

    model: ModelInfo
    data_seed: int
    prompt_length: int
    input_length: int | None
    validation_rows: int | None
    precision: Precision


@dataclass(frozen=True)
class Training:
    """One training run: everything that decides the bits of the prompt it gives.

    Attributes:
        method: with all its settings.
        task: target task, or :data:`SOURCE_STAGE` for a multi-task source stage.
        data: the rows, per task that is trained on.
        shots: training examples in total; None: all.
        seed: of the initial prompt, the few-shot sample, order and dropout.
        hyperparameters: steps, batch size, intervals.
        setting: what the whole run shares.
        sources: source tasks, if the method needs their prompts.
        requires: what gives the prompts this one starts from: sources in order, then target.
    """

    method: MethodSpec
    task: str
    data: DataInfo
    shots: int | None
    seed: int
    hyperparameters: TrainingSettings
    setting: Setting
    requires: tuple[Training | GivenPrompt, ...] = field(default=(), repr=False)

    @property
    def is_source_stage(self) -> bool:
        """Whether this trains on all source tasks together."""
        return self.task == SOURCE_STAGE

    @cached_property
    def digest(self) -> str:
        """Names the stored prompt and the checkpoint."""
        return _digest(self.card())

    def card(self) -> dict[str, Any]:
        """Everything that decides the prompt, as plain values."""
        return {
            "method": self.method.name,
            "settings": self.method.values(),
            "task": self.task,
            "data": self.data.fingerprint,
            "shots": self.shots,
            "seed": self.seed,
            "hyperparameters": asdict(self.hyperparameters),
            "model": self.setting.model.digest,
            "precision": self.setting.precision,
            "data_seed": self.setting.data_seed,
            "prompt_length": self.setting.prompt_length,
            "input_length": self.setting.input_length,
            "validation_rows": self.setting.validation_rows,
            "code": self.code,
            "requires": [required.digest for required in self.requires],
        }

    @cached_property
    def code(self) -> dict[str, str]:
        """Digests of the code behind it."""
        own = method_digest(method_entry(self.method.name).module)
        # The prompts a method starts from are made by other methods' code.
        trained = [required for required in self.requires if isinstance(required, Training)]
        below = sorted({required.code["method"] for required in trained} - {own})
        return {"harness": harness_digest(), "method": _digest([own, *below]) if below else own}

    def describe(self) -> str:
        """One short line: task, method, shots, seed."""
        return self.info().describe()

    def info(self) -> TrainingInfo:
        """What listeners are told of it."""
        method = self.method
        return TrainingInfo(
            self.digest, self.task, method.name, method.label, self.shots, self.seed
        )


Required: TypeAlias = Training | GivenPrompt
"""What gives a prompt that a training starts from."""


@dataclass(frozen=True)
class Cell:
    """One entry of the result grid: a training and the settings it is reported under.

    Attributes:
        training: gives the prompt that is evaluated.
        preset: the preset's name with the changes made to it; tables never mix presets.
    """

    training: Training
    preset: str

    @cached_property
    def digest(self) -> str:
        """Names the record."""
        return _digest({"training": self.training.digest, "preset": self.preset})

    @property
    def file_name(self) -> str:
        """Of its record."""
        of = self.training
        return record_file_name(of.task, of.method.name, of.shots, of.seed, self.digest)


def _digest(values: dict[str, Any] | list[str]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
