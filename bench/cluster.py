"""Runs on a Ray cluster whose nodes share the result folder.

Whoever reaches the ports of a Ray cluster can run programs on it; they must be protected.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, one_line
from bench.executors import STOP, ExecutorError, do_here
from bench.worker import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

    from bench.progress import Display

RETRIES = 30
"""How often Ray starts a run again whose node is gone; it continues from its checkpoint."""


class RayPool(ExitStack):
    """A Ray cluster whose nodes share the result folder; for cpus and gpus see ``Resources``."""

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
        address = os.environ.get("RAY_ADDRESS")
        _require_answer(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(include_dashboard=False)
        except Exception as error:
            raise ExecutorError(
                f"Ray at {address or 'this machine'} cannot be used ({one_line(error)}); run on a "
                "node of the cluster"
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
            f"Ray cluster: {len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs; each run has "
            f"{self._cpus} CPUs and {self._gpus:g} GPUs"
        )
        self._do = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=RETRIES)(
            _do_on_ray
        )
        return self

    def __exit__(self, *error: Any) -> bool:
        """Leave the cluster; runs that are under way save a checkpoint."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            for reference in self._running.values():
                self._ray.cancel(reference)
            if self._running:
                references = list(self._running.values())
                self._ray.wait(references, num_returns=len(references), timeout=60)
        return bool(super().__exit__(*error))

    def prepare(self) -> None:
        """Nothing: each node encodes the rows of its runs."""

    def has_room(self) -> bool:
        """Whether another run can be handed over; Ray keeps those that wait."""
        return True

    def submit(self, prompt_id: str, not_run: str | None) -> Future[Outcome]:
        """Start a run on some node; see :meth:`bench.worker.Worker.do`."""
        reference = self._do.remote(self._order, prompt_id, not_run)
        future: Future[Outcome] = reference.future()
        self._running[future] = reference
        return future

    def result(self, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a run that ended; None: its node is gone."""
        del self._running[future]
        errors = self._ray.exceptions
        try:
            return future.result()
        except errors.LocalRayletDiedError as error:
            raise ExecutorError(
                "the Ray node of this machine ended; what is done is kept, to continue give the "
                "same command again once Ray runs"
            ) from error
        except errors.RayTaskError:
            raise  # A fault of the program.
        except errors.RayError:
            return None


def _do_on_ray(order: str, prompt_id: str, not_run: str | None) -> Outcome:
    """Do a run on a node; after SIGTERM, Ray starts it again on another one."""
    with STOP.on_signals():
        outcome = do_here(order, prompt_id, not_run)
    if outcome.state == "stopped" and outcome.text == signal.SIGTERM.name:
        sys.exit(128 + signal.SIGTERM)
    return outcome


def _require_answer(address: str | None) -> None:
    """Refuse an address where nothing answers; Ray itself would wait for minutes."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"RAY_ADDRESS={address}: expected HOST:PORT of the cluster's head, such as "
            "10.0.0.1:6379, or auto or local"
        )
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError as error:
        raise ExecutorError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({one_line(error)}); start one there "
            "by 'ray start --head', or unset RAY_ADDRESS to use this machine alone"
        ) from error
