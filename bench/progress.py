"""Progress of ``bench run`` on stderr: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich import progress
from rich.console import Console

from bench.training.callbacks import Callback, EvaluationEvent, TrainingInfo

Verbosity = Literal["quiet", "normal", "verbose"]


class Display(Callback):
    """Plain lines: failures only (quiet), one per run, or also one per evaluation (verbose)."""

    def __init__(self, console: Console, total_runs: int, verbosity: Verbosity) -> None:
        self.console = console
        self.total_runs = total_runs
        self.verbosity = verbosity
        self.done, self.began = 0, time.monotonic()

    def skip(self) -> None:
        """Count a run that another process finished."""
        self.done += 1

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        """Count a run and show its outcome."""
        self.skip()
        if self.verbosity != "quiet":
            seconds = time.monotonic() - self.began
            self.say(f"[{self.done}/{self.total_runs}, {seconds:.0f} s] {what}: {outcome}")
        elif failed:
            self._print(f"error: {what}: {outcome}")

    def say(self, line: str) -> None:
        """Show a line, unless quiet."""
        if self.verbosity != "quiet":
            self._print(line)

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        self.what = info.describe()  # Of the current run.

    def on_evaluation(self, event: EvaluationEvent) -> None:
        if self.verbosity == "verbose":
            self.say(
                f"{self.what}: step {event.step}/{event.total}, loss {event.loss:.4f}, "
                f"validation {event.score:.1f} (best {event.best_score:.1f} at {event.best_step})"
            )

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(Display):
    """A bar over all runs with the time left, and one over the steps of the current run."""

    def __init__(self, console: Console, total_runs: int, verbosity: Verbosity) -> None:
        super().__init__(console, total_runs, verbosity)
        bar, count = progress.BarColumn(24), progress.MofNCompleteColumn()
        times = progress.TimeElapsedColumn(), progress.TimeRemainingColumn()
        columns = ("{task.description}", bar, count, *times, "{task.fields[score]}")
        self.bars = progress.Progress(*columns, console=console)
        self.all = self.bars.add_task("all runs", total=total_runs, score="")
        self.one = self.bars.add_task("", total=1, score="", visible=False)

    def skip(self) -> None:
        super().skip()
        self.bars.update(self.all, completed=self.done)

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        super().on_start(info, step, total)
        self.bars.reset(self.one, total=total, completed=step, description=self.what, visible=True)
        self.bars.update(self.one, score="")

    def on_step(self, step: int, total: int) -> None:
        self.bars.update(self.one, completed=step)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        super().on_evaluation(event)
        self.bars.update(self.one, score=f"validation {event.score:.1f}")


@contextmanager
def make_display(
    total_runs: int, verbosity: Verbosity = "normal", console: Console | None = None
) -> Iterator[Display]:
    """Show progress while the context lasts; the display is a callback of the training loop."""
    console = console or Console(stderr=True)
    if console.is_terminal and verbosity != "quiet":
        live = LiveDisplay(console, total_runs, verbosity)
        with live.bars:
            yield live
    else:
        yield Display(console, total_runs, verbosity)
