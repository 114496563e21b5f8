"""The loads of planned trainings and cells, from the encoded rows that they would read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import torch

from bench.data import DataSource, EncodedExamples, MixtureSampler, TaskRows, TextEncoder
from bench.protocol import Ingredients, SoftPrompt, tensor_digest
from bench.runs.cells import Required, Setting, Training
from bench.runs.estimate.loads import (
    MOST_BATCHES,
    EvaluationLoad,
    Lengths,
    TrainingLoad,
    evaluation,
    evaluations,
    positions,
    task_training,
)
from bench.runs.examples import Examples
from bench.seeding import generator

MOST_ROWS = 3000
"""Rows of a split that are read for their lengths; of larger splits, so many at even distances."""


@dataclass(frozen=True)
class RowsRead:
    """How many rows the lengths rest on, of how many."""

    read: int
    all: int


class SampledExamples(Examples):
    """Examples of large splits' rows at even distances.

    Args:
        source: where rows come from.
        encoder: the model's texts-to-ids.
        setting: of the run.
        most: rows to keep of a split.
        whole_groups: whether to keep all evaluation rows of tasks that join rows of equal source.
    """

    def __init__(
        self,
        source: DataSource,
        encoder: TextEncoder,
        setting: Setting,
        most: int = MOST_ROWS,
        whole_groups: bool = True,
    ) -> None:
        super().__init__(
            source, encoder, setting.data_seed, setting.input_length, setting.validation_rows
        )
        self._most = most
        self._whole_groups = whole_groups
        self.sizes: dict[tuple[str, str], RowsRead] = {}

    def share(self, name: str, split: str) -> float:
        """Which share of a split's rows is kept."""
        self.rows(name)
        size = self.sizes[name, split]
        return size.read / size.all

    def _rows(self, name: str) -> TaskRows:
        full = super()._rows(name)
        whole = self._whole_groups and self.task(name).group_by_source
        # Validation on fewer rows takes the first of them, however many there are behind.
        validation = self._leading(name, full.validation)
        return TaskRows(
            self._cut(name, "train", full.train),
            self._cut(name, "validation", validation, whole),
            self._cut(name, "test", full.test, whole),
            full.notes,
        )

    def _cut(
        self, name: str, split: str, rows: datasets.Dataset, whole: bool = False
    ) -> datasets.Dataset:
        kept = len(rows) if whole else min(len(rows), self._most)
        self.sizes[name, split] = RowsRead(kept, len(rows))
        if kept == len(rows):
            return rows
        return rows.select([at * len(rows) // kept for at in range(kept)])


class Workload:
    """What trainings and cells of one run have to compute.

    Args:
        examples: the rows, or some of each split.
        scaled: whether some rows stand for the whole split, or for themselves alone.
    """

    def __init__(self, examples: SampledExamples, scaled: bool = True) -> None:
        self.examples = examples
        self._scaled = scaled
        self._splits: dict[tuple[str, str], Lengths] = {}
        self._few: dict[tuple[str, int, int], Lengths] = {}
        self._trainings: dict[str, TrainingLoad] = {}

    def rows_read(self) -> RowsRead:
        """Rows behind all lengths so far, and of how many."""
        used = [self.examples.sizes[key] for key in self._splits]
        few = sum(shots for _, shots, _ in self._few)
        return RowsRead(sum(s.read for s in used) + few, sum(s.all for s in used) + few)

    def test(self, training: Training) -> EvaluationLoad:
        """The evaluation of the prompt of a cell."""
        return self._evaluation(training, training.task, "test")

    def training(self, training: Training) -> TrainingLoad:
        """The steps of a training."""
        if training.digest not in self._trainings:
            self._trainings[training.digest] = self._training(training)
        return self._trainings[training.digest]

    def validation(self, training: Training) -> EvaluationLoad:
        """One evaluation of a training on validation."""
        total = EvaluationLoad()
        for task in trained_tasks(training):
            total += self._evaluation(training, task, "validation")
        return total

    def _training(self, training: Training) -> TrainingLoad:
        if training.is_source_stage:
            return self._mixture(training)
        settings, seed = training.hyperparameters, training.seed
        if training.shots is None:
            lengths = self.lengths(training.task, "train")
        else:
            lengths = self._shots(training.task, training.shots, seed)
        steps = settings.total_steps(lengths.examples)
        length = training.setting.prompt_length
        return task_training(lengths, settings, steps, seed, length)

    def _mixture(self, training: Training) -> TrainingLoad:
        """A source stage: its first batches, drawn as :class:`MixtureStream` draws them."""
        settings, seed = training.hyperparameters, training.seed
        sources = [self.lengths(task, "train") for task in trained_tasks(training)]
        counts = [source.examples for source in sources]
        steps = settings.total_steps(sum(counts))
        method = training.method.load()
        stage = method.source_stage(
            training.method.settings,
            _placeholders(training.requires, training.setting.prompt_length),
            dict(zip(trained_tasks(training), counts, strict=True)),
        )
        sampler = MixtureSampler([len(source.inputs) for source in sources], seed)
        tokens, padded, looked_at = 0, 0, min(steps, MOST_BATCHES)
        for step in range(1, looked_at + 1):
            tasks = stage.sample_tasks(settings.batch_size, generator("source tasks", seed, step))
            drawn = sampler.draw(step, tasks)
            inputs = [sources[task].inputs[row] for task, row in drawn]
            answers = [sources[task].answers[row] for task, row in drawn]
            tokens += sum(inputs) + sum(answers)
            padded += positions(inputs, answers, training.setting.prompt_length)
        return TrainingLoad(
            steps,
            tokens * steps / looked_at,
            padded / looked_at,
            evaluations(steps, settings.evaluate_every),
        )

    def _evaluation(self, training: Training, task: str, split: str) -> EvaluationLoad:
        return evaluation(
            self.lengths(task, split),
            training.hyperparameters.evaluation_batch_size,
            self.examples.task(task).target_length,
            training.setting.prompt_length,
        )

    def lengths(self, task: str, split: str) -> Lengths:
        """Of the examples of a whole split."""
        key = task, split
        if key not in self._splits:
            if split == "train":
                encoded = self.examples.training(task, None, 0).encoded
            else:
                encoded = self.examples.evaluation(task, split)
            share = self.examples.share(task, split) if self._scaled else 1.0
            self._splits[key] = _lengths(encoded, share)
        return self._splits[key]

    def _shots(self, task: str, shots: int, seed: int) -> Lengths:
        key = task, shots, seed
        if key not in self._few:
            self._few[key] = _lengths(self.examples.training(task, shots, seed).encoded, 1.0)
        return self._few[key]


def trained_tasks(training: Training) -> list[str]:
    """The task of a training, or those of a source stage."""
    if training.is_source_stage:
        return [required.task for required in training.requires]
    return [training.task]


def _lengths(encoded: EncodedExamples, share: float) -> Lengths:
    examples = encoded.examples(range(len(encoded)))
    return Lengths(encoded.lengths, [len(example["labels"]) for example in examples], share)


def _placeholders(required: Sequence[Required], length: int) -> Ingredients:
    """Prompts of the right length: how a stage draws tasks does not depend on what they hold."""
    initial = torch.zeros(length, 1)
    start = tensor_digest(initial)
    return Ingredients(initial, tuple(SoftPrompt(r.task, initial, start) for r in required))


__all__ = ["MOST_ROWS", "RowsRead", "SampledExamples", "Workload", "trained_tasks"]
