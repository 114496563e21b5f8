"""Clean stops: after Ctrl-C or SIGTERM, training ends with a checkpoint it continues from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.errors import StopRequested

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A request to stop, raised as StopRequested: at once, or if deferred at the next check."""

    def __init__(self) -> None:
        self._requested: signal.Signals | None = None
        self._deferred = False
        self._before: dict[signal.Signals, Any] = {}  # Handlers.

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Inside, SIGINT or SIGTERM is a request; a second one goes to the former handler."""
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            self._restore()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a request waits for :meth:`check`."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    def request(self, number: signal.Signals) -> None:
        """Ask for a stop."""
        self._requested = number
        if not self._deferred:
            self.check()

    def check(self) -> None:
        """Raise StopRequested if a stop was asked for."""
        if self._requested is not None:
            raise StopRequested(self._requested.name, self._requested.value)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self.request(signal.Signals(number))

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
