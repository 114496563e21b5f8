"""``bench run``: train and score a grid."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.executors import executor_options, take_executor
from bench.commands.names import (
    complete_loggers,
    complete_methods,
    complete_suites,
    complete_tasks,
    plugin_option,
)
from bench.commands.output import warn
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.runs.progress import Verbosity


@click.command()
@click.option(
    "--suite",
    "suites",
    multiple=True,
    shell_complete=complete_suites,
    help="Suite to run; may be repeated.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    shell_complete=complete_tasks,
    help="Task to run; may be repeated.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    shell_complete=complete_methods,
    help="Method, as NAME or NAME:KEY=VALUE,... for a variant; may be repeated.",
)
@click.option(
    "--shots",
    "shots",
    multiple=True,
    help="Training examples in total per task, or 'full'; may be repeated or a comma list.",
)
@click.option("--seeds", help="Comma list of seeds, such as 42,43,44.")
@click.option(
    "--model",
    help="Bundled name (see 'bench list models'), folder, or hub id such as google-t5/t5-base.",
)
@click.option("--tokenizer", help="Folder or hub id of another tokenizer than the model's own.")
@click.option("--data", help="'bundled', 'hub', or a folder with <task>/<split>.parquet.")
@click.option("--preset", default="smoke", show_default=True, help="'smoke' or 'paper'.")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="YAML file over the preset."
)
@click.option("--set", "items", multiple=True, help="KEY=VALUE, such as training.steps=100.")
@click.option(
    "--from",
    "bundle",
    type=click.Path(path_type=Path),
    help="Repeat the runs of a file that bench freeze wrote, in place of all options above but "
    "--model, --tokenizer and --data, which may say where these lie here.",
)
@plugin_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Result folder; a run continues what it finds there.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="Prompt store to share between result folders (default: OUT/prompts).",
)
@click.option(
    "--source-prompt",
    "source_prompts",
    multiple=True,
    help="TASK=DIGEST: use this prompt of the store instead of training it; may be repeated.",
)
@click.option(
    "--overwrite",
    default="never",
    show_default=True,
    type=click.Choice(["never", "failed", "always"]),
    help="Which cells that have a record are run again.",
)
@click.option(
    "--retry-failed", is_flag=True, help="Run failed cells again: the same as --overwrite failed."
)
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
    file: Path | None,
    preset: str,
    items: tuple[str, ...],
    bundle: Path | None,
    out: Path,
    prompts: Path | None,
    overwrite: Any,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    print_config: bool,
    loggers: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Train and score every cell of a grid, then print its table.

    Finished cells are never trained again; a killed run continues when the same command is given.
    """
    from bench.config import dump_config, load_config
    from bench.registry import METHODS
    from bench.reports import load_results, render_tables
    from bench.runs.bundle import Repetition, compare, read_bundle, repetitions
    from bench.runs.grid import lay_out
    from bench.runs.loggers import require_loggers
    from bench.runs.overview import overview, render_overview
    from bench.runs.results import ResultFolder
    from bench.training.stopping import Stop

    if quiet and verbose:
        raise ConfigError("--quiet and --verbose exclude each other: give one of them")
    if retry_failed:
        if overwrite == "always":
            raise ConfigError("--retry-failed and --overwrite always exclude each other")
        overwrite = "failed"
    require_loggers(loggers)
    executor = take_executor(context, options)
    values = _run_options(options)
    if bundle is None:
        repeated = [Repetition(load_config(preset, file, values, items), ())]
    else:
        _refuse_beside_bundle(context)
        repeated = repetitions(read_bundle(bundle), values)
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
    finished, failed = 0, 0
    stop = Stop()
    for number, grid in enumerate(grids):
        if number:  # Those before may have done some of its cells.
            grid = lay_out(repeated[number].config, folder, overwrite)
        with stop.on_signals():
            outcome = executor.run(grid, stop, loggers, verbosity, debug)
        finished, failed = finished + len(outcome.finished), failed + len(outcome.failed)
    wanted = {cell.digest for grid in grids for cell in grid.plan.cells}
    results = load_results(out)
    if not quiet:
        done = len(wanted) - finished - failed
        click.echo(
            f"{finished} cells finished, {done} found done, {failed} failed; "
            f"records in {folder.records}",
            err=True,
        )
        warn(results.warnings)
    click.echo(render_tables(results.only(wanted), "markdown", method_order=tuple(METHODS)))
    if failed:
        sys.exit(1)


def _run_options(options: dict[str, Any]) -> dict[str, Any]:
    """Given options as configuration values; naming tasks or suites replaces the preset's."""
    values: dict[str, Any] = {
        key: options[key] for key in ("model", "tokenizer", "data") if options[key] is not None
    }
    if options["suites"] or options["tasks"]:
        values["suites"], values["tasks"] = list(options["suites"]), list(options["tasks"])
    if options["methods"]:
        values["methods"] = list(options["methods"])
    if options["shots"]:
        values["shots"] = [_number(word) for text in options["shots"] for word in text.split(",")]
    if options["source_prompts"]:
        values["source_prompts"] = dict(map(_pair, options["source_prompts"]))
    if options["seeds"] is not None:
        values["seeds"] = [_number(word) for word in options["seeds"].split(",")]
    return values


def _refuse_beside_bundle(context: click.Context) -> None:
    """The options that say what to run have no place beside ``--from``."""
    for name in (
        *("suites", "tasks", "methods", "shots", "seeds"),
        *("preset", "file", "items", "source_prompts"),
    ):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            parameter = next(p for p in context.command.params if p.name == name)
            raise ConfigError(
                f"{parameter.opts[0]} has no place beside --from, which says what to run: "
                "leave one of them out"
            )


def _pair(item: str) -> tuple[str, str]:
    task, equals, digest = item.partition("=")
    if not equals:
        raise ConfigError(f"--source-prompt {item}: expected TASK=DIGEST")
    return task, digest


def _number(word: str) -> int | str:
    """An integer where the word is one; else the word, for the configuration to judge."""
    try:
        return int(word)
    except ValueError:
        return word.strip()
