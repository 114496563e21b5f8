"""The group of all commands, and what several commands share; imports nothing heavy."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click import Option

from bench.errors import ConfigError, UnknownNameError

COMMANDS = {
    "run": ("run", "Train and score a grid of runs, and print its table."),
    "plan": ("run", "Estimate steps, tokens, hours and disk of a grid."),
    "status": ("results", "Count runs of a result folder, and check its files."),
    "table": ("results", "Print the tables of a result folder."),
    "plot": ("results", "Draw the figures of a result folder."),
    "report": ("results", "Write a result folder as one page, or all that can be made of it."),
    "show": ("results", "Print one record, and the test examples answered wrong."),
    "list": ("files", "List tasks, suites, methods, models or prompts."),
    "data": ("files", "Check data against the tasks, or fetch it for offline use."),
    "export": ("files", "Write the prompt of a run as a PEFT adapter."),
    "import": ("files", "Put a prompt from elsewhere into the prompt store."),
    "doctor": ("files", "Check whether this machine can run the benchmark."),
}
"""Module and short help by command; the module is imported when the command is used."""

GONE = {
    "compare": "'bench table DIR --layout transfer'",
    "floors": "the method no_prompt; tables also have a row of the majority class",
    "verify": "'bench status DIR'",
    "freeze": "'bench run --config DIR/configs/NAME.yaml'",
    "prompts": "'bench list prompts DIR' or 'bench import'",
    "evaluate": "the method fixed:prompt=ID",
    "completion": 'click\'s: eval "$(_BENCH_COMPLETE=bash_source bench)"',
    "--from": "--config DIR/configs/NAME.yaml",
    "--budget": "fewer --seeds, --shots, --method or --task",
    "--source-prompt": "--set source_prompts.TASK=PROMPT",
    "--tokenizer": "a model folder that holds the tokenizer",
    "--pack": "--workers",
    "--address": "the environment variable RAY_ADDRESS",
    "--retry-failed": "--overwrite failed",
    "--cpus-per-cell": "--cpus-per-run",
    "--gpus-per-cell": "--gpus-per-run",
}
"""Commands and options of former versions, and what replaces them."""


def no_such(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Error for an unknown command or option: what replaces it, or the nearest names."""
    if name in GONE:
        return ConfigError(f"the {kind} {name} is gone: use {GONE[name]}")
    return UnknownNameError(kind, name, known)


class Group(click.Group):
    """All commands; an unknown name is answered with the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            importlib.import_module(f"bench.commands.{COMMANDS[cmd_name][0]}")
        elif not cmd_name.startswith("-") and not ctx.resilient_parsing:
            raise no_such("command", cmd_name, COMMANDS)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


@click.group(cls=Group, context_settings=SETTINGS)
@click.version_option(package_name="dtvg-bench", prog_name="bench")
def bench() -> None:
    """Benchmark multi-task prompt tuning: PT, SPoT, ATTEMPT, MPT and DTVG on a frozen model.

    Start with `bench run --suite glue --shots 16`: the smoke preset, with a bundled tiny model and
    bundled samples, takes minutes on two CPU cores. `bench run --preset paper --dry-run` shows what
    the published setting would train.
    """


def _use_plugins(context: click.Context, parameter: click.Parameter, files: Sequence[Path]) -> None:
    from bench.plugins import use_files

    if not context.resilient_parsing:  # Completion runs no code of plugins.
        use_files(files)


PATH = click.Path(path_type=Path)
FOLDER = click.Argument(["folder"], metavar="DIR", type=PATH)
JSON = Option(["--json", "as_json"], is_flag=True, help="Print JSON.")
OUT = Option(["--out"], type=PATH, default="out", help="Result folder.")
PROMPTS = Option(["--prompts"], type=PATH, help="Prompt store; default: prompts/ in the folder.")
SUITES = Option(["--suite", "suites"], multiple=True, help="Suite; may be repeated.")
TASKS = Option(["--task", "tasks"], multiple=True, help="Task; may be repeated.")
PLUGIN = Option(
    ["--plugin"],
    help="Python file with METHODS, TASKS or LOGGERS = {name: ...}; may be repeated.",
    multiple=True,
    type=PATH,
    is_eager=True,
    expose_value=False,
    callback=_use_plugins,
)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to stderr, one line each."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def print_json(values: object) -> None:
    """Print plain values as JSON."""
    click.echo(json.dumps(values, indent=1))
