"""Executors of runs: this process, worker processes, or a Ray cluster.

Each worker process builds the grid itself, and keeps model and rows between runs. Only run ids and
plain outcomes are sent between processes. Protect the ports of a Ray cluster: anyone who can reach
them can run programs on it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.config import RunConfig
from bench.errors import BenchError, ConfigError, StopRequested, one_line
from bench.grid import Grid, Outcome, make_grid
from bench.plugins import files_in_use, use_files
from bench.progress import Display, Report, Reporter, Verbosity
from bench.store import ResultStore
from bench.training.callbacks import make_callbacks
from bench.training.stopping import SIGNALS, Stop, handled

if TYPE_CHECKING:
    from typing_extensions import Self

    from bench.worker import Worker

MAX_STARTS = 2  # Maximum number of starts of a run whose process dies.
RETRIES = 30  # Maximum number of restarts by Ray after node loss; runs resume from checkpoints.
THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


class ExecutorError(BenchError):
    """An error in a worker process that stops the whole grid."""


class Pool(ExitStack):
    """Executes the runs of a grid; base class of all executors."""

    max_concurrent: float = math.inf  # Maximum number of concurrent runs.

    def prepare(self) -> None:
        """Encode all data up front, so that bad rows fail before any training."""

    def submit(self, prompt_id: str, blocked: str | None) -> Future[Any]:
        """Start a run; see :meth:`bench.worker.Worker.execute`."""
        raise NotImplementedError

    def result(self, future: Future[Any]) -> Outcome | None:
        """Outcome of a finished run; None if its process or machine was lost.

        Raises ExecutorError for an error that stops the whole grid.
        """
        outcome: Outcome | None = future.result()
        if outcome is not None and outcome.state == "error":
            raise ExecutorError(outcome.text)
        return outcome


class LocalPool(Pool):
    """Executes each run in this process, before :meth:`submit` returns."""

    max_concurrent = 1

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def prepare(self) -> None:
        self._worker.prepare()

    def submit(self, prompt_id: str, blocked: str | None) -> Future[Any]:
        future = Future[Any]()
        future.set_result(self._worker.execute(self._worker.grid.runs[prompt_id], blocked))
        return future


class ProcessPool(Pool):
    """Local worker processes, each served by a thread of this process; forwards stop signals."""

    def __init__(self, spec: str, workers: int, device: str, stop: Stop, display: Display) -> None:
        super().__init__()
        self.max_concurrent: int = workers
        self._spec, self._device, self._stop, self._display = spec, device, stop, display
        self._threads = ThreadPoolExecutor(workers)
        self._processes: list[BaseProcess] = []  # Includes replaced processes.
        self._channels: dict[int, Connection] = {}
        self._running: dict[Future[Any], int] = {}

    def __enter__(self) -> Self:
        self.enter_context(self._stop.deferred())
        for index in range(self.max_concurrent):
            self._start(index)
        return self

    def __exit__(self, *error: Any) -> bool:
        """End all processes; active runs save a checkpoint."""
        try:
            for process in self._processes if any(error) else ():
                process.terminate()
            self._threads.shutdown()
            for channel in self._channels.values():
                channel.close()
            for process in self._processes:
                process.join()
        except BaseException:  # On a second signal.
            for process in self._processes:
                process.kill()
            raise
        return bool(super().__exit__(*error))

    def prepare(self) -> None:
        # Runs in the first worker; other workers encode on demand.
        future = self.submit("", None)
        while not wait([future], timeout=0.2).done:
            self._stop.check()
        outcome = self.result(future)
        if outcome is None:
            raise ExecutorError("a worker ended before any run; check whether memory ran out")

    def submit(self, prompt_id: str, blocked: str | None) -> Future[Any]:
        index = min(self._channels.keys() - self._running.values())
        future = self._threads.submit(self._execute, index, (prompt_id, blocked))
        self._running[future] = index
        return future

    def _execute(self, index: int, run: tuple[str, str | None]) -> Outcome | None:
        """Send a run to a worker, and display its progress reports."""
        try:
            self._channels[index].send(run)
            while not isinstance(report := self._channels[index].recv(), Outcome):
                self._display.receive(index, report)
        except (EOFError, OSError):  # Its process ended.
            return None
        return report

    def result(self, future: Future[Any]) -> Outcome | None:
        index, outcome = self._running.pop(future), super().result(future)
        self._display.receive(index, ("", "waiting for other runs", 0, 0))
        if outcome is None or outcome.state == "stopped":
            self._channels[index].close()
            self._start(index)
        return outcome

    def _start(self, index: int) -> None:
        """Start one process; signals are blocked until it can handle them."""
        # On Linux, forked from a server that has imported the libraries, which takes seconds;
        # elsewhere, libraries may fail after a fork.
        method = "forkserver" if sys.platform == "linux" else "spawn"
        context: Any = multiprocessing.get_context(method)
        context.set_forkserver_preload(["bench.worker"])
        self._channels[index], channel = context.Pipe()
        environment = _share(index, self.max_concurrent, self._device)
        process = context.Process(target=_serve, args=(channel, environment, self._spec))
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._processes.append(process)
        channel.close()
        self._display.receive(index, ("", "starting", 0, 0))


class RayPool(Pool):
    """Ray cluster whose nodes share the result folder and encode their rows; Ray queues runs."""

    def __init__(
        self, spec: str, cpus: int, gpus: float | None, device: str, display: Display
    ) -> None:
        super().__init__()
        self._spec, self._cpus, self._gpus = spec, cpus, gpus
        self._device, self._display = device, display
        self._running: dict[Future[Any], Any] = {}

    def __enter__(self) -> Self:
        try:
            self._ray = ray = importlib.import_module("ray")
        except ImportError as error:
            reason = "Ray is not installed; pip install -c constraints.txt -e '.[ray]'"
            raise ConfigError(f"--executor ray: {reason}") from error
        address = os.environ.get("RAY_ADDRESS", "auto")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        handler = signal.getsignal(signal.SIGTERM)
        try:
            if address not in ("auto", "local"):  # Ray itself would wait for minutes.
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=5.0).close()
            ray.init(include_dashboard=False)
        except Exception as error:
            reason = f"({one_line(error)}); give HOST:PORT of a cluster's head, or unset it"
            raise ExecutorError(f"Ray cannot be used at RAY_ADDRESS={address} {reason}") from error
        finally:
            signal.signal(signal.SIGTERM, handler)  # Ray installs a handler of its own.
        # Ray prints messages of its nodes to standard output, some of them at shutdown.
        self.enter_context(contextlib.redirect_stdout(sys.stderr))
        self.callback(ray.shutdown)
        cluster = ray.cluster_resources()
        cpus, gpus = cluster.get("CPU", 0), cluster.get("GPU", 0)
        if self._gpus is None:
            self._gpus = 1.0 if gpus and self._device != "cpu" else 0.0
        share = f"for each run, CPUs: {self._cpus}, GPUs: {self._gpus:g}"
        self._display.say(f"Ray cluster, CPUs: {cpus:g}, GPUs: {gpus:g}; {share}")
        remote = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=RETRIES)
        self._execute = remote(_execute_on_ray)
        return self

    def __exit__(self, *error: Any) -> bool:
        """Disconnect from the cluster; active runs save a checkpoint."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            references = list(self._running.values())
            for reference in references:
                self._ray.cancel(reference)
            if references:
                self._ray.wait(references, num_returns=len(references), timeout=60)
        return bool(super().__exit__(*error))

    def submit(self, prompt_id: str, blocked: str | None) -> Future[Any]:
        reference = self._execute.remote(self._spec, prompt_id, blocked)
        future: Future[Any] = reference.future()
        self._running[future] = reference
        return future

    def result(self, future: Future[Any]) -> Outcome | None:
        del self._running[future]
        errors = self._ray.exceptions
        try:
            return super().result(future)
        except errors.LocalRayletDiedError as error:
            raise ExecutorError("the Ray node of this machine ended; start Ray again") from error
        except errors.RayTaskError:
            raise  # A bug.
        except errors.RayError:
            return None


def grid_spec(
    grid: Grid, store: ResultStore, loggers: Sequence[str], verbosity: Verbosity, debug: bool
) -> str:
    """JSON specification from which a worker process builds the grid."""
    values = {
        "config": grid.config.model_dump(mode="json"),
        "out": str(store.folder.absolute()),
        "prompts": str(store.prompts.absolute()),
        "plugins": [str(path) for path in files_in_use()],
        "loggers": list(loggers),
        "verbosity": verbosity,
        "debug": debug,
        "todo": [run.prompt_id for run in grid.todo],
        "to_replace": sorted(grid.to_replace),
        "cwd": str(Path.cwd()),  # Configurations may hold relative paths.
        "argv": sys.argv,  # Records store the command.
    }
    return json.dumps(values)


# In worker processes
STOP = Stop()
_channels: list[Connection] = []  # Connection to the driver.


def _serve(channel: Connection, environment: dict[str, str], spec: str) -> None:
    """Execute the runs that the driver sends, with these environment variables."""
    os.environ.update(environment)
    torch.set_num_threads(int(environment[THREADS]))
    _channels.append(channel)
    with STOP.deferred():
        for number in handled():
            signal.signal(number, lambda number, _: STOP.request(signal.Signals(number)))
        threading.Thread(target=_stop_with_driver, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with contextlib.suppress(EOFError, ConnectionError):  # The driver is gone.
            while run := channel.recv():
                channel.send(_execute(spec, *run))


def _stop_with_driver() -> None:
    """Wait until the driver exits, then stop the active run with a checkpoint."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        STOP.request(signal.SIGTERM)


def _execute(spec: str, prompt_id: str, blocked: str | None) -> Outcome:
    """Execute a run in a worker process; with an empty id, encode all data."""
    try:
        worker = _worker(spec)
        STOP.check()
        if not prompt_id:
            worker.prepare()
            return Outcome("finished")
        if prompt_id not in worker.grid.runs:
            reason = "give every node the same program, model, data and plugins"
            raise ExecutorError(f"{socket.gethostname()} has other runs than the driver: {reason}")
        return worker.execute(worker.grid.runs[prompt_id], blocked)
    except BenchError as error:
        return Outcome("error", str(error))
    except StopRequested as request:
        return Outcome("stopped", request.signal)


def _report(report: Report) -> None:
    """Send a report to the driver; Ray nodes have no connection, and print lines to stderr."""
    with contextlib.suppress(OSError):  # The driver is gone.
        if _channels:
            _channels[0].send(report)
        elif isinstance(report, str):
            print(report, file=sys.stderr)


def _execute_on_ray(spec: str, prompt_id: str, blocked: str | None) -> Outcome:
    """Execute a run on a Ray node; after SIGTERM, Ray restarts it on another node."""
    with STOP.on_signals():
        outcome = _execute(spec, prompt_id, blocked)
    if outcome.state == "stopped" and outcome.text == signal.SIGTERM.name:
        sys.exit(128 + signal.SIGTERM)
    return outcome


@lru_cache(maxsize=1)
def _worker(spec: str) -> Worker:
    """Worker of this process; built once per grid."""
    from bench.worker import Worker  # Not imported by a driver, as it imports transformers.

    values: dict[str, Any] = json.loads(spec)
    for folder in (values["cwd"], values["out"]):
        if not Path(folder).is_dir():
            raise ConfigError(f"{socket.gethostname()} has no folder {folder}: share it")
    os.chdir(values["cwd"])
    sys.argv = values["argv"]
    use_files(map(Path, values["plugins"]))
    store = ResultStore(Path(values["out"]), Path(values["prompts"]))
    grid = make_grid(RunConfig.model_validate(values["config"]), store)
    todo = tuple(grid.runs[key] for key in values["todo"] if key in grid.runs)
    grid = replace(grid, todo=todo, to_replace=frozenset(values["to_replace"]))
    reporter = Reporter(_report, values["verbosity"] == "verbose")
    callbacks = make_callbacks(values["loggers"], store.logs)
    return Worker(grid, store, reporter, callbacks, STOP, values["debug"])


def threads_each(workers: int) -> int:
    """Number of threads per worker, for this many workers on this machine."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    limit = os.environ.get(THREADS, "")
    return max(1, min(cores // workers, int(limit) if limit.isdigit() else cores))


def _share(index: int, workers: int, device: str) -> dict[str, str]:
    """Environment variables that give a worker its share of the machine."""
    environment = {THREADS: str(threads_each(workers))}
    all_gpus = ",".join(map(str, range(torch.cuda.device_count())))
    gpus = os.environ.get(GPUS, all_gpus).split(",")
    if len(gpus) > 1 and ":" not in device:
        environment[GPUS] = gpus[index % len(gpus)]
    return environment
