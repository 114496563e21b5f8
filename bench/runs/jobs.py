"""A planned training made ready: its module, its batches, its validation, and what it stores."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.data import EncodedExamples
from bench.errors import PromptError
from bench.models.base import FrozenLM
from bench.protocol import (
    Ingredients,
    PromptMethod,
    SoftPrompt,
    SourceStage,
    Trainable,
    require_same_initial,
)
from bench.runs.cells import Required, Training
from bench.runs.examples import Examples
from bench.runs.prompts import MERGED, Form, StoredPrompt
from bench.seeding import derive_seed
from bench.tasks import Task
from bench.tasks.metrics import TaskScores
from bench.training.evaluation import PromptSource, evaluate, fixed_prompt
from bench.training.loop import BatchStream, Validation, snapshot
from bench.training.streams import MixtureStream, TaskStream

Supply = Callable[[Required], StoredPrompt]
"""Gives the stored prompt that a training requires."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows behind a training; ``few_shot`` are the chosen row numbers, None for full data."""

    train: int
    validation: int
    few_shot: list[int] | None


class Job(abc.ABC):
    """What the training loop needs for one training.

    Attributes:
        module: to train.
        stream: its batches.
        rows: behind it.
        evaluation_micro_batch_size: most rows answered at once on validation, if memory ran out
            with more.
    """

    module: Trainable[Any]
    stream: BatchStream
    rows: TrainingRows

    def __init__(self, training: Training, model: FrozenLM) -> None:
        self._model = model
        self._settings = training.hyperparameters
        self.evaluation_micro_batch_size: int | None = None

    @abc.abstractmethod
    def validate(self) -> Validation:
        """Score the module as it is now on validation."""

    @abc.abstractmethod
    def tensors(self) -> tuple[Form, dict[str, Tensor]]:
        """What to store of the trained module."""

    def _evaluate(self, prompt: PromptSource, examples: EncodedExamples, task: Task) -> TaskScores:
        """Scores of the answers; memory that ran out once is not asked for again."""
        rows = self.evaluation_micro_batch_size or self._settings.evaluation_batch_size
        done = evaluate(self._model, prompt, examples, task, rows, self._settings.beams)
        self.evaluation_micro_batch_size = done.micro_batch_size or self.evaluation_micro_batch_size
        return done.scores


class TargetJob(Job):
    """A method on one target task (or PT on a source task)."""

    def __init__(
        self, training: Training, model: FrozenLM, examples: Examples, supply: Supply
    ) -> None:
        super().__init__(training, model)
        self._task = examples.task(training.task)
        self._validation = examples.evaluation(training.task, "validation")
        chosen = examples.training(training.task, training.shots, training.seed)
        self.module: PromptMethod[Any] = build_method(training, model, supply)
        self.stream = TaskStream(
            chosen.encoded,
            self._settings.batch_size,
            training.seed,
            model.device,
            self._settings.batching,
        )
        self.rows = TrainingRows(chosen.rows, len(self._validation), chosen.few_shot)

    def validate(self) -> Validation:
        prompt = prompt_source(self.module, self._model)
        scores = self._evaluate(prompt, self._validation, self._task)
        return Validation(scores.metrics, scores.valid_label_share)

    def tensors(self) -> tuple[Form, dict[str, Tensor]]:
        merged = self.module.merged_prompt()
        if merged is None:
            return "module", snapshot(self.module)
        return "prompt", {MERGED: merged}


class SourceStageJob(Job):
    """A method's training on all source tasks together."""

    def __init__(
        self, training: Training, model: FrozenLM, examples: Examples, supply: Supply
    ) -> None:
        super().__init__(training, model)
        names = [required.task for required in training.requires]
        self._tasks = [examples.task(name) for name in names]
        self._validation = [examples.evaluation(name, "validation") for name in names]
        chosen = [examples.training(name, None, training.seed) for name in names]
        counts = {name: len(part.encoded) for name, part in zip(names, chosen, strict=True)}
        initial = model.initial_prompt(training.setting.prompt_length, training.seed)
        ingredients = Ingredients(
            initial=initial, sources=soft_prompts(training.requires, supply, initial)
        )
        _seed_module(training)
        method = training.method.load()
        self.module: SourceStage[Any] = method.source_stage(
            training.method.settings, ingredients, counts
        ).to(model.device)
        self.stream = MixtureStream(
            [part.encoded for part in chosen],
            self.module,
            self._settings.batch_size,
            training.seed,
            model.device,
        )
        validation = sum(len(part) for part in self._validation)
        self.rows = TrainingRows(sum(part.rows for part in chosen), validation, None)

    def validate(self) -> Validation:
        scores = {}
        parts = zip(self._tasks, self._validation, strict=True)
        for index, (task, examples) in enumerate(parts):
            prompt = fixed_prompt(self.module.task_prompt(index))
            found = self._evaluate(prompt, examples, task).metrics
            scores[task.name] = sum(found.values()) / len(found)
        return Validation(scores)

    def tensors(self) -> tuple[Form, dict[str, Tensor]]:
        return "shared", self.module.shared_state()


def build_method(training: Training, model: FrozenLM, supply: Supply) -> PromptMethod[Any]:
    """The method's module before training, on the model's device.

    Raises:
        PromptError: a prompt it starts from is missing or does not fit.
    """
    method = training.method.load()
    needs = method.needs(training.method.settings)
    required = list(training.requires)
    shared = required.pop() if needs.shared else None
    target = required.pop() if needs.target else None
    initial = model.initial_prompt(training.setting.prompt_length, training.seed)
    ingredients = Ingredients(
        initial=initial,
        sources=soft_prompts(required, supply, initial),
        target=None if target is None else soft_prompts([target], supply, initial)[0],
        shared=None if shared is None else supply(shared).tensors,
    )
    _seed_module(training)
    return method.build(training.method.settings, ingredients).to(model.device)


def soft_prompts(
    required: Sequence[Required], supply: Supply, initial: Tensor
) -> tuple[SoftPrompt, ...]:
    """The merged prompts that are required, with the ``P_init`` each started from.

    Args:
        required: what gives them.
        supply: gives them as stored.
        initial: ``(r, d)``, where the prompts that a run trains itself start.

    Raises:
        PromptError: a prompt is missing, or no matrix.
        InitialPromptMismatchError: a trained prompt started elsewhere, so its name is wrong.
    """
    prompts = []
    for item in required:
        stored = supply(item)
        prompt = SoftPrompt(item.task, stored.matrix, stored.card.initial_digest)
        if isinstance(item, Training):  # Whether a given one may differ is for the method to say.
            require_same_initial(initial, [prompt])
        prompts.append(prompt)
    return tuple(prompts)


def prompt_source(module: PromptMethod[Any], model: FrozenLM) -> PromptSource:
    """How a module gives prompts in evaluation: one merged matrix wherever that is possible."""
    merged = module.merged_prompt()
    if merged is not None:
        return fixed_prompt(merged)
    return lambda batch: module.prompt_for(model, batch)


def stored_prompt_source(
    training: Training, stored: StoredPrompt, model: FrozenLM, supply: Supply
) -> PromptSource:
    """The same for a stored prompt.

    Raises:
        PromptError: the stored tensors do not fit the method.
    """
    if stored.card.form == "prompt":
        return fixed_prompt(stored.matrix.to(model.device))
    module = build_method(training, model, supply)
    try:
        module.load_state_dict(stored.tensors)
    except RuntimeError as error:
        raise PromptError(
            f"prompt {stored.card.digest[:12]} does not fit {training.method.label}; delete it and "
            "run again to train it anew"
        ) from error
    return prompt_source(module, model)


def _seed_module(training: Training) -> None:
    """Random starts inside a method (ATTEMPT's bottleneck, MPT's vectors) follow from the seed."""
    torch.manual_seed(derive_seed("module", training.seed))
