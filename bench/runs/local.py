"""Work through a plan in this process, one cell after the other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from bench.errors import BenchError
from bench.records import Record
from bench.runs.cells import Cell, GivenPrompt, Training
from bench.runs.claims import POLL, ClaimLostError
from bench.runs.plan import Plan
from bench.runs.progress import Display
from bench.runs.prompts import StoredPrompt
from bench.runs.recording import Result
from bench.runs.results import Overwrite, ResultFolder
from bench.runs.workshop import Workshop
from bench.training.loop import DivergedError
from bench.training.packing import shares_passes


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        finished: cells.
        failed: cells that failed now, here or in another process.
        faults: why prompts that others start from could not be trained, by digest.
    """

    finished: list[Cell] = field(default_factory=list)
    failed: list[Cell] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What is left to do of a plan.

    Attributes:
        cells: without a settled record.
        prompts: trainings of other prompts that these cells need and the store lacks, each before
            what needs it.
        stamps: of the records that are to be replaced, by cell; one that has changed since was
            replaced by another process.
        renewed: the same of the prompts that are to be trained anew.
    """

    cells: list[Cell]
    prompts: list[Training]
    stamps: Mapping[str, str | None] = field(default_factory=dict)
    renewed: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Prompts to train and cells to finish."""
        return len(self.cells) + len(self.prompts)


class RequiredPromptError(Exception):
    """A prompt that a cell starts from could not be trained."""


def remaining_work(plan: Plan, folder: ResultFolder, overwrite: Overwrite) -> Work:
    """Compare a plan with what the result folder holds."""
    # Before anything is read: what another process writes from now on has another stamp.
    stamps = {} if overwrite == "never" else {c.digest: folder.stamp(c) for c in plan.cells}
    settled = folder.settled(plan.cells, overwrite)
    cells = [cell for cell in plan.cells if cell.digest not in settled]
    repeated = {cell.training.digest for cell in cells} if overwrite == "always" else set()
    trained: set[str] = set()
    prompts = []
    for cell in cells:  # In the order of the run: a cell's own prompt may serve later ones.
        for training in requirements(cell.training):
            digest = training.digest
            if digest not in trained and (digest in repeated or not folder.prompts.has(digest)):
                prompts.append(training)
            trained.add(digest)
        trained.add(cell.training.digest)
    known = ((digest, folder.prompts.stamp(digest)) for digest in repeated)
    return Work(cells, prompts, stamps, {digest: s for digest, s in known if s is not None})


def written(work: Work, folder: ResultFolder) -> Outcome:
    """What became of work that other processes did, by the records that they wrote."""
    found = [(cell, folder.find(cell)) for cell in work.cells]
    return Outcome(
        finished=[cell for cell, record in found if record and record.status == "finished"],
        failed=[cell for cell, record in found if record and record.status == "failed"],
    )


class Runner:
    """Works through what is left of a plan, and shares it with other processes that do the same.

    Each unit (a prompt to train, a cell to finish) is done by who claims it. What another process
    has claimed, or what needs a prompt that is not there yet, is looked at again after all else;
    so the work of a process that dies is taken over, and continues from its checkpoint. A cell
    that fails is recorded as failed and does not stop the others. Where the workshop has room for
    several trainings, those that are ready are trained together before their units are settled.

    Args:
        work: what is left to do.
        workshop: trains and evaluates.
        folder: takes the records.
        display: told about progress.
        debug: whether to show the tracebacks of failed cells.
        faults: why prompts failed that another process tried, by digest; not tried again.
    """

    def __init__(
        self,
        work: Work,
        workshop: Workshop,
        folder: ResultFolder,
        display: Display,
        debug: bool = False,
        faults: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._work = work
        self._workshop = workshop
        self._store = workshop.store
        self._folder = folder
        self._display = display
        self._debug = debug
        self._outcome = Outcome()
        self._faults: dict[str, Exception] = {
            digest: RequiredPromptError(fault) for digest, fault in faults.items()
        }
        self._counted = {prompt.digest for prompt in work.prompts}
        self._renewed = dict(work.renewed)
        self._failed_together: set[str] = set()

    def run(self) -> Outcome:
        """Train and evaluate every cell.

        Raises:
            BenchError: input or output cannot be used; finished cells are kept.
        """
        waiting = self._units()
        told = False
        while waiting:
            left = []
            for place, unit in enumerate(waiting):
                if self._workshop.room > 1:
                    self._train_ahead(islice(waiting, place, None))
                if not self._settle(unit):
                    left.append(unit)
            if len(left) == len(waiting):
                if not told:
                    self._display.say(f"waiting for {len(left)} units of other processes")
                told = True
                time.sleep(POLL)
            waiting = left
        self._outcome.faults = {digest: str(fault) for digest, fault in self._faults.items()}
        return self._outcome

    def _units(self) -> list[Training | Cell]:
        """Prompts and cells, each after what it needs."""
        units: dict[str, Training | Cell] = {}
        for cell in self._work.cells:
            for training in requirements(cell.training):
                units.setdefault(training.digest, training)
            units[cell.digest] = cell
        for training in self._work.prompts:  # Those that none of the cells needs.
            units.setdefault(training.digest, training)
        return list(units.values())

    def _train_ahead(self, units: Iterable[Training | Cell]) -> None:
        """Train the prompt of the first of these units together with those of others.

        Does nothing if that prompt cannot be trained now, or no other one with it.
        """
        held: dict[str, Training] = {}

        def ended(training: Training, outcome: StoredPrompt | Exception) -> None:
            digest = training.digest
            del held[digest]
            self._store.claims.give_back(digest)
            if isinstance(outcome, ClaimLostError):
                return
            if isinstance(outcome, Exception):
                self._faults[digest] = self._tolerated(outcome)
                self._failed_together.add(digest)
            self._tell_prompt(training, outcome)
            self._counted.discard(digest)  # Not to be told of again when its unit is settled.

        try:
            for unit in units:
                training = _training(unit)
                if training.digest not in held and self._claimed_to_train(unit):
                    held[training.digest] = training
                if not held or len(held) == self._workshop.room:
                    break
            if len(held) > 1:
                for training in held.values():
                    self._renew(training)
                self._workshop.train_together(list(held.values()), ended)
        finally:
            for digest in held:
                self._store.claims.give_back(digest)

    def _claimed_to_train(self, unit: Training | Cell) -> bool:
        """Claim the prompt of a unit if it is to be trained, and can be now, in shared passes."""
        training = _training(unit)
        digest = training.digest
        wanted = (
            digest not in self._faults
            and not self._is_there(training)
            and not training.is_source_stage
            and shares_passes(training.method.load())
            and self._ready(training)
            and not any(required.digest in self._faults for required in training.requires)
            and not (isinstance(unit, Cell) and self._record_elsewhere(unit))
        )
        if not wanted or not self._store.claims.take(digest, training.describe()):
            return False
        if self._is_there(training):  # Between the look and the claim.
            self._store.claims.give_back(digest)
            return False
        return True

    def _settle(self, unit: Training | Cell) -> bool:
        """Do a unit if that is possible now; False: look at it again later."""
        settled = self._finish(unit) if isinstance(unit, Cell) else self._train(unit)
        if settled:
            training = _training(unit)
            # Who was killed between storing a prompt and this has left it.
            if self._store.has(training.digest):
                self._folder.checkpoint(training.digest).remove()
        return settled

    def _train(self, training: Training) -> bool:
        digest = training.digest
        if digest in self._faults:
            return True
        if self._is_there(training):
            self._skip(training)
            return True
        if not self._ready(training):
            return False
        if not self._store.claims.take(digest, training.describe()):
            return False
        try:
            if self._is_there(training):  # Between the look and the claim.
                self._skip(training)
                return True
            try:
                self._renew(training)
                self._check_requirements(training)
                outcome: StoredPrompt | Exception = self._workshop.train(training)
            except ClaimLostError:
                return False
            except Exception as error:
                outcome = self._faults[digest] = self._tolerated(error)
        finally:
            self._store.claims.give_back(digest)
        self._tell_prompt(training, outcome)
        return True

    def _tell_prompt(self, training: Training, outcome: StoredPrompt | Exception) -> None:
        if training.digest not in self._counted:
            return
        what = f"prompt {training.describe()}"
        if isinstance(outcome, Exception):
            self._display.finish(what, f"failed: {outcome}", failed=True)
        else:
            self._display.finish(what, f"validation {outcome.card.result['best_score']:.1f}")

    def _skip(self, training: Training) -> None:
        if training.digest in self._counted:
            self._display.skip()

    def _finish(self, cell: Cell) -> bool:
        if self._settled_elsewhere(cell):
            return True
        training = cell.training
        if not self._ready(training):
            return False
        if not self._folder.claims.take(cell.digest, training.describe()):
            return False
        try:
            if self._settled_elsewhere(cell):
                return True
            # Of two cells with one prompt, or a cell and a prompt, one waits its turn.
            if not self._store.claims.take(training.digest, training.describe()):
                return False
            try:
                result = self._result(cell)
                self._folder.claims.check(cell.digest)
            except ClaimLostError:
                return False
            finally:
                self._store.claims.give_back(training.digest)
            self._folder.write(result.record, result.predictions)
        finally:
            self._folder.claims.give_back(cell.digest)
        self._tell(cell, result.record)
        return True

    def _result(self, cell: Cell) -> Result:
        digest = cell.training.digest
        if digest in self._failed_together and not self._store.has(digest):
            return self._workshop.failed(cell, self._faults[digest])
        try:
            self._renew(cell.training)
            self._check_requirements(cell.training)
            return self._workshop.evaluate(cell)
        except ClaimLostError:
            raise
        except Exception as error:
            fault = self._tolerated(error)
            if not self._store.has(digest):
                self._faults[digest] = fault
            return self._workshop.failed(cell, fault)

    def _tell(self, cell: Cell, record: Record) -> None:
        if record.scores is None:
            self._outcome.failed.append(cell)
            reason = "" if record.error is None else record.error.message
            self._display.finish(cell.training.describe(), f"failed: {reason}", failed=True)
            return
        self._outcome.finished.append(cell)
        metric = record.scores.table_metric
        score = record.scores.test[metric]
        self._display.finish(cell.training.describe(), f"test {metric} {score:.1f}")

    def _settled_elsewhere(self, cell: Cell) -> bool:
        """Whether another process has settled a cell, which then is counted."""
        record = self._record_elsewhere(cell)
        if record is None:
            return False
        self._display.skip()
        if record.status == "failed":
            self._outcome.failed.append(cell)
        return True

    def _record_elsewhere(self, cell: Cell) -> Record | None:
        """The record that another process has written since the work was laid out, if any."""
        record = self._folder.find(cell)
        if record is not None and cell.digest in self._work.stamps:
            kept = self._folder.stamp(cell) == self._work.stamps[cell.digest]
            return None if kept else record
        return record

    def _is_there(self, training: Training) -> bool:
        return training.digest not in self._renewed and self._store.has(training.digest)

    def _ready(self, training: Training) -> bool:
        """Whether all that a training starts from is there, or is known to have failed."""
        return all(
            isinstance(required, GivenPrompt)
            or required.digest in self._faults
            or self._is_there(required)
            for required in training.requires
        )

    def _renew(self, training: Training) -> None:
        """Forget the prompt of a repeated cell, unless another process has renewed it."""
        stamp = self._renewed.pop(training.digest, None)
        if stamp is not None and self._store.stamp(training.digest) == stamp:
            self._store.remove(training.digest)

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


def _training(unit: Training | Cell) -> Training:
    """What gives the prompt of a unit."""
    return unit.training if isinstance(unit, Cell) else unit


def requirements(training: Training) -> Iterator[Training]:
    """All trainings below one, deepest first; given prompts are there already."""
    for required in training.requires:
        if isinstance(required, Training):
            yield from requirements(required)
            yield required
