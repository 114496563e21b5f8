"""Work through a plan in this process, one cell after the other."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

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
    cells = [cell for cell in plan.cells if not folder.is_settled(cell, overwrite)]
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
    """Read and encode all rows the work needs, so that faulty data show before any training.

    Raises:
        DataError: rows, columns or labels are not what a task declares.
    """
    trainings = [*work.prompts, *(cell.training for cell in work.cells)]
    tasks = {t.task: None for t in trainings if not t.is_source_stage}
    for task in tasks:
        for split in ("validation", "test"):
            workshop.examples.evaluation(task, split)
    for training in trainings:
        if not training.is_source_stage:
            workshop.examples.training(training.task, training.shots, training.seed)


def run_work(
    work: Work,
    workshop: Workshop,
    folder: ResultFolder,
    overwrite: Overwrite,
    display: Display,
    debug: bool = False,
) -> Outcome:
    """Train and evaluate; a cell that fails is recorded as failed and does not stop the others.

    Raises:
        BenchError: input or output cannot be used; finished cells are kept.
    """
    outcome = Outcome()
    faults: dict[str, Exception] = {}
    if overwrite == "always":
        for cell in work.cells:
            folder.prompts.remove(cell.training.digest)
    for cell in work.cells:
        for training in _requirements(cell.training):
            _train(training, workshop, faults, display, debug)
        _finish(cell, workshop, folder, faults, outcome, display, debug)
    return outcome


def _train(
    training: Training,
    workshop: Workshop,
    faults: dict[str, Exception],
    display: Display,
    debug: bool,
) -> None:
    digest = training.digest
    if digest in faults or workshop.store.has(digest):
        return
    try:
        _check_requirements(training, faults)
        stored = workshop.train(training)
    except Exception as error:
        faults[digest] = _tolerated(error, display, debug)
        display.finish(f"prompt {training.describe()}", f"failed: {faults[digest]}")
        return
    score = stored.card.result["best_score"]
    display.finish(f"prompt {training.describe()}", f"validation {score:.1f}")


def _finish(
    cell: Cell,
    workshop: Workshop,
    folder: ResultFolder,
    faults: dict[str, Exception],
    outcome: Outcome,
    display: Display,
    debug: bool,
) -> None:
    try:
        _check_requirements(cell.training, faults)
        record = workshop.evaluate(cell)
    except Exception as error:
        record = workshop.failed(cell, _tolerated(error, display, debug))
    folder.write(record)
    if record.scores is None:
        outcome.failed.append(cell)
        reason = "" if record.error is None else record.error.message
        display.finish(cell.training.describe(), f"failed: {reason}")
        return
    outcome.finished.append(cell)
    metric = record.scores.table_metric
    display.finish(cell.training.describe(), f"test {metric} {record.scores.test[metric]:.1f}")


def _check_requirements(training: Training, faults: dict[str, Exception]) -> None:
    for required in training.requires:
        if required.digest in faults:
            raise RequiredPromptError(
                f"prompt {required.describe()} failed: {faults[required.digest]}"
            )


def _tolerated(error: Exception, display: Display, debug: bool) -> Exception:
    """An error that concerns one cell alone; others are raised again."""
    if isinstance(error, BenchError) and not isinstance(error, DivergedError):
        raise error
    if debug:
        display.say("".join(traceback.format_exception(error)))
    return error


def _requirements(training: Training) -> Iterator[Training]:
    """All trainings below one, deepest first."""
    for required in training.requires:
        yield from _requirements(required)
        yield required
