"""The command line: parse, call, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bench.commands.evaluate import evaluate
from bench.commands.export import export
from bench.commands.prompts import prompts
from bench.errors import BenchError, ConfigError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dtvg-bench", prog_name="bench")
def cli() -> None:
    """Benchmark multi-task prompt tuning: PT, SPoT, ATTEMPT, MPT and DTVG on a frozen model.

    Start with `bench run --suite glue --shots 16`: the smoke preset, with a bundled tiny model and
    bundled samples, takes minutes on two CPU cores. `bench run --preset paper --dry-run` shows what
    the published setting would train.
    """


@cli.command()
@click.option("--suite", "suites", multiple=True, help="Suite to run; may be repeated.")
@click.option("--task", "tasks", multiple=True, help="Task to run; may be repeated.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Method, as NAME or NAME:KEY=VALUE,... for a variant; may be repeated.",
)
@click.option(
    "--shots",
    "shots",
    multiple=True,
    help="Training examples in total per task, or 'full'; may be repeated or a comma list.",
)
@click.option("--seeds", help="Comma list of seeds, such as 42,43,44.")
@click.option("--model", help="'tiny', a folder, or a hub id such as google-t5/t5-base.")
@click.option("--tokenizer", help="Folder or hub id of another tokenizer than the model's own.")
@click.option("--data", help="'bundled', 'hub', or a folder with <task>/<split>.parquet.")
@click.option("--preset", default="smoke", show_default=True, help="'smoke' or 'paper'.")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="YAML file over the preset."
)
@click.option("--set", "items", multiple=True, help="KEY=VALUE, such as training.steps=100.")
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
@click.option("--dry-run", is_flag=True, help="Print every cell and what it needs; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON.")
@click.option("--print-config", is_flag=True, help="Print the merged configuration as YAML.")
@click.option("--debug", is_flag=True, help="Print the traceback of any error.")
def run(
    file: Path | None,
    preset: str,
    items: tuple[str, ...],
    out: Path,
    prompts: Path | None,
    overwrite: Any,
    dry_run: bool,
    as_json: bool,
    print_config: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Train and score every cell of a grid, then print its table.

    Finished cells are never trained again; a killed run continues when the same command is given.
    """
    from bench.config import dump_config, load_config
    from bench.registry import METHODS
    from bench.reports import load_results, render_tables
    from bench.runs.grid import execute, lay_out
    from bench.runs.overview import overview, render_overview
    from bench.runs.results import ResultFolder

    config = load_config(preset, file, _run_options(options), items)
    if print_config:
        click.echo(dump_config(config))
        return
    folder = ResultFolder(out, prompts)
    grid = lay_out(config, folder, overwrite)
    if dry_run:
        values = overview(grid)
        click.echo(json.dumps(values, indent=1) if as_json else render_overview(values))
        return
    outcome = execute(grid, debug)
    done = len(grid.plan.cells) - len(grid.work.cells)
    click.echo(
        f"{len(outcome.finished)} cells finished, {done} found done, {len(outcome.failed)} failed; "
        f"records in {folder.records}",
        err=True,
    )
    results = load_results(out)
    _warn(results.warnings)
    wanted = {cell.digest for cell in grid.plan.cells}
    click.echo(render_tables(results.only(wanted), "markdown", method_order=tuple(METHODS)))
    if outcome.failed:
        sys.exit(1)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default="markdown",
    show_default=True,
    type=click.Choice(["markdown", "latex", "csv", "json"]),
)
def table(folder: Path, form: Any) -> None:
    """Print the tables of a result folder."""
    from bench.registry import METHODS
    from bench.reports import load_results, render_tables

    results = load_results(folder)
    _warn(results.warnings)
    click.echo(render_tables(results, form, method_order=tuple(METHODS)))


@cli.command("list")
@click.argument("kind", type=click.Choice(["tasks", "suites", "methods", "models"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str, as_json: bool) -> None:
    """List tasks, suites, methods or bundled models."""
    from bench.listing import LISTINGS

    rows = LISTINGS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    shown = [{k: _shown(v) for k, v in row.items()} for row in rows]
    click.echo(tabulate(shown, headers="keys", tablefmt="simple", maxcolwidths=60))


cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(prompts)


def main() -> None:
    """Entry point: a user's error is one line and exit code 2; others keep their traceback."""
    try:
        cli.main(sys.argv[1:] or ["--help"], standalone_mode=False)
    except click.ClickException as error:
        _fail(" ".join(error.format_message().split()), error.exit_code)
    except BenchError as error:
        if "--debug" in sys.argv:
            raise
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; give the same command again to continue", INTERRUPTED)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code if code != 1 else 2)


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


def _shown(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


if __name__ == "__main__":
    main()
