"""Command group and shared options of the command line; imports nothing heavy."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import click
from click import Option, Parameter

from bench import __version__
from bench.errors import ConfigError, UnknownNameError
from bench.files import home_path

COMMANDS = {  # Module and short help; the module is imported when the command is used.
    "run": ("run", "Train and score a grid of runs, and print its table."),
    "plan": ("run", "Estimate steps, tokens, hours and disk of a grid."),
    "status": ("results", "Count runs of a result folder, and check its files."),
    "table": ("results", "Print the tables of a result folder."),
    "plot": ("results", "Draw the figures of a result folder."),
    "report": ("results", "Write a result folder as one page, or export all tables and figures."),
    "show": ("results", "Print one record, and the test examples answered wrong."),
    "list": ("files", "List tasks, suites, methods, models or prompts."),
    "data": ("files", "Check data against the tasks, or fetch it for offline use."),
    "export": ("files", "Write the prompt of a run as a PEFT adapter."),
    "import": ("files", "Import a PEFT adapter or a prompt file into the prompt store."),
    "doctor": ("files", "Check whether this machine can run the benchmark."),
}


class Group(click.Group):
    """Command group that suggests the nearest name for an unknown command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            importlib.import_module(f"bench.commands.{COMMANDS[cmd_name][0]}")
        elif not cmd_name.startswith("-") and not ctx.resilient_parsing:
            raise UnknownNameError("command", cmd_name, COMMANDS)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__, prog_name="bench")
def bench() -> None:
    """Benchmark multi-task prompt tuning: PT, SPoT, ATTEMPT, MPT and DTVG on a frozen model.

    Start with `bench run --suite glue --shots 16`: the smoke preset, with a bundled tiny model and
    bundled samples, takes minutes on two CPU cores. `bench run --preset paper --dry-run` shows what
    the setting of the papers would train.
    """


def _use_plugins(context: click.Context, parameter: Parameter, files: Sequence[Path]) -> None:
    from bench.plugins import use_files

    if not context.resilient_parsing:  # Shell completion runs no plugin code.
        use_files(files)


class ListOption(Option):
    """Repeatable option with values split at commas; ``KEY=VALUE`` joins the value before it.

    For example, ``pt,dtvg:grouping=all,scales=off`` has two values.
    """

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        super().__init__(names, **options, multiple=True)

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        pieces = [piece for text in value or () for piece in re.split(r",(?![^,:=]*=)", text)]
        pieces = [piece.strip() for piece in pieces]
        if "" in pieces:
            raise ConfigError(f"{self.opts[0]}: a value is empty (given: {','.join(value)!r})")
        return super().type_cast_value(ctx, pieces)


TITLES = {  # Section titles of the help, by the first option of each section.
    "suites": "Grid",
    "model": "Model and data",
    "preset": "Configuration",
    "overwrite": "Execution",
    "dry_run": "Messages",
    "out": "Folders",
}


class Sections(click.Command):
    """A command whose help shows its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections, title = defaultdict[str, list[tuple[str, str]]](list), ""
        for parameter in self.get_params(ctx):
            title = TITLES.get(str(parameter.name), title)
            sections[title] += filter(None, [parameter.get_help_record(ctx)])
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class _Path(click.Path):
    """Path with ``~`` expanded, as shells do not expand it in ``--out=~/x``."""

    def convert(self, value: Any, param: Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a path (given: '')", param, ctx)
        return super().convert(home_path(value), param, ctx)


PATH = _Path(path_type=Path)
FOLDER = click.Argument(["folder"], metavar="DIR", type=PATH)
RUN = "RUN is a record name or id, or the beginning of either, such as rte-dtvg-16-42."
JSON = Option(["--json", "as_json"], is_flag=True, help="Print JSON.")
OUT = Option(["--out"], type=PATH, default="out", help="Result folder.")
PROMPTS = Option(["--prompts"], type=PATH, help="Prompt store; default: prompts/ in DIR or OUT.")
SUITES = ListOption(["--suite", "suites"], help="Suites: glue,superglue.")
TASKS = ListOption(["--task", "tasks"], help="Tasks: cb,rte.")
PLUGIN = ListOption(
    ["--plugin"],
    help="Python files with METHODS, TASKS or LOGGERS, or YAML files of tasks.",
    type=PATH,
    is_eager=True,
    expose_value=False,
    callback=_use_plugins,
)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to stderr, one line each."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def terminal_form() -> Literal["terminal", "markdown"]:
    """Format of tables on standard output: ``terminal`` on a terminal, else ``markdown``."""
    return "terminal" if sys.stdout.isatty() else "markdown"


def print_json(values: object) -> None:
    """Print plain values as JSON."""
    click.echo(json.dumps(values, indent=1))
