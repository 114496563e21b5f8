"""Work through a grid in several processes of this machine.

Each worker is a run of its own on the same folder and the same plan: claims divide the work (see
:mod:`bench.runs.claims`), so nothing is scheduled here. This process starts the workers, starts a
new one in the place of one that died, and passes a stop on to them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError, StopRequested
from bench.plugins import files_in_use, use_files
from bench.runs.claims import POLL
from bench.runs.doctor import usable_cores
from bench.runs.local import Outcome, Work, written
from bench.runs.results import ResultFolder
from bench.training.stopping import Stop

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from bench.config import RunConfig
    from bench.runs.grid import Grid
    from bench.runs.progress import Verbosity

THREADS: Final = "OMP_NUM_THREADS"
GPUS: Final = "CUDA_VISIBLE_DEVICES"

MOST_DEATHS: Final = 10
"""Workers that may die one after the other without anything written between."""

BROKEN: Final = 1
ERROR: Final = 2
"""Exit codes of a worker that met a fault of the program, or an error of the user."""


class WorkerError(BenchError):
    """A worker ended by an error that concerns the whole run, or workers die again and again."""


@dataclass(frozen=True)
class Order:
    """What a worker is to do: the driver's work, so that all agree on what is to be repeated.

    Attributes:
        config: as requested.
        out: the result folder.
        prompts: the prompt store.
        cells: digests of the cells to do.
        trainings: digests of the other prompts to train.
        stamps: as in :class:`~bench.runs.local.Work`.
        renewed: the same.
        plugins: files of plugins in use.
        loggers: by name.
        pack: how many trainings may share their passes.
        verbosity: what to print.
        debug: whether to show the tracebacks of failed cells.
    """

    config: RunConfig
    out: Path
    prompts: Path
    cells: frozenset[str]
    trainings: frozenset[str]
    stamps: dict[str, str | None]
    renewed: dict[str, str]
    plugins: tuple[Path, ...]
    loggers: tuple[str, ...]
    pack: int
    verbosity: Verbosity
    debug: bool


def run_workers(
    grid: Grid,
    number: int,
    stop: Stop,
    loggers: Sequence[str] = (),
    verbosity: Verbosity = "normal",
    debug: bool = False,
    pack: int = 1,
) -> Outcome:
    """Do what is left of a grid in ``number`` processes.

    Args:
        grid: what to do.
        number: of processes; cores are divided among them, and GPUs where there are several.
        stop: by which this process is told to stop; the workers then stop cleanly too.
        loggers: names of the loggers of each worker.
        verbosity: what the workers print of their progress.
        debug: whether to show the tracebacks of failed cells.
        pack: how many trainings of each worker may share their passes.

    Raises:
        WorkerError: a worker ended by an error, or workers die again and again.
        StopRequested: as asked for; all workers have stopped.
    """
    work, folder = grid.work, grid.folder
    if not work.cells:
        return Outcome()
    order = Order(
        grid.requested,
        folder.folder,
        folder.prompts.folder,
        frozenset(cell.digest for cell in work.cells),
        frozenset(training.digest for training in work.prompts),
        dict(work.stamps),
        dict(work.renewed),
        files_in_use(),
        tuple(loggers),
        pack,
        verbosity,
        debug,
    )
    crew = Crew(order, min(number, work.units))
    try:
        with stop.deferred():
            crew.work(stop)
    finally:
        crew.end()
    return written(work, folder)


class Crew:
    """The processes that work on one order.

    Args:
        order: what each of them does.
        number: of processes.
    """

    def __init__(self, order: Order, number: int) -> None:
        self._order = order
        self._number = number
        self._members: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._deaths = 0
        self._progress = 0

    def work(self, stop: Stop) -> None:
        """Keep the crew complete until all is done.

        Raises:
            WorkerError: a worker ended by an error, or workers die again and again.
            StopRequested: as asked for.
        """
        for index in range(self._number):
            self._hire(index)
        while self._members:
            wait([process.sentinel for process, _ in self._members.values()], timeout=POLL)
            # Before a look at who ended: Ctrl-C ends workers that are just starting, too.
            stop.check()
            for index, (process, messages) in list(self._members.items()):
                if not process.is_alive():
                    del self._members[index]
                    self._dismiss(index, process, messages)

    def end(self) -> None:
        """Stop all that still work, cleanly; a second signal stops them at once."""
        try:
            for process, _ in self._members.values():
                process.terminate()
            for process, _ in self._members.values():
                process.join()
        finally:
            for process, _ in self._members.values():
                process.kill()

    def _hire(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        messages, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(self._order, index, os.getpid(), sender))
        with _environment(index, self._number, self._order.config.device):
            process.start()
        sender.close()
        self._members[index] = process, messages

    def _dismiss(self, index: int, process: SpawnProcess, messages: Connection) -> None:
        """Look how a worker ended; one that was killed is replaced."""
        process.join()
        code = process.exitcode
        if code == 0:
            return
        if code in (ERROR, BROKEN):
            raise WorkerError(
                str(messages.recv()) if messages.poll() else "a worker ended by the error above"
            )
        progress = _last_written(self._order)
        self._deaths = 1 if progress > self._progress else self._deaths + 1
        self._progress = progress
        if self._deaths >= MOST_DEATHS:
            raise WorkerError(
                f"{self._deaths} workers died without a checkpoint between them (exit code {code})"
                ": look whether memory ran out, then give the same command again with fewer workers"
            )
        self._hire(index)


def work(order: Order, index: int, parent: int, messages: Connection) -> None:
    """What a worker does, in a process of its own."""
    from bench.runs.grid import draft, execute
    from bench.runs.loggers import make_loggers

    stop = Stop()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        with stop.on_signals(again=False):
            use_files(order.plugins)
            folder = ResultFolder(order.out, order.prompts)
            grid = draft(order.config, folder)
            left = Work(
                [cell for cell in grid.plan.cells if cell.digest in order.cells],
                [t for digest, t in grid.plan.trainings.items() if digest in order.trainings],
                order.stamps,
                order.renewed,
            )
            first, *beside = (make_loggers(order.loggers, folder.logs) for _ in range(order.pack))
            execute(
                replace(grid, work=left),
                order.debug,
                first,
                order.verbosity,
                stop,
                f"worker {index + 1}: ",
                beside,
            )
    except BenchError as error:
        messages.send(str(error))
        sys.exit(ERROR)
    except StopRequested as request:
        sys.exit(request.exit_code)


def _end_with(parent: int) -> None:
    """Stop this process cleanly when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)


def _last_written(order: Order) -> int:
    """When a record, prompt or checkpoint was written last."""
    folder = ResultFolder(order.out, order.prompts)
    latest = 0
    for place in (folder.records, folder.prompts.folder, folder.checkpoints):
        for path in place.glob("[!.]*"):
            with contextlib.suppress(OSError):
                latest = max(latest, path.stat().st_mtime_ns)
    return latest


@contextlib.contextmanager
def _environment(index: int, number: int, device: str) -> Iterator[None]:
    """Cores and GPUs of one of several workers, in the environment that it inherits."""
    before = {name: os.environ.get(name) for name in (THREADS, GPUS)}
    os.environ.update(worker_environment(index, number, device))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def worker_environment(index: int, number: int, device: str = "auto") -> dict[str, str]:
    """Environment variables that give a worker its share of the machine.

    Args:
        index: of the worker, from 0.
        number: of workers.
        device: of the run; a numbered one such as ``cuda:1`` is that of all workers.
    """
    import torch

    threads = max(1, usable_cores() // number)
    wanted = os.environ.get(THREADS, "")
    values = {THREADS: str(min(threads, int(wanted)) if wanted.isdigit() else threads)}
    if GPUS in os.environ:
        gpus = [name for name in os.environ[GPUS].split(",") if name]
    else:
        gpus = [str(gpu) for gpu in range(torch.cuda.device_count())]
    if len(gpus) > 1 and ":" not in device:
        values[GPUS] = gpus[index % len(gpus)]
    return values


__all__ = ["Crew", "Order", "WorkerError", "run_workers", "worker_environment"]
