"""Costs from a few short trainings: a run in small, by the code of a run, in a temporary folder."""

from __future__ import annotations

import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from bench.config import RunConfig
from bench.data import open_source
from bench.models.base import FrozenLM
from bench.predictions import predictions_file
from bench.runs.cells import Cell, GivenPrompt, Required, Training
from bench.runs.estimate.costs import (
    Costs,
    Lines,
    Observation,
    TrainingKind,
    evaluation_features,
    evaluation_kind,
    step_features,
    training_kind,
)
from bench.runs.estimate.sizes import CARD_LISTS, RECORD_LISTS, FileSize, Sizes, file_size
from bench.runs.estimate.timings import hardware_text, this_hardware
from bench.runs.estimate.workload import SampledExamples, Workload
from bench.runs.progress import Display
from bench.runs.prompts import PromptStore
from bench.runs.results import ResultFolder
from bench.runs.workshop import Workshop
from bench.training.listeners import EvaluationEvent, Listener, TrainingInfo
from bench.training.loop import TrainingResult

STEPS = 6
"""Steps of a timed training; the first warms up and is left out."""

FEWEST_STEPS = 2

MOST_SECONDS = 3.0
"""What the steps of one training may take before it has fewer of them."""


class Stopwatch(Listener):
    """Times the parts of one training: each step, the evaluations, and all."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.evaluation = 0.0
        self.total = 0.0
        self._began = self._last = 0.0

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self.steps = []
        self._began = self._last = _now()

    def on_step(self, step: int, total: int) -> None:
        now = _now()
        self.steps.append(now - self._last)
        self._last = now

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Not yet over: its checkpoint comes after this."""

    def on_finish(self, result: TrainingResult | None) -> None:
        now = _now()
        self.evaluation, self.total = now - self._last, now - self._began


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # Else the work of a step would count where it is waited for.
    return time.perf_counter()


@dataclass
class _Findings:
    """What the short trainings gave."""

    steps: list[Observation[TrainingKind]] = field(default_factory=list)
    tests: list[Observation[str]] = field(default_factory=list)
    validations: list[Observation[str]] = field(default_factory=list)
    around_trainings: list[float] = field(default_factory=list)
    around_cells: list[float] = field(default_factory=list)
    tensors: dict[TrainingKind, float] = field(default_factory=dict)
    cards: dict[TrainingKind, FileSize] = field(default_factory=dict)
    records: dict[TrainingKind, FileSize] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)


def calibrate(
    config: RunConfig,
    trainings: Sequence[Training],
    workload: Workload,
    model: FrozenLM,
    given: PromptStore,
    start: float,
    say: Callable[[str], None],
) -> Costs:
    """Time short trainings of every kind on this machine, as it is loaded now.

    Args:
        config: of the run.
        trainings: to be done, or done with their cells to be evaluated.
        workload: of the run.
        model: loaded, on the device of the run.
        given: the store of the prompts that stand in for source prompts.
        start: seconds until a process has loaded model and data.
        say: told about progress, line by line.

    Raises:
        BenchError: rows, prompts or the temporary folder cannot be used.
    """
    began = time.perf_counter()
    chosen = representatives(trainings, workload)
    with tempfile.TemporaryDirectory(prefix="bench-plan-") as name:
        bench = _Bench(config, ResultFolder(Path(name)), model, trainings)
        bench.copy_given(chosen, given)
        bench.warm_up(chosen[0])
        for number, training in enumerate(chosen, start=1):
            seconds = time.perf_counter() - began
            say(f"calibrating [{number}/{len(chosen)}, {seconds:.0f} s] {training.describe()}")
            bench.time(training)
        found = bench.findings
    seconds = time.perf_counter() - began
    tests = Lines(found.tests)
    more = [each.seconds - tests.seconds(each.kind, each.features) for each in found.validations]
    hardware = hardware_text(this_hardware())
    return Costs(
        steps=Lines(found.steps),
        evaluations=tests,
        per_training=_mean(found.around_trainings),
        per_evaluation=max(0.0, _mean(more)),
        per_cell=_mean(found.around_cells),
        start=start,
        sizes=Sizes(found.tensors, found.cards, found.records, _mean(found.answers)),
        origin=f"{len(chosen)} short trainings here in {seconds:.0f} s ({hardware})",
    )


def representatives(trainings: Iterable[Training], workload: Workload) -> list[Training]:
    """Of each kind, trainings on the shortest inputs and on the longest, and one with the longest
    answers if these answer in fewer tokens."""
    kinds: dict[TrainingKind, list[Training]] = defaultdict(list)
    for training in trainings:
        kinds[training_kind(training)].append(training)

    def answer_length(training: Training) -> float:
        load = workload.validation(training)
        return load.answer_steps / load.batches

    chosen: dict[str, Training] = {}
    for same in kinds.values():
        by_input = sorted(same, key=lambda each: workload.training(each).positions)
        picked = [by_input[0], by_input[-1]]
        wordiest = max(same, key=answer_length)
        if answer_length(wordiest) > max(map(answer_length, picked)):
            picked.append(wordiest)
        chosen |= {training.digest: training for training in picked}
    return list(chosen.values())


class _Bench:
    """Trains in small and takes the times.

    Rows are few, but those of a batch at least; the loads are counted on the same rows.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: ResultFolder,
        model: FrozenLM,
        trainings: Sequence[Training],
    ) -> None:
        most = max(
            max(t.hyperparameters.batch_size, t.hyperparameters.evaluation_batch_size, t.shots or 0)
            for t in trainings
        )
        examples = SampledExamples(
            open_source(config.data),
            model.encoder,
            trainings[0].setting,
            most=most,
            whole_groups=False,
        )
        self._small = Workload(examples, scaled=False)
        self._folder = folder
        self._watch = Stopwatch()
        self._workshop = Workshop(
            model,
            examples,
            folder.prompts,
            folder.checkpoint,
            Display(),
            [self._watch],
        )
        self._steps = STEPS
        self._preset = config.preset
        self.findings = _Findings()

    def copy_given(self, trainings: Iterable[Training], store: PromptStore) -> None:
        """Put the prompts that are given where the trainings look for them."""
        for prompt in {r for t in trainings for r in _all_requirements(t)}:
            if isinstance(prompt, GivenPrompt):
                stored = store.load(prompt.digest)
                self._folder.prompts.save(stored.card, stored.tensors)

    def warm_up(self, training: Training) -> None:
        """Train once without a note: the first training pays for what others find ready."""
        first = next(
            (each for each in _all_requirements(training) if isinstance(each, Training)), training
        )
        self._workshop.train(_short(first, 1))

    def time(self, training: Training) -> None:
        """Train in small, with all that this takes, and evaluate; note every time."""
        short = _short(training, self._steps)
        for required in _all_requirements(short):
            if isinstance(required, Training):
                self._train(required)
        self._train(short)
        if not short.is_source_stage:
            self._time_cell(short)

    def _train(self, short: Training) -> None:
        if self._workshop.store.has(short.digest):
            return
        began = _now()
        stored = self._workshop.train(short)
        seconds = _now() - began
        found, watch, kind = self.findings, self._watch, training_kind(short)
        step = sum(watch.steps[1:]) / len(watch.steps[1:])
        self._steps = min(self._steps, max(FEWEST_STEPS, math.floor(MOST_SECONDS / step)))
        load = self._small.training(short)
        found.steps.append(Observation(kind, step_features(load), step))
        features = evaluation_features(self._small.validation(short))
        observation = Observation(evaluation_kind(short), features, watch.evaluation)
        found.validations.append(observation)
        found.around_trainings.append(max(0.0, seconds - watch.total))
        found.tensors[kind] = float(sum(t.nbytes for t in stored.tensors.values()))
        card = self._folder.prompts.folder / f"{short.digest}.json"
        found.cards[kind] = file_size(card, CARD_LISTS)

    def _time_cell(self, short: Training) -> None:
        found, cell = self.findings, Cell(short, self._preset)
        began = _now()
        result = self._workshop.evaluate(cell)
        path = self._folder.write(result.record, result.predictions)
        seconds = _now() - began
        test, rows = result.record.timing.evaluation_seconds, result.record.rows
        assert rows is not None
        load = self._small.test(short)
        found.tests.append(Observation(evaluation_kind(short), evaluation_features(load), test))
        found.around_cells.append(max(0.0, seconds - test))
        found.records[training_kind(short)] = file_size(path, RECORD_LISTS)
        answers = (path.parent / predictions_file(result.record)).stat().st_size
        found.answers.append(answers / rows.test)


def _short(training: Training, steps: int) -> Training:
    """The same training with few steps, on prompts that had the fewest."""
    settings = replace(
        training.hyperparameters,
        steps=steps,
        epochs=None,
        evaluate_every=steps,
        warmup_steps=0,
        patience=None,
    )
    requires = tuple(
        _short(required, FEWEST_STEPS) if isinstance(required, Training) else required
        for required in training.requires
    )
    return replace(training, hyperparameters=settings, requires=requires)


def _all_requirements(training: Training) -> list[Required]:
    found: list[Required] = []
    for required in training.requires:
        if isinstance(required, Training):
            found += _all_requirements(required)
        found.append(required)
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


__all__ = ["calibrate", "representatives"]
