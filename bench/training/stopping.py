"""A clean stop: Ctrl-C and SIGTERM end a training at a place from which it continues exactly."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.errors import StopRequested

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | None


class Stop:
    """Whether to stop; a signal stops at once, or where it is deferred at the next good place."""

    def __init__(self) -> None:
        self._requested: signal.Signals | None = None
        self._deferred = False
        self._again = True
        self._before: dict[signal.Signals, Handler] = {}

    @contextmanager
    def on_signals(self, again: bool = True) -> Iterator[None]:
        """Heed the first Ctrl-C or SIGTERM, in the main thread of a process.

        Args:
            again: whether a second one acts as it did before; if not, it does nothing.
        """
        self._again = again
        self._before = {number: signal.signal(number, self._heed) for number in SIGNALS}
        try:
            yield
        finally:
            self._restore()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """In here a stop waits for :meth:`check`."""
        with self._deferring(True):
            yield

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In here, within :meth:`deferred`, a stop may come at any moment."""
        with self._deferring(False):
            self.check()
            yield

    def request(self, number: signal.Signals) -> None:
        """Ask for a stop.

        Raises:
            StopRequested: the stop is not deferred.
        """
        self._requested = number
        if not self._deferred:
            self.check()

    def check(self) -> None:
        """A good place to stop.

        Raises:
            StopRequested: a stop was asked for.
        """
        if self._requested is not None:
            raise StopRequested(self._requested.name, self._requested.value)

    @contextmanager
    def _deferring(self, deferred: bool) -> Iterator[None]:
        before, self._deferred = self._deferred, deferred
        try:
            yield
        finally:
            self._deferred = before

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if self._requested is not None:
            return
        if self._again:
            self._restore()
        self.request(signal.Signals(number))


__all__ = ["Stop"]
