"""The options that say what a run does, and what they come to: ``bench run``, ``bench plan``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.executors import workers_option
from bench.commands.names import (
    PRECISION,
    complete_methods,
    complete_suites,
    complete_tasks,
    plugin_option,
)
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.runs.bundle import Repetition

GRID = ("suites", "tasks", "methods", "shots", "seeds")
"""What spans the grid; as parameters of a command, and as keys of a configuration."""

_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--suite",
        "suites",
        multiple=True,
        shell_complete=complete_suites,
        help="Suite to run; may be repeated.",
    ),
    click.option(
        "--task",
        "tasks",
        multiple=True,
        shell_complete=complete_tasks,
        help="Task to run; may be repeated.",
    ),
    click.option(
        "--method",
        "methods",
        multiple=True,
        shell_complete=complete_methods,
        help="Method, as NAME or NAME:KEY=VALUE,... for a variant; may be repeated.",
    ),
    click.option(
        "--shots",
        "shots",
        multiple=True,
        help="Training examples in total per task, or 'full'; may be repeated or a comma list.",
    ),
    click.option("--seeds", help="Comma list of seeds, such as 42,43,44."),
    click.option(
        "--model",
        help="Bundled name (see 'bench list models'), folder, or hub id such as google-t5/t5-base.",
    ),
    click.option("--tokenizer", help="Folder or hub id of another tokenizer than the model's own."),
    click.option(
        "--precision",
        type=PRECISION,
        help="Of the frozen weights; prompts are float32.",
    ),
    click.option("--data", help="'bundled', 'hub', or a folder with <task>/<split>.parquet."),
    click.option("--preset", default="smoke", show_default=True, help="'smoke' or 'paper'."),
    click.option(
        "--config", "file", type=click.Path(path_type=Path), help="YAML file over the preset."
    ),
    click.option("--set", "items", multiple=True, help="KEY=VALUE, such as training.steps=100."),
    click.option(
        "--from",
        "bundle",
        type=click.Path(path_type=Path),
        help="Repeat the runs of a file that bench freeze wrote, in place of all options above but "
        "--model, --tokenizer and --data, which may say where these lie here.",
    ),
    plugin_option,
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path("out"),
        show_default=True,
        help="Result folder; a run continues what it finds there.",
    ),
    click.option(
        "--prompts",
        type=click.Path(path_type=Path),
        help="Prompt store to share between result folders (default: OUT/prompts).",
    ),
    click.option(
        "--source-prompt",
        "source_prompts",
        multiple=True,
        help="TASK=DIGEST: use this prompt of the store instead of training it; may be repeated.",
    ),
    click.option(
        "--overwrite",
        default="never",
        show_default=True,
        type=click.Choice(["never", "failed", "always"]),
        help="Which cells that have a record are run again.",
    ),
    click.option(
        "--retry-failed",
        is_flag=True,
        help="Run failed cells again: the same as --overwrite failed.",
    ),
)


def grid_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; a command gets them in its keywords, for :func:`repetitions_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def repetitions_of(context: click.Context) -> list[Repetition]:
    """The configurations that the options of a command ask for, one but with ``--from``.

    Raises:
        BenchError: they cannot be used, or not together.
    """
    from bench.config import load_config
    from bench.runs.bundle import Repetition, read_bundle, repetitions

    given = context.params
    values = _values(given)
    if given["bundle"] is None:
        return [Repetition(load_config(given["preset"], given["file"], values, given["items"]), ())]
    _refuse_beside_bundle(context)
    return repetitions(read_bundle(given["bundle"]), values)


def overwrite_of(context: click.Context) -> Any:
    """What ``--overwrite`` and ``--retry-failed`` say together.

    Raises:
        ConfigError: they contradict each other.
    """
    overwrite, retry_failed = context.params["overwrite"], context.params["retry_failed"]
    if retry_failed and overwrite == "always":
        raise ConfigError("--retry-failed and --overwrite always exclude each other")
    return "failed" if retry_failed else overwrite


def _values(options: dict[str, Any]) -> dict[str, Any]:
    """Given options as configuration values; naming tasks or suites replaces the preset's."""
    values: dict[str, Any] = {
        key: options[key]
        for key in ("model", "tokenizer", "precision", "data")
        if options[key] is not None
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
        *("precision", "preset", "file", "items", "source_prompts"),
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


def run_command(context: click.Context, block: Sequence[str]) -> list[str]:
    """The words of the ``bench run`` that does a part of a grid.

    Args:
        context: of a command with these options; what it was given is passed on, but what spans the
            grid.
        block: options that say which part.
    """
    from bench.plugins import files_in_use

    words = ["bench", "run", *block]
    for path in files_in_use():
        words += ["--plugin", str(path)]
    options = workers_option(grid_options(_nothing))
    passed_on = {parameter.name for parameter in click.command(options).params}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in passed_on.difference(GRID, {"plugin", "bundle"}):
            continue
        if source is click.core.ParameterSource.DEFAULT:
            continue
        value = context.params[name]
        if value is True:
            words.append(parameter.opts[0])
            continue
        for each in value if isinstance(value, tuple) else (value,):
            if not (name == "items" and each.partition("=")[0] in GRID):
                words += [parameter.opts[0], str(each)]
    return words


def _nothing(**_: Any) -> None:
    """A command without options of its own."""
