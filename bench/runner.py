"""Executor loop: starts each run of a grid when the runs that it needs are finished."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Literal

from bench import executors
from bench.config import dump_config
from bench.errors import ConfigError, counted
from bench.executors import MAX_STARTS, grid_spec
from bench.grid import Grid, Outcome, Run
from bench.progress import Display, Verbosity
from bench.store import ResultStore
from bench.training.callbacks import make_callbacks
from bench.training.stopping import Stop

POLL = 0.5  # Seconds between checks for signals and for runs locked by other processes.


def run_grid(
    grid: Grid,
    store: ResultStore,
    loggers: Sequence[str] = (),
    verbosity: Verbosity = "normal",
    debug: bool = False,  # Show the tracebacks of failed runs.
    executor: Literal["local", "ray"] = "local",  # Ray: the cluster at RAY_ADDRESS.
    workers: int = 1,  # Local processes; cores and GPUs are divided among them.
    cpus_per_run: int = 1,  # Ray: cores for each run.
    gpus_per_run: float | None = None,  # Ray: GPUs for each run, or a fraction; None: one if any.
) -> Counter[str]:
    """Execute the remaining runs of a grid; loads nothing if none remain.

    Returns the number of reported runs by state: finished, failed, or found done by another
    process. Raises BenchError if input, output or a callback fails, StopRequested after a signal.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected a whole number of at least 1 (given: {workers})")
    if not grid.todo:
        return Counter()
    store.check_writable()
    stop = Stop()
    spec = grid_spec(grid, store, loggers, verbosity, debug)
    workers = min(workers, len(grid.todo))
    pool: executors.Pool
    with stop.on_signals(), Display(len(grid.todo), verbosity) as display:
        if executor == "ray":
            device = grid.config.device
            pool = executors.RayPool(spec, cpus_per_run, gpus_per_run, device, display)
        elif workers > 1:
            pool = executors.ProcessPool(spec, workers, grid.config.device, stop, display)
        else:
            from bench.worker import Worker

            callbacks = make_callbacks(loggers, store.logs)
            worker = Worker(grid, store, display.reporter(), callbacks, stop, debug)
            pool = executors.LocalPool(worker)
        display.say(f"preparing data of {counted(len(grid.config.task_names()), 'task')}")
        with pool:
            pool.prepare()
            store.save_config(dump_config(grid.config))
            return _Loop(grid, pool, display, stop).run()


@dataclass
class _Loop:
    """Schedules the runs of a grid; keys are prompt ids."""

    grid: Grid
    pool: executors.Pool
    display: Display
    stop: Stop
    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)  # Reason by prompt id.
    deaths: Counter[str] = field(default_factory=Counter)  # Lost processes per run.
    locked: deque[tuple[float, Run]] = field(default_factory=deque)  # With the time to try again.

    def run(self) -> Counter[str]:
        """Start runs as they become ready, until all have ended."""
        todo = {run.prompt_id: run for run in self.grid.todo}
        needs = {
            key: [need.prompt_id for need in run.start if need.prompt_id in todo]
            for key, run in todo.items()
        }
        sorter = TopologicalSorter(needs)
        sorter.prepare()
        ready: deque[Run] = deque()
        running: dict[Future[Outcome], Run] = {}
        while sorter.is_active():
            self.stop.check()
            ready.extend(todo[key] for key in sorter.get_ready())
            while self.locked and self.locked[0][0] <= time.monotonic():
                ready.append(self.locked.popleft()[1])
            while ready and len(running) < self.pool.max_concurrent:
                run = ready.popleft()
                reason = self._obstacle(run, [todo[key] for key in needs[run.prompt_id]])
                running[self.pool.submit(run.prompt_id, reason)] = run
            self.display.wait(0 if running else len(self.locked))
            if not running:
                time.sleep(POLL)
                continue
            finished, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in finished:
                run = running.pop(future)
                outcome = self.pool.result(future)
                if outcome is None:
                    self.deaths[run.prompt_id] += 1
                    self.display.say(f"{run.describe()}: its process ended")
                if outcome is None or outcome.state == "stopped":
                    ready.appendleft(run)
                elif outcome.state == "locked":
                    self.locked.append((time.monotonic() + POLL, run))
                else:
                    self._ended(run, outcome)
                    sorter.done(run.prompt_id)
        return self.counts

    def _obstacle(self, run: Run, needs: list[Run]) -> str | None:
        """Reason why a run cannot start; None if it can."""
        if self.deaths[run.prompt_id] >= MAX_STARTS:
            return f"its process died {MAX_STARTS} times; check whether memory ran out"
        failed = [need for need in needs if need.prompt_id in self.failed]
        if not failed or len(failed) < len(run.start.tries):  # One try is enough.
            return None
        return f"not run: {failed[0].prompt_name} failed ({self.failed[failed[0].prompt_id]})"

    def _ended(self, run: Run, outcome: Outcome) -> None:
        key = run.prompt_id
        scored = key in self.grid.reported and key not in self.grid.records
        name = run.describe() if scored else f"prompt {run.describe()}"
        failed = outcome.state == "failed"
        if failed:
            self.failed[key] = outcome.text
        text = "done by another command" if outcome.state == "found" else outcome.text
        self.display.finish(name, f"failed: {text}" if failed else text, failed=failed)
        if scored:
            self.counts[outcome.state] += 1
