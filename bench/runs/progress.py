"""Progress of a run: one live display in a terminal, plain lines elsewhere; both on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.training.listeners import EvaluationEvent, Listener, TrainingInfo

if TYPE_CHECKING:
    from bench.training.loop import TrainingResult

Verbosity = Literal["quiet", "normal", "verbose"]
"""Failures alone; one line per finished unit; and one line per evaluation."""


class Display(Listener):
    """Told what a run does; also a listener of the training loop. This one shows nothing.

    As every listener it hears of one training after the other; :meth:`beside` gives listeners for
    those that run at the same time.
    """

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        """End the display; errors pass."""

    def beside(self) -> Listener:
        """A listener for trainings that run beside those that this display hears of."""
        return Listener()

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        """One unit of the plan is done."""

    def skip(self) -> None:
        """Another process did one unit of the plan."""

    def say(self, line: str) -> None:
        """A line that is to stay."""


def make_display(
    units: int,
    console: Console | None = None,
    verbosity: Verbosity = "normal",
    label: str = "",
) -> Display:
    """A display for ``units`` units of work: live in a terminal, else plain lines.

    There are colours in terminals only, and none if NO_COLOR is set. Processes with a ``label``
    share a terminal, so they print lines too.
    """
    console = console or Console(stderr=True)
    if verbosity == "quiet":
        return QuietDisplay(console)
    if console.is_terminal and not label:
        return LiveDisplay(console, units)
    return PlainDisplay(console, units, label)


class QuietDisplay(Display):
    """Nothing but failures."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        if failed:
            _print(self._console, f"error: {what}: {outcome}")


class LiveDisplay(Display):
    """A bar for all units, and one for the steps of each training that runs."""

    def __init__(self, console: Console, units: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[score]}"),
            console=console,
        )
        self._all = self._bars.add_task("all", total=units, score="")
        self._one = StepBar(self._bars)

    def __enter__(self) -> LiveDisplay:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def beside(self) -> Listener:
        return StepBar(self._bars, stays=False)

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self._one.on_start(training, step, total)

    def on_step(self, step: int, total: int) -> None:
        self._one.on_step(step, total)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._one.on_evaluation(event)

    def skip(self) -> None:
        self._bars.advance(self._all)

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        self.skip()
        self.say(f"{what}: {outcome}")

    def say(self, line: str) -> None:
        _print(self._bars.console, line)


class StepBar(Listener):
    """The steps of one training after the other.

    Args:
        bars: takes the bar.
        stays: whether it shows the last training until the next one begins.
    """

    def __init__(self, bars: Progress, stays: bool = True) -> None:
        self._bars = bars
        self._stays = stays
        self._bar = bars.add_task("", total=1, score="", visible=False)

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        what = training.describe()
        self._bars.reset(self._bar, description=what, total=total, score="", visible=True)

    def on_step(self, step: int, total: int) -> None:
        self._bars.update(self._bar, completed=step)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._bars.update(self._bar, score=f"validation {event.score:.1f}")

    def on_finish(self, result: TrainingResult | None) -> None:
        if not self._stays:
            self._bars.update(self._bar, visible=False)


class PlainDisplay(Display):
    """One line per finished unit, for logs and pipes."""

    def __init__(self, console: Console, units: int, label: str = "") -> None:
        self._console = console
        self._units = units
        self._label = label
        self._done = 0
        self._began = time.monotonic()

    def skip(self) -> None:
        self._done += 1

    def finish(self, what: str, outcome: str, failed: bool = False) -> None:
        self.skip()
        seconds = time.monotonic() - self._began
        self.say(f"[{self._done}/{self._units}, {seconds:.0f} s] {what}: {outcome}")

    def say(self, line: str) -> None:
        _print(self._console, f"{self._label}{line}")


class EvaluationLines(Listener):
    """One line per evaluation, through a display."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._what = ""

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self._what = training.describe()

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._display.say(
            f"{self._what}: step {event.step}/{event.total}, loss {event.loss:.4f}, "
            f"validation {event.score:.1f} (best {event.best_score:.1f} at {event.best_step})"
        )


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
