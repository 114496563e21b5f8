"""``bench plan``: what a grid will cost, and what of it fits into a budget."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.executors import workers_option
from bench.commands.grid_options import (
    grid_options,
    overwrite_of,
    repetitions_of,
    run_command,
)
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.runs.grid import Grid


@click.command()
@grid_options
@workers_option
@click.option(
    "--budget",
    help="Time such as 8h, 30m, 90s or 1h30m: say which cells fit, and how to run just these. "
    "Whole seeds come first; in a seed all shots, then all methods, then all tasks, each in the "
    "order of the run.",
)
@click.option(
    "--calibrate",
    "anew",
    is_flag=True,
    help="Time short trainings here, even where the result folder holds timings of this machine.",
)
@click.option(
    "--from-records",
    "records",
    type=click.Path(path_type=Path),
    help="Take the costs from this result folder of the same model, on whatever machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, help="Print the traceback of any error.")
@click.pass_context
def plan(
    context: click.Context,
    /,
    bundle: Path | None,
    out: Path,
    prompts: Path | None,
    workers: int,
    budget: str | None,
    anew: bool,
    records: Path | None,
    as_json: bool,
    **_: Any,
) -> None:
    """Estimate what `bench run` with the same options would take: steps, tokens, hours and disk.

    Costs come from finished trainings of the same model on this machine, or from short trainings
    made now. Nothing is written to the result folder.
    """
    from bench.runs.estimate.answer import answer, render
    from bench.runs.estimate.budget import parse_duration
    from bench.runs.grid import lay_out
    from bench.runs.results import ResultFolder

    if anew and records is not None:
        raise ConfigError("--calibrate and --from-records exclude each other: give one of them")
    if budget is not None and bundle is not None:
        raise ConfigError("--budget has no place beside --from, which repeats whole runs")
    seconds = None if budget is None else parse_duration(budget)
    folder = ResultFolder(out, prompts)
    grids = [
        lay_out(each.config, folder, overwrite_of(context)) for each in repetitions_of(context)
    ]

    def say(line: str) -> None:
        click.echo(line, err=True)

    def values_of(grid: Grid) -> dict[str, Any]:
        found = answer(grid, workers, say, seconds, anew, records)
        if "picked" in found:
            runs = found["picked"]["runs"]
            found["picked"]["commands"] = [
                shlex.join(run_command(context, options)) for options in runs
            ]
        return found

    answers = [values_of(grid) for grid in grids]
    if as_json:
        click.echo(json.dumps(answers[0] if len(answers) == 1 else answers, indent=1))
    else:
        click.echo("\n\n".join(render(values) for values in answers))
