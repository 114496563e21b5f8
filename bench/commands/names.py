"""What is common to commands that take names: ``--plugin``, choices, and names to complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, get_args

import click
from click.shell_completion import CompletionItem

from bench.errors import BenchError
from bench.models.info import Precision

PRECISION: Final = click.Choice(get_args(Precision))
"""What ``--precision`` takes."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--plugin FILE.py``, whose files are in use before the command starts."""
    return click.option(
        "--plugin",
        multiple=True,
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_use_files,
        help="Python file with METHODS, TASKS or LOGGERS = {name: ...}; may be repeated.",
    )(command)


def _use_files(context: click.Context, parameter: click.Parameter, files: Iterable[Path]) -> None:
    from bench.plugins import use_files

    if not context.resilient_parsing:  # A shell that completes words runs no code of plugins.
        use_files(files)


def completing(names: Callable[[], Iterable[str]]) -> Complete:
    """Completion from names that are quick to find; none where a plugin is broken."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            return [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        except BenchError:
            return []

    return complete


def _tasks() -> Iterable[str]:
    from bench.tasks import task_names

    return task_names()


def _suites() -> Iterable[str]:
    from bench.tasks import SUITES

    return SUITES  # Those of plugins take loading all their tasks.


def _methods() -> Iterable[str]:
    from bench.registry import methods

    return methods()


def _loggers() -> Iterable[str]:
    from bench.runs.loggers import logger_names

    return logger_names()


def _layouts() -> Iterable[str]:
    from bench.reports.paper.layouts import LAYOUTS

    return LAYOUTS


complete_tasks = completing(_tasks)
complete_suites = completing(_suites)
complete_methods = completing(_methods)
complete_loggers = completing(_loggers)
complete_layouts = completing(_layouts)
