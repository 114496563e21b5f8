"""The command line: parse, call, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bench.commands.completion import completion
from bench.commands.data import data
from bench.commands.evaluate import evaluate
from bench.commands.export import export
from bench.commands.freeze import freeze
from bench.commands.names import plugin_option
from bench.commands.output import warn
from bench.commands.prompts import prompts
from bench.commands.run import run
from bench.errors import BenchError

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
    warn(results.warnings)
    click.echo(render_tables(results, form, method_order=tuple(METHODS)))


@cli.command("list")
@click.argument("kind", type=click.Choice(["tasks", "suites", "methods", "models"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def list_(kind: str, as_json: bool) -> None:
    """List tasks, suites, methods or bundled models."""
    from bench.listing import LISTINGS

    rows = LISTINGS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    columns = dict.fromkeys(column for row in rows for column in row)
    shown = [{column: _shown(row.get(column, "")) for column in columns} for row in rows]
    click.echo(tabulate(shown, headers="keys", tablefmt="simple", maxcolwidths=60))


cli.add_command(completion)
cli.add_command(data)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(freeze)
cli.add_command(prompts)
cli.add_command(run)


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


def _shown(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
