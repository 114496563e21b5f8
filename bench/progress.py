"""Progress of ``bench run`` on stderr: a live display on a terminal, else plain lines.

The driver has one display; workers in this or other processes send reports to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Literal

from rich import progress
from rich.console import Console
from rich.table import Column

from bench.errors import counted
from bench.training.callbacks import Callback, EvaluationEvent, TrainingInfo

Verbosity = Literal["quiet", "normal", "verbose"]

Report = str | tuple[str, str, int, int]  # A line of text, or run, phase, steps done, all steps.
INTERVAL = 0.2  # Minimum seconds between two progress reports of a phase.


class Reporter(Callback):
    """Sends progress reports of one worker; a callback of the training loop."""

    def __init__(self, send: Callable[[Report], object], verbose: bool) -> None:
        self.say, self._send, self._verbose = send, send, verbose
        self._run = self._training = ""
        self._last = 0.0

    def phase(self, phase: str, done: int = 0, total: int = 0, what: str | None = None) -> None:
        """Report a phase and its progress; ``what`` sets the name of the run."""
        self._run = self._run if what is None else what
        if done == 0 or time.monotonic() > self._last + INTERVAL:
            self._last = time.monotonic()
            self._send((self._run, phase, done, total))

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        self._training = "training"
        self.phase(self._training, step, total, info.summary)

    def on_step(self, step: int, total: int) -> None:
        self.phase(self._training, step, total)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._training = f"training ({event.score:.1f})"
        if self._verbose:
            self.say(
                f"{self._run}: step {event.step}/{event.total}, loss {event.loss:.4f}, "
                f"validation {event.score:.1f} (best {event.best_score:.1f} at {event.best_step})"
            )


class Display:
    """Prints failures only (quiet), one line per run (normal), or also evaluations (verbose).

    On a terminal, also shows a progress bar with the time left, and one row per worker.
    """

    def __init__(
        self, total_runs: int, verbosity: Verbosity, console: Console | None = None
    ) -> None:
        console = console or Console(stderr=True)
        self.total_runs, self.verbosity = total_runs, verbosity
        self.done, self.locked, self.started = 0, 0, time.monotonic()
        name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bars = progress.Progress(
            progress.TextColumn("{task.description}", table_column=name),
            progress.BarColumn(16),
            "{task.fields[count]}",
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[text]}", table_column=Column(min_width=22)),
            console=console,
            transient=True,
            expand=True,
            disable=verbosity == "quiet" or not console.is_terminal,
        )
        self.all = self.bars.add_task("all runs", total=total_runs, count="", text="")
        self.rows: dict[int, tuple[progress.TaskID, str, str]] = {}  # Bar, run, phase.
        self.parts: dict[int, float] = {}  # Finished share of each worker's training.

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self.bars.stop()

    def reporter(self) -> Reporter:
        """Reporter for a single worker in this process."""
        return Reporter(lambda report: self.receive(0, report), self.verbosity == "verbose")

    def receive(self, worker: int, report: Report) -> None:
        """Show a report of a worker."""
        if isinstance(report, str):
            self.say(report)
            return
        run, phase, done, total = report
        if worker not in self.rows:
            self.rows[worker] = self.bars.add_task("", count="", text=""), "", ""
        row, *previous = self.rows[worker]
        self.rows[worker] = row, run, phase
        if previous != [run, phase]:
            self.bars.reset(row, total=total or None)
        count = f"{done}/{total}" if total else ""
        name = run or f"worker {worker + 1}"
        self.bars.update(row, completed=done, description=name, count=count, text=phase)
        if not total or phase.startswith("training"):
            self.parts[worker] = done / total if total else 0
        self._show_all()

    def _show_all(self) -> None:
        done, total = min(self.done + sum(self.parts.values()), self.total_runs), self.total_runs
        text = ""
        if done:
            seconds = round((time.monotonic() - self.started) * (total / done - 1))
            text = f"{timedelta(seconds=seconds)} left"
        self.bars.update(self.all, completed=done, count=f"{self.done}/{total}", text=text)

    def wait(self, locked: int) -> None:
        """Print a message if all remaining runs are locked by other commands."""
        if locked > self.locked:
            self.say(f"waiting for {counted(locked, 'run')} of other commands on this folder")
        self.locked = locked

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        """Count a finished run and show its outcome."""
        self.done += 1
        self._show_all()
        count = f"{self.done}/{self.total_runs}, {time.monotonic() - self.started:.0f} s"
        prefix = "error:" if self.verbosity == "quiet" else f"[{count}]"
        self.say(f"{prefix} {what}: {outcome}", failed)

    def say(self, line: str, always: bool = False) -> None:
        """Print a line, unless quiet."""
        if always or self.verbosity != "quiet":
            with suppress(OSError):  # The terminal may be closed.
                self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
