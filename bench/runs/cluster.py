"""Work through a grid on a Ray cluster, whose processes share the result folder.

Ray starts each unit of the graph when what it needs is done, on a node that has room for it, and
starts it again elsewhere if its process or node is lost. Claims, checkpoints and records are those
of local runs, so that nothing is done twice whatever Ray does. Who can reach the ports of a Ray
cluster can run programs on it: what comes over them is trusted.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.errors import BenchError, ConfigError, one_line
from bench.runs.claims import POLL
from bench.runs.graph import UnitReport, do_unit, make_graph, make_order
from bench.runs.local import Outcome, written
from bench.runs.progress import make_display
from bench.runs.workers import WorkerError
from bench.training.stopping import Stop

if TYPE_CHECKING:
    from bench.runs.grid import Grid
    from bench.runs.progress import Display, Verbosity

RETRIES: Final = 30
"""How often a unit is started again whose process or node was lost; each goes on from where the one
before had come."""

_ANSWERS_WITHIN: Final = 5.0
_LAST_PORT: Final = 65535
_WORDS: Final = ("auto", "local")
_ADDRESS: Final = "RAY_ADDRESS"
_USAGE_STATISTICS: Final = "RAY_USAGE_STATS_ENABLED"


class ClusterError(BenchError):
    """A Ray cluster cannot be reached or used."""


@dataclass(frozen=True)
class Share:
    """The cluster, and what one unit has of a node.

    Attributes:
        address: ``HOST:PORT`` of the head; None: what ``RAY_ADDRESS`` says, or a cluster that this
            machine is a node of, or else this machine alone.
        cpus: cores, and so threads.
        gpus: GPUs, or a part of one; None: one where the cluster has any.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float | None = None


def run_on_ray(
    grid: Grid,
    share: Share,
    stop: Stop,
    loggers: Sequence[str] = (),
    verbosity: Verbosity = "normal",
    debug: bool = False,
) -> Outcome:
    """Do what is left of a grid on a Ray cluster.

    Args:
        grid: what to do.
        share: where, and with how much for each unit.
        stop: by which this process is told to stop; the units then stop cleanly too.
        loggers: names of the loggers of each unit.
        verbosity: what to print of the progress.
        debug: whether to show the tracebacks of failed cells.

    Raises:
        ConfigError: Ray is not installed, or the address is none.
        ClusterError: the cluster cannot be reached.
        WorkerError: a unit ended by an error that concerns the run, or was lost again and again.
        StopRequested: as asked for; all units have stopped.
    """
    work, folder = grid.work, grid.folder
    if not work.cells:
        return Outcome()
    folder.check_writable()
    ray = _import_ray()
    with (
        _connected(ray, share.address, verbosity),
        make_display(work.units, verbosity=verbosity) as display,
        stop.deferred(),
    ):
        gpus = _gpus(ray, share, grid.config.device, display)
        order = make_order(grid, loggers, verbosity, debug)
        remote = ray.remote(num_cpus=share.cpus, num_gpus=gpus, max_retries=RETRIES)(do_unit)
        units, refs = make_graph(grid), list[Any]()
        for unit in units:
            refs.append(remote.remote(order, unit.words, *(refs[need] for need in unit.needs)))
        names = {ref: unit.name for ref, unit in zip(refs, units, strict=True)}
        _follow(ray, names, display, stop)
    return written(work, folder)


def _follow(ray: Any, names: dict[Any, str], display: Display, stop: Stop) -> None:
    """Tell of units as they end, until all have.

    Args:
        ray: the module.
        names: of the units, by reference to their reports.
        display: told about progress.
        stop: asked whether to stop.
    """
    waiting, lost = list(names), dict[str, str]()
    try:
        while waiting:
            stop.check()
            done, waiting = ray.wait(waiting, num_returns=1, timeout=POLL)
            for ref in done:
                report = _report(ray, ref)
                if not isinstance(report, str) and report["stopped"]:
                    report = "it was stopped there"
                if isinstance(report, str):
                    lost[names[ref]] = report
                    display.finish(names[ref], f"lost: {report}", failed=True)
                elif report["error"]:
                    raise WorkerError(report["error"])
                elif report["lines"]:
                    for line in report["lines"]:
                        display.finish(*line)
                else:
                    display.skip()
    finally:
        with suppress(ray.exceptions.RayError):  # Where the cluster is gone, nothing is left.
            for ref in waiting:
                ray.cancel(ref)
            if waiting:
                ray.wait(waiting, num_returns=len(waiting))
    if lost:
        name, reason = next(iter(lost.items()))
        raise WorkerError(
            f"{len(lost)} units were lost, the first of them {name}: {reason}; look at the nodes "
            "and whether memory ran out there, then give the same command again"
        )


def _report(ray: Any, ref: Any) -> UnitReport | str:
    """The report of a unit that ended, or why there is none.

    Raises:
        ClusterError: the node of this machine ended.
    """
    errors = ray.exceptions
    try:
        report: UnitReport = ray.get(ref)
    except errors.LocalRayletDiedError as error:
        raise ClusterError(
            "the Ray node of this machine ended, and with it the run; what is done is kept, to "
            "continue give the same command again once Ray runs"
        ) from error
    except errors.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, errors.RayError) and not isinstance(cause, errors.RayTaskError):
            return f"what it needs was lost ({one_line(cause)})"
        raise  # A fault of the program.
    except errors.RayError as error:
        return one_line(error)
    return report


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            "--executor ray: Ray is not installed; pip install -c constraints.txt -e '.[ray]'"
        ) from error


@contextmanager
def _connected(ray: Any, address: str | None, verbosity: Verbosity) -> Iterator[None]:
    """Within this, this process is a driver of the cluster."""
    _require_answer(address or os.environ.get(_ADDRESS))
    os.environ.setdefault(_USAGE_STATISTICS, "0")  # Should Ray be started here.
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=verbosity != "quiet",
        )
    except Exception as error:
        where = f"the cluster at {address}" if address else "Ray"
        raise ClusterError(
            f"{where} cannot be used from here ({one_line(error)}); run on a node of the cluster, "
            "which 'ray start' makes of a machine"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_stop)  # Ray has put its own in the place of it.
    # Ray prints there what its nodes say, some of it no sooner than it is shut down.
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Ray itself waits for minutes at an address where there is nothing, and then ends the process.

    Raises:
        ConfigError: this is no address.
        ClusterError: nothing answers.
    """
    if address in (None, *_WORDS):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > _LAST_PORT:
        raise ConfigError(
            f"--address {address}: expected HOST:PORT of the cluster's head, such as "
            f"10.0.0.1:6379, or {' or '.join(_WORDS)}"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({one_line(error)}); start one there by 'ray "
            "start --head', or leave --address out to use this machine alone"
        ) from error


def _gpus(ray: Any, share: Share, device: str, display: Display) -> float:
    """GPUs for each unit; says what the cluster is, and whether it has room for any."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    gpus = share.gpus
    if gpus is None:
        gpus = 1.0 if total["GPU"] and device != "cpu" else 0.0
    display.say(
        f"Ray cluster: {len(nodes)} nodes, {total['CPU']:g} CPUs, {total['GPU']:g} GPUs; each unit "
        f"has {share.cpus} CPUs and {gpus:g} GPUs"
    )
    if not any(n.get("CPU", 0.0) >= share.cpus and n.get("GPU", 0.0) >= gpus for n in nodes):
        display.say("warning: no node has that many, so nothing starts until one joins")
    return gpus


__all__ = ["ClusterError", "Share", "run_on_ray"]
