"""The estimate of a grid: what is to be trained and evaluated, and what that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.runs.cells import Cell, Training
from bench.runs.estimate.costs import Costs, evaluation_kind, training_kind
from bench.runs.estimate.schedule import Unit, makespan
from bench.runs.estimate.workload import Workload
from bench.runs.grid import Grid
from bench.runs.local import requirements


@dataclass
class Amount:
    """Work of one sort, summed up.

    Attributes:
        trainings: to be done.
        steps: of their optimisers.
        training_tokens: inputs and right answers in their batches.
        cells: to be evaluated on test.
        evaluation_tokens: inputs, on validation and test.
        seconds: of one worker.
    """

    trainings: int = 0
    steps: int = 0
    training_tokens: float = 0.0
    cells: int = 0
    evaluation_tokens: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Disk:
    """Bytes in the result folder and the prompt store.

    Attributes:
        prompts: with their cards.
        records: with the answers.
        checkpoints: at most at one time.
    """

    prompts: float
    records: float
    checkpoints: float


@dataclass(frozen=True)
class Total:
    """What some cells take, with every prompt that they still need.

    Attributes:
        rows: amounts, by what they are for: prompts of a role, or the cells of a method.
        seconds: until all is done, with the workers there are, the start included.
        expected: the same if trainings with patience end where observed ones did; None: there is
            no patience, or none was observed.
        patience: whether it may end trainings early; then ``seconds`` are the most.
        disk: what is written.
    """

    rows: dict[str, Amount]
    seconds: float
    expected: float | None
    patience: bool
    disk: Disk

    def all(self) -> Amount:
        """All rows together."""
        total = Amount()
        for row in self.rows.values():
            total.trainings += row.trainings
            total.steps += row.steps
            total.training_tokens += row.training_tokens
            total.cells += row.cells
            total.evaluation_tokens += row.evaluation_tokens
            total.seconds += row.seconds
        return total


class Estimator:
    """Turns the work left of a grid into units with their seconds.

    Args:
        grid: what is to be done.
        workload: loads of its trainings and cells.
        costs: seconds of loads.
        workers: that share the work.
    """

    def __init__(self, grid: Grid, workload: Workload, costs: Costs, workers: int = 1) -> None:
        self.workload = workload
        self.costs = costs
        self.workers = workers
        self._roles = grid.plan.roles
        self._own = {cell.training.digest for cell in grid.work.cells}
        self._missing = {training.digest for training in trainings_to_do(grid)}
        self._seconds: dict[str, float] = {}

    def units(self, cells: Sequence[Cell]) -> list[Unit]:
        """The work of some cells in its order: each missing prompt once, then what needs it."""
        return [unit for unit, _ in self._units(cells, 1.0)]

    def total(self, cells: Sequence[Cell]) -> Total:
        """What some cells take."""
        rows: dict[str, Amount] = {}
        found = list(self._units(cells, 1.0))
        prompts = records = checkpoints = 0.0
        for unit, work in found:
            row = rows.setdefault(self._row(work), Amount())
            row.seconds += unit.seconds
            training = work.training if isinstance(work, Cell) else work
            kind, load = training_kind(training), self.workload.training(training)
            if isinstance(work, Cell):
                test = self.workload.test(training)
                row.cells += 1
                row.evaluation_tokens += test.tokens
                records += self.costs.sizes.record(kind, load.evaluations, test.rows)
            else:
                row.trainings += 1
                row.steps += load.steps
                row.training_tokens += load.tokens
                row.evaluation_tokens += load.evaluations * self.workload.validation(work).tokens
                prompts += self.costs.sizes.prompt(kind, load.evaluations)
                checkpoints = max(checkpoints, self.costs.sizes.checkpoint(kind))
        expected = None
        share = self.costs.share
        patience = any(_has_patience(work) for _, work in found)
        if share is not None and patience:
            units = [unit for unit, _ in self._units(cells, share)]
            expected = self.costs.start + makespan(units, self.workers)
        return Total(
            rows,
            self.costs.start + makespan([unit for unit, _ in found], self.workers),
            expected,
            patience,
            Disk(prompts, records, checkpoints * self.workers),
        )

    def _units(self, cells: Iterable[Cell], share: float) -> Iterator[tuple[Unit, Training | Cell]]:
        planned: set[str] = set()
        for cell in cells:
            own = cell.training
            for training in (*requirements(own), own):
                digest = training.digest
                if digest in planned or digest not in self._missing:
                    continue
                planned.add(digest)
                after = tuple(required.digest for required in training.requires)
                seconds = self._training_seconds(training)
                if _has_patience(training):
                    seconds *= share
                yield Unit(digest, seconds, after), training
            seconds = self.costs.cell(evaluation_kind(own), self.workload.test(own))
            yield Unit(cell.digest, seconds, (own.digest,)), cell

    def _training_seconds(self, training: Training) -> float:
        if training.digest not in self._seconds:
            self._seconds[training.digest] = self.costs.training(
                training_kind(training),
                self.workload.training(training),
                self.workload.validation(training),
            )
        return self._seconds[training.digest]

    def _row(self, work: Training | Cell) -> str:
        """A prompt that no cell reports on has a row by its role; else the method has it."""
        training = work.training if isinstance(work, Cell) else work
        if training.digest in self._own:
            return training.method.label
        return f"{self._roles[training.digest]}s"


def trainings_to_do(grid: Grid) -> list[Training]:
    """The prompts that the cells still to be run need and that are not there, or are repeated."""
    cells = grid.work.cells
    repeated = {cell.training.digest for cell in cells} if grid.overwrite == "always" else set()
    found = {training.digest: training for training in grid.work.prompts}
    for cell in cells:
        digest = cell.training.digest
        if digest in repeated or not grid.folder.prompts.has(digest):
            found.setdefault(digest, cell.training)
    return list(found.values())


def _has_patience(work: Training | Cell) -> bool:
    return isinstance(work, Training) and work.hyperparameters.patience is not None


__all__ = ["Amount", "Disk", "Estimator", "Total", "trainings_to_do"]
