"""Work through a plan in this process, one cell after the other."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.data import EncodedExamples
from bench.errors import BenchError
from bench.runs.cells import Cell, Training
from bench.runs.plan import Plan
from bench.runs.progress import Display
from bench.runs.results import Overwrite, ResultFolder
from bench.runs.workshop import Workshop
from bench.training.loop import DivergedError


@dataclass
class Outcome:
    """What a run did: cells finished now, cells failed now."""

    finished: list[Cell] = field(default_factory=list)
    failed: list[Cell] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """What is left to do of a plan.

    Attributes:
        cells: without a settled record.
        prompts: trainings of other prompts that these cells need and the store lacks, each before
            what needs it.
    """

    cells: list[Cell]
    prompts: list[Training]

    @property
    def units(self) -> int:
        """Prompts to train and cells to finish."""
        return len(self.cells) + len(self.prompts)


class RequiredPromptError(Exception):
    """A prompt that a cell starts from could not be trained."""


def remaining_work(plan: Plan, folder: ResultFolder, overwrite: Overwrite) -> Work:
    """Compare a plan with what the result folder holds."""
    settled = folder.settled(plan.cells, overwrite)
    cells = [cell for cell in plan.cells if cell.digest not in settled]
    repeated = {cell.training.digest for cell in cells} if overwrite == "always" else set()
    trained: set[str] = set()
    prompts = []
    for cell in cells:  # In the order of the run: a cell's own prompt may serve later ones.
        for training in _requirements(cell.training):
            digest = training.digest
            if digest not in trained and (digest in repeated or not folder.prompts.has(digest)):
                prompts.append(training)
            trained.add(digest)
        trained.add(cell.training.digest)
    return Work(cells, prompts)


def prepare(work: Work, workshop: Workshop) -> None:
    """Read and encode all rows the work needs, so that unusable ones show before any training.

    Raises:
        DataError: rows, columns or labels are not what a task declares.
        ModelError: the model has no room for the longest of them.
    """
    examples = workshop.examples
    for cell in work.cells:
        task = cell.training.task
        _require_room(workshop, cell.training, task, examples.evaluation(task, "test"))
    for training in [*work.prompts, *(cell.training for cell in work.cells)]:
        if training.is_source_stage:
            tasks = [required.task for required in training.requires]
        else:
            tasks = [training.task]
        for task in tasks:
            validation = examples.evaluation(task, "validation")
            chosen = examples.training(task, training.shots, training.seed).encoded
            for encoded in (validation, chosen):
                _require_room(workshop, training, task, encoded)


def _require_room(
    workshop: Workshop, training: Training, task: str, encoded: EncodedExamples
) -> None:
    """Raise ModelError if prompt, longest input and longest answer are too long together."""
    answer = workshop.examples.task(task).target_length
    longest = training.setting.prompt_length + max(encoded.lengths) + answer
    workshop.model.require_room(longest)


class Runner:
    """Works through what is left of a plan.

    A cell that fails is recorded as failed and does not stop the others.

    Args:
        work: what is left to do.
        workshop: trains and evaluates.
        folder: takes the records.
        display: told about progress.
        debug: whether to show the tracebacks of failed cells.
    """

    def __init__(
        self,
        work: Work,
        workshop: Workshop,
        folder: ResultFolder,
        display: Display,
        debug: bool = False,
    ) -> None:
        self._work = work
        self._workshop = workshop
        self._folder = folder
        self._display = display
        self._debug = debug
        self._outcome = Outcome()
        self._faults: dict[str, Exception] = {}
        self._counted = {prompt.digest for prompt in work.prompts}

    def run(self, overwrite: Overwrite) -> Outcome:
        """Train and evaluate every cell.

        Raises:
            BenchError: input or output cannot be used; finished cells are kept.
        """
        if overwrite == "always":
            for cell in self._work.cells:
                self._workshop.store.remove(cell.training.digest)
        for cell in self._work.cells:
            for training in _requirements(cell.training):
                self._train(training)
            self._finish(cell)
        return self._outcome

    def _train(self, training: Training) -> None:
        digest = training.digest
        if digest in self._faults or self._workshop.store.has(digest):
            return
        try:
            self._check_requirements(training)
            score = self._workshop.train(training).card.result["best_score"]
            outcome, failed = f"validation {score:.1f}", False
        except Exception as error:
            self._faults[digest] = self._tolerated(error)
            outcome, failed = f"failed: {error}", True
        if digest in self._counted:
            self._display.finish(f"prompt {training.describe()}", outcome, failed)

    def _finish(self, cell: Cell) -> None:
        try:
            self._check_requirements(cell.training)
            result = self._workshop.evaluate(cell)
        except Exception as error:
            fault = self._tolerated(error)
            result = self._workshop.failed(cell, fault)
            if not self._workshop.store.has(cell.training.digest):
                self._faults[cell.training.digest] = fault
        self._folder.write(result.record, result.predictions)
        record = result.record
        if record.scores is None:
            self._outcome.failed.append(cell)
            reason = "" if record.error is None else record.error.message
            self._display.finish(cell.training.describe(), f"failed: {reason}", failed=True)
            return
        self._outcome.finished.append(cell)
        metric = record.scores.table_metric
        score = record.scores.test[metric]
        self._display.finish(cell.training.describe(), f"test {metric} {score:.1f}")

    def _check_requirements(self, training: Training) -> None:
        for required in training.requires:
            if required.digest in self._faults:
                raise RequiredPromptError(
                    f"prompt {required.describe()} failed: {self._faults[required.digest]}"
                )

    def _tolerated(self, error: Exception) -> Exception:
        """An error that concerns one cell alone; others are raised again."""
        if isinstance(error, BenchError) and not isinstance(error, DivergedError):
            raise error
        if self._debug:
            self._display.say("".join(traceback.format_exception(error)))
        return error


def _requirements(training: Training) -> Iterator[Training]:
    """All trainings below one, deepest first; given prompts are there already."""
    for required in training.requires:
        if isinstance(required, Training):
            yield from _requirements(required)
            yield required
