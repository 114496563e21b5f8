"""Progress of a run: one live display in a terminal, plain lines elsewhere; both on stderr."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Display:
    """Told what a run does; also the listener of the training loop. This one shows nothing."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        """End the display; errors pass."""

    def start(self, what: str, total: int) -> None:
        """A training of ``total`` steps begins or continues."""

    def on_step(self, step: int, total: int) -> None:
        """An optimiser step is done."""

    def on_evaluation(self, step: int, score: float) -> None:
        """Validation gave this mean score."""

    def finish(self, what: str, outcome: str) -> None:
        """One unit of the plan is done."""

    def say(self, line: str) -> None:
        """A line that is to stay."""


def make_display(units: int, console: Console | None = None) -> Display:
    """A display for ``units`` units of work: live in a terminal, else plain lines."""
    console = console or Console(stderr=True)
    return LiveDisplay(console, units) if console.is_terminal else PlainDisplay(console, units)


class LiveDisplay(Display):
    """Two bars: all units, and the steps of the present one."""

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
        self._one = self._bars.add_task("", total=1, score="", visible=False)

    def __enter__(self) -> LiveDisplay:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, what: str, total: int) -> None:
        self._bars.reset(self._one, description=what, total=total, score="", visible=True)

    def on_step(self, step: int, total: int) -> None:
        self._bars.update(self._one, completed=step)

    def on_evaluation(self, step: int, score: float) -> None:
        self._bars.update(self._one, score=f"validation {score:.1f}")

    def finish(self, what: str, outcome: str) -> None:
        self._bars.advance(self._all)
        self.say(f"{what}: {outcome}")

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


class PlainDisplay(Display):
    """One line per finished unit, for logs and pipes."""

    def __init__(self, console: Console, units: int) -> None:
        self._console = console
        self._units = units
        self._done = 0
        self._began = time.monotonic()

    def finish(self, what: str, outcome: str) -> None:
        self._done += 1
        seconds = time.monotonic() - self._began
        self.say(f"[{self._done}/{self._units}, {seconds:.0f} s] {what}: {outcome}")

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
