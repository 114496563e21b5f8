"""``bench run``: train and score a grid."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.executors import executor_of, executor_options
from bench.commands.grid_options import grid_options, overwrite_of, repetitions_of
from bench.commands.names import complete_loggers
from bench.commands.output import warn
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.runs.progress import Verbosity


@click.command()
@grid_options
@executor_options
@click.option("--dry-run", is_flag=True, help="Print every cell and what it needs; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON.")
@click.option(
    "--log",
    "loggers",
    multiple=True,
    shell_complete=complete_loggers,
    help="'tensorboard' or a logger of a plugin, writing to OUT/logs; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the final table.")
@click.option("--verbose", is_flag=True, help="Print one more line per evaluation.")
@click.option("--print-config", is_flag=True, help="Print the merged configuration as YAML.")
@click.option("--debug", is_flag=True, help="Print the traceback of any error.")
@click.pass_context
def run(
    context: click.Context,
    /,
    bundle: Path | None,
    out: Path,
    prompts: Path | None,
    dry_run: bool,
    as_json: bool,
    print_config: bool,
    loggers: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    debug: bool,
    **_: Any,
) -> None:
    """Train and score every cell of a grid, then print its table.

    Finished cells are never trained again; a killed run continues when the same command is given.
    """
    from bench.config import dump_config
    from bench.registry import METHODS
    from bench.reports import load_results, render_tables
    from bench.runs.bundle import compare
    from bench.runs.grid import lay_out
    from bench.runs.loggers import require_loggers
    from bench.runs.overview import overview, render_overview
    from bench.runs.results import ResultFolder
    from bench.training.stopping import Stop

    if quiet and verbose:
        raise ConfigError("--quiet and --verbose exclude each other: give one of them")
    overwrite = overwrite_of(context)
    require_loggers(loggers)
    executor = executor_of(context)
    repeated = repetitions_of(context)
    if print_config:
        click.echo("---\n".join(dump_config(each.config) for each in repeated))
        return
    folder = ResultFolder(out, prompts)
    grids = [lay_out(each.config, folder, overwrite) for each in repeated]
    if bundle is not None and not quiet:
        pairs = zip(repeated, grids, strict=True)
        lines = list(dict.fromkeys(line for pair in pairs for line in compare(*pair)))
        for line in lines or ["nothing"]:
            click.echo(f"differs from {bundle}: {line}", err=True)
    if dry_run:
        views = [overview(grid) for grid in grids]
        texts = map(render_overview, views)
        plain = views[0] if len(views) == 1 else views
        click.echo(json.dumps(plain, indent=1) if as_json else "\n\n".join(texts))
        return
    verbosity: Verbosity = "quiet" if quiet else "verbose" if verbose else "normal"
    finished = 0
    stop = Stop()
    for number, grid in enumerate(grids):
        if number:  # Those before may have done some of its cells.
            grid = lay_out(repeated[number].config, folder, overwrite)
        with stop.on_signals():
            outcome = executor.run(grid, stop, loggers, verbosity, debug)
        finished += len(outcome.finished)
    wanted = {cell.digest for grid in grids for cell in grid.plan.cells}
    results = load_results(out).only(wanted)
    # Those too that failed in another process, or before a run that was stopped went on.
    failed = sum(record.status == "failed" for record in results.records)
    if not quiet:
        done = len(wanted) - finished - failed
        click.echo(
            f"{finished} cells finished, {done} found done, {failed} failed; "
            f"records in {folder.records}",
            err=True,
        )
        warn(results.warnings)
    click.echo(render_tables(results, "markdown", method_order=tuple(METHODS)))
    if failed:
        sys.exit(1)
