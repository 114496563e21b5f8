"""Where runs are done: in this process or in worker processes (:mod:`bench.cluster`: on Ray).

A worker process lays out the grid by itself, and keeps model and rows between runs. Only ids of
runs and plain outcomes pass between processes.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, ConfigError, StopRequested
from bench.training.stopping import SIGNALS, Stop
from bench.worker import Outcome, Worker

if TYPE_CHECKING:
    from typing_extensions import Self

    from bench.grid import Grid
    from bench.progress import Verbosity
    from bench.store import ResultStore

TRIES = 2
"""How often a run is started whose process dies."""

THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


class ExecutorError(BenchError):
    """A fault in a worker process that concerns the whole grid."""


class LocalPool(ExitStack):
    """Does each run in this process, before :meth:`submit` returns."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker
        self._running = 0

    def prepare(self) -> None:
        """Encode all rows, so that bad ones fail before any training."""
        self._worker.prepare()

    def has_room(self) -> bool:
        """Whether another run can start now."""
        return not self._running

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        """Do a run; see :meth:`bench.worker.Worker.do`."""
        self._running += 1
        future: Future[Outcome] = Future()
        future.set_result(self._worker.do(self._worker.grid.runs[prompt_id], not_run))
        return future

    def result(self, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a run that ended; None: its process or machine is gone."""
        self._running -= 1
        return future.result()


class ProcessPool(ExitStack):
    """Worker processes of this machine, each an executor of its own; a stop is passed on to them.

    The death of a process then concerns one run; in one pool of several it breaks all futures.
    """

    def __init__(self, order: str, workers: int, device: str, stop: Stop) -> None:
        super().__init__()
        self._order, self._device, self._stop = order, device, stop
        self._workers = workers
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._processes: dict[int, list[BaseProcess]] = {}
        self._running: dict[Future[Outcome], int] = {}

    def __enter__(self) -> Self:
        self.enter_context(self._stop.deferred())
        for index in range(self._workers):
            self._start(index)
        return self

    def __exit__(self, *error: Any) -> bool:
        """End all processes; runs that are under way save a checkpoint."""
        processes = [process for started in self._processes.values() for process in started]
        try:
            for process in processes if any(error) else ():
                process.terminate()
            for executor in self._executors.values():
                executor.shutdown(cancel_futures=True)
        except BaseException:  # A second signal.
            for process in processes:
                process.kill()
            raise
        return bool(super().__exit__(*error))

    def prepare(self) -> None:
        """Encode all rows in the first worker; the others read its cache."""
        for _ in range(TRIES):
            future = self.submit("", None)
            while not wait_for([future], timeout=0.2).done:
                self._stop.check()
            outcome = self.result(future)
            if outcome is not None and outcome.state == "error":
                raise ExecutorError(outcome.text)
            if outcome is not None and outcome.state == "finished":
                return
        raise ExecutorError(
            f"{TRIES} workers ended before any run; see whether memory ran out, or use fewer"
        )

    def has_room(self) -> bool:
        """Whether a worker is free."""
        return len(self._running) < self._workers

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        """Start a run in a free worker; see :meth:`bench.worker.Worker.do`."""
        index = min(self._executors.keys() - self._running.values())
        try:
            future = self._executors[index].submit(do_here, self._order, prompt_id, not_run)
        except BrokenExecutor:  # The process died between two runs.
            self._start(index)
            future = self._executors[index].submit(do_here, self._order, prompt_id, not_run)
        self._running[future] = index
        return future

    def result(self, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a run that ended; None: its process died, and a new one is there."""
        index, outcome = self._running.pop(future), None
        with contextlib.suppress(BrokenExecutor):
            outcome = future.result()
        if outcome is None or outcome.state == "stopped":
            self._start(index)
        return outcome

    def _start(self, index: int) -> None:
        """Start one process, with the signals blocked until it can handle them."""
        if index in self._executors:
            self._executors[index].shutdown(wait=False)
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(1, context, initializer=_initialise)
        before = set(multiprocessing.active_children())
        resource_tracker.ensure_running()  # Started later, it would unblock the signals.
        inherited = dict(os.environ)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            os.environ.update(_share(index, self._workers, self._device))
            executor.submit(os.getpid)
        finally:
            for name in os.environ.keys() - inherited.keys():
                del os.environ[name]
            os.environ.update(inherited)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._processes[index] = list(set(multiprocessing.active_children()) - before)
        self._executors[index] = executor


def make_order(
    grid: Grid, store: ResultStore, loggers: Sequence[str], verbosity: Verbosity, debug: bool
) -> str:
    """What a worker process needs to lay out the grid, as JSON."""
    from bench.plugins import files_in_use

    return json.dumps(
        {
            "config": grid.config.model_dump(mode="json"),
            "out": str(store.folder.absolute()),
            "prompts": str(store.prompts.absolute()),
            "plugins": [str(path) for path in files_in_use()],
            "loggers": list(loggers),
            "verbosity": verbosity,
            "debug": debug,
            "todo": [run.prompt_id for run in grid.todo],
            "renewed": sorted(grid.renewed),
            # Paths in the configuration may start from here, and records name the command.
            "cwd": str(Path.cwd()),
            "argv": sys.argv,
        }
    )


# In worker processes

STOP = Stop()
_life = ExitStack()
_busy = threading.Lock()


def _initialise() -> None:
    """Handle signals by a checkpoint, and end with the driver."""
    _life.enter_context(STOP.deferred())
    for number in SIGNALS:
        signal.signal(number, lambda number, _: STOP.request(signal.Signals(number)))
    threading.Thread(target=_end_with_driver, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _end_with_driver() -> None:
    """Exit once the driver is gone; a run that is under way saves a checkpoint first."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        STOP.request(signal.SIGTERM)
        with _busy:
            os._exit(128 + signal.SIGTERM)


def do_here(order: str, prompt_id: str, not_run: str | None) -> Outcome:
    """Do a run in a worker process; without an id, encode all rows."""
    try:
        with _busy:
            worker = _worker(order)
            STOP.check()
            if not prompt_id:
                worker.prepare()
                return Outcome("finished")
            if prompt_id not in worker.grid.runs:
                return Outcome(
                    "error",
                    f"{socket.gethostname()} lays out other runs than the driver: give every node "
                    "the same version of this program, model, data and plugins",
                )
            return worker.do(worker.grid.runs[prompt_id], not_run)
    except BenchError as error:
        return Outcome("error", str(error))
    except StopRequested as request:
        return Outcome("stopped", request.signal)


@lru_cache(maxsize=1)
def _worker(order: str) -> Worker:
    """Lay out the grid in this process, once for all its runs."""
    from rich.console import Console

    from bench.config import RunConfig
    from bench.grid import make_grid
    from bench.plugins import use_files
    from bench.progress import Display
    from bench.store import ResultStore
    from bench.training.callbacks import make_callbacks

    values: dict[str, Any] = json.loads(order)
    for folder in (values["cwd"], values["out"]):
        if not Path(folder).is_dir():
            raise ConfigError(
                f"{socket.gethostname()} has no folder {folder}: share the folder of the results, "
                "and the one the command is given in, among all nodes"
            )
    os.chdir(values["cwd"])
    sys.argv = values["argv"]
    use_files(map(Path, values["plugins"]))
    store = ResultStore(Path(values["out"]), Path(values["prompts"]))
    grid = make_grid(RunConfig.model_validate(values["config"]), store)
    todo = tuple(grid.runs[key] for key in values["todo"] if key in grid.runs)
    grid = replace(grid, todo=todo, renewed=frozenset(values["renewed"]))
    display = Display(Console(stderr=True), len(todo), values["verbosity"])
    callbacks = make_callbacks(values["loggers"], store.logs)
    return Worker(grid, store, display, callbacks, STOP, values["debug"])


def usable_cores() -> int:
    """Cores that this process may use, or has the time of; containers limit either."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:  # Such as "150000 100000", in microseconds; "max 100000" where there is no limit.
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
    except (OSError, ValueError):
        return cores
    return min(cores, max(1, -(-quota // period)))


def _share(index: int, workers: int, device: str) -> dict[str, str]:
    """Environment variables that give a worker its share of the machine."""
    import torch

    threads = max(1, usable_cores() // workers)
    wanted = os.environ.get(THREADS, "")
    values = {THREADS: str(min(threads, int(wanted)) if wanted.isdigit() else threads)}
    if GPUS in os.environ:
        gpus = [name for name in os.environ[GPUS].split(",") if name]
    else:
        gpus = [str(gpu) for gpu in range(torch.cuda.device_count())]
    if len(gpus) > 1 and ":" not in device:
        values[GPUS] = gpus[index % len(gpus)]
    return values
