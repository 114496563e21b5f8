"""``--executor`` and the options of each: where the cells of a run are worked on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.runs.grid import Grid
    from bench.runs.local import Outcome
    from bench.runs.progress import Verbosity
    from bench.training.stopping import Stop

_OF = {
    "workers": "local",
    "pack": "local",
    "address": "ray",
    "cpus_per_cell": "ray",
    "gpus_per_cell": "ray",
}
"""The executor that an option belongs to."""


@dataclass(frozen=True)
class Executor:
    """Where the cells of a run are worked on."""

    name: str
    workers: int
    pack: int
    address: str | None
    cpus: int
    gpus: float | None

    def run(
        self,
        grid: Grid,
        stop: Stop,
        loggers: Sequence[str],
        verbosity: Verbosity,
        debug: bool,
    ) -> Outcome:
        """Do what is left of a grid.

        Raises:
            BenchError: input, output or the executor cannot be used.
            StopRequested: as asked for.
        """
        if self.name == "ray":
            from bench.runs.cluster import Share, run_on_ray

            share = Share(self.address, self.cpus, self.gpus)
            return run_on_ray(grid, share, stop, loggers, verbosity, debug)
        if self.workers > 1:
            from bench.runs.workers import run_workers

            return run_workers(grid, self.workers, stop, loggers, verbosity, debug, self.pack)
        from bench.runs.grid import execute
        from bench.runs.loggers import make_loggers

        first, *beside = (make_loggers(loggers, grid.folder.logs) for _ in range(self.pack))
        return execute(grid, debug, first, verbosity, stop, beside=beside)


workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Local: processes that share the work; cores and GPUs are divided among them.",
)


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--executor`` and the options of the executors."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Where cells are worked on: local, in processes of this machine; ray, on a Ray "
            "cluster.",
        ),
        workers_option,
        click.option(
            "--pack",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Local: prompts that each process trains at once, in shared passes of the model.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="Ray: head of the cluster (default: RAY_ADDRESS, or the cluster this machine is a "
            "node of, or this machine alone).",
        ),
        click.option(
            "--cpus-per-cell",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Ray: cores for each cell.",
        ),
        click.option(
            "--gpus-per-cell",
            type=click.FloatRange(min=0, max=1),
            help="Ray: part of a GPU for each cell, such as 0.5 (default: 1 where there are any).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def executor_of(context: click.Context) -> Executor:
    """The executor that the options of a command say.

    Raises:
        ConfigError: an option of another executor was given.
    """
    given = context.params
    name = given["executor"]
    for key, executor in _OF.items():
        source = context.get_parameter_source(key)
        if source is not click.core.ParameterSource.DEFAULT and executor != name:
            option = f"--{key.replace('_', '-')}"
            raise ConfigError(
                f"{option} belongs to --executor {executor}: leave it out with --executor {name}"
            )
    return Executor(
        name,
        given["workers"],
        given["pack"],
        given["address"],
        given["cpus_per_cell"],
        given["gpus_per_cell"],
    )


__all__ = ["Executor", "executor_of", "executor_options", "workers_option"]
