"""The grid as a graph of units, for an executor that starts each when what it needs is done.

A unit is a prompt to train or a cell to finish. It is done as a local worker does it: under its
claim, from its checkpoint if there is one, with its result in the shared folder. So a unit may be
started anywhere, and again if its process is lost. All that passes between processes is plain.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bench.errors import BenchError, StopRequested
from bench.runs.progress import Display, EvaluationLines
from bench.training.stopping import Stop

if TYPE_CHECKING:
    from bench.runs.cells import Cell, Training
    from bench.runs.grid import Equipment, Grid
    from bench.runs.local import Work
    from bench.runs.progress import Verbosity
    from bench.runs.prompts import PromptStore

ENDED: Final = 128 + signal.SIGTERM
"""Exit code of a process that saved its unit, for another one to continue."""


class NodeError(BenchError):
    """A machine of a cluster lacks what the machine has that the run was started on."""


class UnitWords(TypedDict):
    """What a process is told of its unit.

    Attributes:
        cell: its digest, if it is a cell.
        training: digest of the training that gives its prompt.
        stamps: as in :class:`~bench.runs.local.Work`, of this unit alone.
        renewed: the same.
    """

    cell: str | None
    training: str
    stamps: dict[str, str | None]
    renewed: dict[str, str]


class UnitReport(TypedDict):
    """What a process tells of its unit.

    Attributes:
        lines: what was done, with its outcome, and whether that is a failure.
        faults: why prompts could not be trained, here or in a unit before, by digest.
        error: what ends the whole run.
        stopped: whether it was stopped, or not begun because another one was.
    """

    lines: list[tuple[str, str, bool]]
    faults: dict[str, str]
    error: str | None
    stopped: bool


@dataclass(frozen=True)
class Unit:
    """One unit of a graph.

    Attributes:
        words: for the process that does it.
        name: for people.
        needs: indices of the units that must be done before; all are smaller than its own.
    """

    words: UnitWords
    name: str
    needs: tuple[int, ...]


def make_graph(grid: Grid) -> list[Unit]:
    """What is left to do of a grid, each unit after those it needs."""
    return _Graph(grid.work, grid.folder.prompts).units


class _Graph:
    """Builds the list of units."""

    def __init__(self, work: Work, store: PromptStore) -> None:
        self.units: list[Unit] = []
        self._work = work
        self._store = store
        self._prompts = {training.digest: training for training in work.prompts}
        self._cells = {cell.training.digest: cell for cell in work.cells}
        self._places: dict[str, int] = {}
        for cell in work.cells:
            self._place_cell(cell)

    def _given_by(self, training: Training) -> list[int]:
        """The unit that gives a prompt; for one in the store, what that rests on."""
        digest = training.digest
        if digest in self._prompts:
            if digest not in self._places:
                self._places[digest] = self._add(training, None, self._needs(training))
            return [self._places[digest]]
        there = self._store.has(digest) and digest not in self._work.renewed
        if digest in self._cells and not there:
            return [self._place_cell(self._cells[digest])]
        return self._needs(training)

    def _place_cell(self, cell: Cell) -> int:
        if cell.digest not in self._places:
            needs = self._needs(cell.training)
            if cell.training.digest in self._prompts:  # Others start from its prompt too.
                needs += self._given_by(cell.training)
            self._places[cell.digest] = self._add(cell.training, cell, needs)
        return self._places[cell.digest]

    def _needs(self, training: Training) -> list[int]:
        from bench.runs.cells import Training

        trained = [item for item in training.requires if isinstance(item, Training)]
        return [place for item in trained for place in self._given_by(item)]

    def _add(self, training: Training, cell: Cell | None, needs: list[int]) -> int:
        stamps, renewed = self._work.stamps, self._work.renewed
        digest = training.digest
        words = UnitWords(
            cell=None if cell is None else cell.digest,
            training=digest,
            stamps={} if cell is None else {d: stamps[d] for d in [cell.digest] if d in stamps},
            renewed={digest: renewed[digest]} if digest in renewed else {},
        )
        name = training.describe() if cell is not None else f"prompt {training.describe()}"
        self.units.append(Unit(words, name, tuple(dict.fromkeys(needs))))
        return len(self.units) - 1


def make_order(grid: Grid, loggers: Sequence[str], verbosity: Verbosity, debug: bool) -> str:
    """What every process is told of the run, as JSON."""
    from bench.config import plain_config
    from bench.plugins import files_in_use

    return json.dumps(
        {
            "config": plain_config(grid.requested),
            "out": str(grid.folder.folder.absolute()),
            "prompts": str(grid.folder.prompts.folder.absolute()),
            "plugins": [str(path) for path in files_in_use()],
            "loggers": list(loggers),
            "verbosity": verbosity,
            "debug": debug,
            # Paths in the configuration may start from here, and records tell the command.
            "place": str(Path.cwd()),
            "command": sys.argv,
        }
    )


def do_unit(order: str, unit: UnitWords, *before: UnitReport) -> UnitReport:
    """Do a unit in the main thread of a process that does nothing else.

    SIGINT stops it cleanly, and so does SIGTERM, which then ends the process: its machine is wanted
    for something else, and another one is to continue.

    Args:
        order: from :func:`make_order`.
        unit: from :func:`make_graph`.
        before: the reports of the units that it needs.
    """
    faults = {digest: fault for report in before for digest, fault in report["faults"].items()}
    report = UnitReport(lines=[], faults=faults, error=None, stopped=True)
    if any(other["stopped"] or other["error"] for other in before):
        return report
    stop, display = Stop(), UnitDisplay()
    try:
        with stop.on_signals(again=False):
            report["faults"] = _do(order, unit, faults, display, stop)
    except BenchError as error:
        report["error"] = f"{error} (on {socket.gethostname()})"
    except StopRequested as request:
        if request.exit_code == ENDED:
            sys.exit(ENDED)
        return report
    report["stopped"], report["lines"] = False, display.lines
    return report


def _do(
    order: str, unit: UnitWords, faults: dict[str, str], display: UnitDisplay, stop: Stop
) -> dict[str, str]:
    from bench.runs.grid import do_work
    from bench.runs.local import Work
    from bench.runs.loggers import make_loggers

    grid, equipment = _made_ready(order)
    values = json.loads(order)
    cells = [cell for cell in grid.plan.cells if cell.digest == unit["cell"]]
    training = grid.plan.trainings.get(unit["training"])
    if training is None or (unit["cell"] is not None and not cells):
        raise NodeError(
            "what is planned here differs from what the run planned where it was started: see that "
            "every node has the same version of this program, model, data and plugins"
        )
    work = Work(cells, [] if cells else [training], unit["stamps"], unit["renewed"])
    listeners = make_loggers(values["loggers"], grid.folder.logs)
    if values["verbosity"] == "verbose":
        listeners = [EvaluationLines(display), *listeners]
    grid = replace(grid, work=work)
    return do_work(grid, equipment, display, values["debug"], listeners, stop, faults).faults


@lru_cache(maxsize=1)
def _made_ready(order: str) -> tuple[Grid, Equipment]:
    """Plan and load in this process, once for all units that it does."""
    from bench.config import restore_config
    from bench.plugins import use_files
    from bench.runs.grid import draft, equip
    from bench.runs.results import ResultFolder

    values: dict[str, Any] = json.loads(order)
    out = Path(values["out"])
    for folder in (Path(values["place"]), out):
        if not folder.is_dir():
            raise NodeError(
                f"there is no folder {folder}: the folder in which the run is started, and that "
                "of the results, must be there on every node"
            )
    os.chdir(values["place"])
    sys.argv = values["command"]
    use_files(map(Path, values["plugins"]))
    place = ResultFolder(out, Path(values["prompts"]))
    grid = draft(restore_config(values["config"], {}), place)
    return grid, equip(grid)


class UnitDisplay(Display):
    """Keeps what became of a unit for its report, and prints all else."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, bool]] = []

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        self.lines.append((what, outcome, failed))

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


__all__ = ["NodeError", "Unit", "UnitReport", "UnitWords", "do_unit", "make_graph", "make_order"]
