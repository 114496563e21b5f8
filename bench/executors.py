"""Where runs are done: in this process, in worker processes, or on a Ray cluster.

A worker process lays out the grid by itself, and keeps model and rows between runs. Only ids of
runs and plain outcomes pass between processes. Whoever reaches the ports of a Ray cluster can run
programs on it; they must be protected.
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
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.config import RunConfig
from bench.errors import BenchError, ConfigError, StopRequested, counted, one_line
from bench.grid import Grid, make_grid
from bench.plugins import files_in_use, use_files
from bench.progress import Display, Report, Reporter, Verbosity
from bench.store import ResultStore
from bench.training.callbacks import make_callbacks
from bench.training.stopping import SIGNALS, Stop, handled
from bench.worker import Outcome, Worker

if TYPE_CHECKING:
    from typing_extensions import Self

TRIES = 2
"""How often a run is started whose process dies."""

RETRIES = 30
"""How often Ray starts a run again whose node is gone; it continues from its checkpoint."""

THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


class ExecutorError(BenchError):
    """A fault in a worker process that concerns the whole grid."""


class Pool(ExitStack):
    """What does the runs of a grid."""

    room: float = math.inf  # Runs that it takes at a time.

    def prepare(self) -> None:
        """Encode all rows, so that bad ones fail before any training."""

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        """Start a run; see :meth:`bench.worker.Worker.do`."""
        raise NotImplementedError

    def result(self, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a run that ended; None: its process or machine is gone."""
        return future.result()


class LocalPool(Pool):
    """Does each run in this process, before :meth:`submit` returns."""

    room = 1

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def prepare(self) -> None:
        self._worker.prepare()

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_result(self._worker.do(self._worker.grid.runs[prompt_id], not_run))
        return future


class ProcessPool(Pool):
    """Worker processes of this machine, each an executor of its own; a stop is passed on to them.

    The death of a process then concerns one run; in one pool of several it breaks all futures.
    """

    room: int

    def __init__(self, order: str, workers: int, device: str, stop: Stop, display: Display) -> None:
        super().__init__()
        self._order, self.room, self._device = order, workers, device
        self._stop, self._display = stop, display
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._processes: dict[int, list[BaseProcess]] = {}
        self._running: dict[Future[Outcome], int] = {}

    def __enter__(self) -> Self:
        self.enter_context(self._stop.deferred())
        for index in range(self.room):
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
        # In the first worker; the others read its cache.
        for _ in range(TRIES):
            future = self.submit("", None)
            while not wait_for([future], timeout=0.2).done:
                self._stop.check()
            outcome = self.result(future)
            if outcome is not None and outcome.state == "finished":
                return
            if outcome is not None and outcome.state == "error":
                raise ExecutorError(outcome.text)
        raise ExecutorError(
            f"{TRIES} workers ended before any run; see whether memory ran out, or use fewer"
        )

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        index = min(self._executors.keys() - self._running.values())
        run = partial(_do, self._order, prompt_id, not_run)
        try:
            future = self._executors[index].submit(run)
        except BrokenExecutor:  # The process died between two runs.
            self._start(index)
            future = self._executors[index].submit(run)
        self._running[future] = index
        return future

    def result(self, future: Future[Outcome]) -> Outcome | None:
        index, outcome = self._running.pop(future), None
        self._display.receive(index, ("", "waiting for other runs", 0, 0))
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
        reports, channel = context.Pipe(duplex=False)
        given = channel, _share(index, self.room, self._device)
        executor = ProcessPoolExecutor(1, context, initializer=_initialise, initargs=given)
        before = set(multiprocessing.active_children())
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            executor.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._processes[index] = list(set(multiprocessing.active_children()) - before)
        self._executors[index] = executor
        channel.close()
        self._display.receive(index, ("", "starting", 0, 0))
        threading.Thread(target=self._listen, args=(index, reports), daemon=True).start()

    def _listen(self, index: int, reports: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):  # Its process ended.
            while True:
                self._display.receive(index, reports.recv())


class RayPool(Pool):
    """A Ray cluster whose nodes share the result folder; it keeps runs that wait.

    For ``cpus`` and ``gpus`` see :class:`bench.runner.Resources`. Each node encodes its own rows.
    """

    def __init__(
        self, order: str, cpus: int, gpus: float | None, device: str, display: Display
    ) -> None:
        super().__init__()
        self._order, self._cpus, self._gpus = order, cpus, gpus
        self._device, self._display = device, display
        self._running: dict[Future[Outcome], Any] = {}

    def __enter__(self) -> Self:
        try:
            self._ray = ray = importlib.import_module("ray")
        except ImportError as error:
            raise ConfigError(
                "--executor ray: Ray is not installed; pip install -c constraints.txt -e '.[ray]'"
            ) from error
        address = os.environ.get("RAY_ADDRESS", "auto")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        before = signal.getsignal(signal.SIGTERM)
        try:
            if address not in ("auto", "local"):  # Ray itself would wait for minutes.
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=5.0).close()
            ray.init(include_dashboard=False)
        except Exception as error:
            raise ExecutorError(
                f"Ray cannot be used at RAY_ADDRESS={address} ({one_line(error)}); give HOST:PORT "
                "of a cluster's head, or unset it to use this machine alone"
            ) from error
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray installs a handler of its own.
        # Ray prints messages of its nodes to standard output, some of them at shutdown.
        self.enter_context(contextlib.redirect_stdout(sys.stderr))
        self.callback(ray.shutdown)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
        if self._gpus is None:
            self._gpus = 1.0 if gpus and self._device != "cpu" else 0.0
        self._display.say(
            f"Ray cluster: {counted(len(nodes), 'node')}, CPUs: {cpus:g}, GPUs: {gpus:g}; for each "
            f"run, CPUs: {self._cpus}, GPUs: {self._gpus:g}"
        )
        resources = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_retries": RETRIES}
        self._do = ray.remote(**resources)(_do_on_ray)
        return self

    def __exit__(self, *error: Any) -> bool:
        """Leave the cluster; runs that are under way save a checkpoint."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            references = list(self._running.values())
            for reference in references:
                self._ray.cancel(reference)
            if references:
                self._ray.wait(references, num_returns=len(references), timeout=60)
        return bool(super().__exit__(*error))

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        reference = self._do.remote(self._order, prompt_id, not_run)
        future: Future[Outcome] = reference.future()
        self._running[future] = reference
        return future

    def result(self, future: Future[Outcome]) -> Outcome | None:
        del self._running[future]
        errors = self._ray.exceptions
        try:
            return future.result()
        except errors.LocalRayletDiedError as error:
            raise ExecutorError(
                "the Ray node of this machine ended; give the same command again once Ray runs"
            ) from error
        except errors.RayTaskError:
            raise  # A fault of the program.
        except errors.RayError:
            return None


def make_order(
    grid: Grid, store: ResultStore, loggers: Sequence[str], verbosity: Verbosity, debug: bool
) -> str:
    """What a worker process needs to lay out the grid, as JSON."""
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
_channels: list[Connection] = []  # To the driver's display.


def _initialise(channel: Connection, share: dict[str, str]) -> None:
    """Handle signals by a checkpoint, and end with the driver; ``share`` is of the machine."""
    os.environ.update(share)
    torch.set_num_threads(int(share[THREADS]))
    _channels.append(channel)
    _life.enter_context(STOP.deferred())
    for number in handled():
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


def _do(order: str, prompt_id: str, not_run: str | None) -> Outcome:
    """Do a run in a worker process; without an id, encode all rows."""
    try:
        with _busy:
            worker = _worker(order)
            STOP.check()
            if not prompt_id:
                worker.prepare()
                return Outcome("finished")
            if prompt_id not in worker.grid.runs:
                raise ExecutorError(
                    f"{socket.gethostname()} lays out other runs than the driver: give every node "
                    "the same version of this program, model, data and plugins"
                )
            return worker.do(worker.grid.runs[prompt_id], not_run)
    except BenchError as error:
        return Outcome("error", str(error))
    except StopRequested as request:
        return Outcome("stopped", request.signal)


def _report(report: Report) -> None:
    """Pass a report on to the driver; on a node of Ray, which has no channel, print its lines."""
    with contextlib.suppress(OSError):  # The driver is gone.
        if _channels:
            _channels[0].send(report)
        elif isinstance(report, str):
            print(report, file=sys.stderr)


def _do_on_ray(order: str, prompt_id: str, not_run: str | None) -> Outcome:
    """Do a run on a node; after SIGTERM, Ray starts it again on another one."""
    with STOP.on_signals():
        outcome = _do(order, prompt_id, not_run)
    if outcome.state == "stopped" and outcome.text == signal.SIGTERM.name:
        sys.exit(128 + signal.SIGTERM)
    return outcome


@lru_cache(maxsize=1)
def _worker(order: str) -> Worker:
    """Lay out the grid in this process, once for all its runs."""
    values: dict[str, Any] = json.loads(order)
    for folder in (values["cwd"], values["out"]):
        if not Path(folder).is_dir():
            raise ConfigError(
                f"{socket.gethostname()} has no folder {folder}: share it among all nodes"
            )
    os.chdir(values["cwd"])
    sys.argv = values["argv"]
    use_files(map(Path, values["plugins"]))
    store = ResultStore(Path(values["out"]), Path(values["prompts"]))
    grid = make_grid(RunConfig.model_validate(values["config"]), store)
    todo = tuple(grid.runs[key] for key in values["todo"] if key in grid.runs)
    grid = replace(grid, todo=todo, renewed=frozenset(values["renewed"]))
    reporter = Reporter(_report, values["verbosity"] == "verbose")
    callbacks = make_callbacks(values["loggers"], store.logs)
    return Worker(grid, store, reporter, callbacks, STOP, values["debug"])


def _share(index: int, workers: int, device: str) -> dict[str, str]:
    """Environment variables that give a worker its share of the machine."""
    from joblib import cpu_count  # As affinity and containers allow; starts a process on import.

    threads, wanted = max(1, cpu_count() // workers), os.environ.get(THREADS, "")
    values = {THREADS: str(min(threads, int(wanted)) if wanted.isdigit() else threads)}
    every = ",".join(map(str, range(torch.cuda.device_count())))
    gpus = os.environ.get(GPUS, every).split(",")
    if len(gpus) > 1 and ":" not in device:
        values[GPUS] = gpus[index % len(gpus)]
    return values
