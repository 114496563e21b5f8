"""Clean stops: after Ctrl-C or a signal, training saves a checkpoint to resume from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

from bench.errors import StopRequested

SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNALS += (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals of Ctrl-C, of closed terminals, and of batch systems before a time limit."""


def handled() -> list[signal.Signals]:
    """Stop signals that are not ignored (``nohup`` ignores SIGHUP)."""
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


class Stop:
    """Stop request, raised as StopRequested at once or, if deferred, at the next :meth:`check`."""

    def __init__(self) -> None:
        self._requested: signal.Signals | None = None
        self._deferred = False
        self._previous: dict[signal.Signals, Any] = {}  # Handlers to restore.

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Context in which signals request a stop; a second SIGINT or SIGTERM acts as before."""
        # The resource tracker of multiprocessing complains if a signal to the group ends it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._previous = {number: signal.signal(number, self._handle) for number in handled()}
        try:
            yield
        finally:
            self._restore()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Context in which requests wait for :meth:`check`."""
        previous, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = previous

    def request(self, number: signal.Signals) -> None:
        self._requested = number
        if not self._deferred:
            self.check()

    def check(self) -> None:
        """Raise StopRequested if a stop was requested."""
        if self._requested is not None:
            raise StopRequested(self._requested.name, self._requested.value)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested is None:
            self.request(signal.Signals(number))
        elif number in (signal.SIGINT, signal.SIGTERM):  # Others may arrive twice.
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
