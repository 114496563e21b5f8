"""The command line: parse, call, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import shlex
import sys

import click

from bench.commands.compare import compare
from bench.commands.completion import completion
from bench.commands.data import data
from bench.commands.doctor import doctor
from bench.commands.evaluate import evaluate
from bench.commands.export import export
from bench.commands.floors import floors
from bench.commands.freeze import freeze
from bench.commands.listing import list_
from bench.commands.plan import plan
from bench.commands.plot import plot
from bench.commands.prompts import prompts
from bench.commands.report import report
from bench.commands.run import run
from bench.commands.show import show
from bench.commands.status import status
from bench.commands.table import table
from bench.commands.verify import verify
from bench.errors import BenchError, StopRequested

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dtvg-bench", prog_name="bench")
def cli() -> None:
    """Benchmark multi-task prompt tuning: PT, SPoT, ATTEMPT, MPT and DTVG on a frozen model.

    Start with `bench run --suite glue --shots 16`: the smoke preset, with a bundled tiny model and
    bundled samples, takes minutes on two CPU cores. `bench run --preset paper --dry-run` shows what
    the published setting would train.
    """


cli.add_command(compare)
cli.add_command(completion)
cli.add_command(data)
cli.add_command(doctor)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(floors)
cli.add_command(freeze)
cli.add_command(list_)
cli.add_command(plan)
cli.add_command(plot)
cli.add_command(prompts)
cli.add_command(report)
cli.add_command(run)
cli.add_command(show)
cli.add_command(status)
cli.add_command(table)
cli.add_command(verify)


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
    except StopRequested as stop:
        command = shlex.join(["bench", *sys.argv[1:]])
        _fail(f"{stop}; what is done is kept, to continue give again: {command}", stop.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; give the same command again to continue", INTERRUPTED)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code if code != 1 else 2)


if __name__ == "__main__":
    main()
