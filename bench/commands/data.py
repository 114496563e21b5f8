"""``bench data``: is the data what the tasks declare, and is it in the cache of this machine?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from bench.commands.names import complete_suites, complete_tasks, plugin_option
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.data.check import TaskReport
    from bench.tasks import Task


@click.group()
def data() -> None:
    """Check data against the tasks, or fetch it from the hub for offline use."""


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both commands have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        plugin_option,
        click.option(
            "--task",
            "tasks",
            multiple=True,
            shell_complete=complete_tasks,
            help="Task; may be repeated.",
        ),
        click.option(
            "--suite",
            "suites",
            multiple=True,
            shell_complete=complete_suites,
            help="Suite; may be repeated. Default: all tasks.",
        ),
    ):
        command = option(command)
    return command


@data.command()
@_selection
@click.option(
    "--data",
    "place",
    default="hub",
    show_default=True,
    help="'hub', 'bundled', or a folder with <task>/<split>.parquet.",
)
def check(suites: tuple[str, ...], tasks: tuple[str, ...], place: str, as_json: bool) -> None:
    """Compare the data of each task with what the task declares.

    Loads every split at its pinned revision and checks columns, row counts (hub only), and that
    every row has a text and a valid answer. Exit code 1 if a task differs; all are reported.

    With HF_HUB_OFFLINE set, it looks only at the cache of this machine.
    """
    from bench.data import open_source
    from bench.data.check import check as check_tasks
    from bench.data.hub import offline

    source = open_source(place)
    chosen = _chosen(suites, tasks)
    if source.kind == "hub" and offline():
        click.echo("HF_HUB_OFFLINE is set: checking only the cache of this machine", err=True)
    _show(check_tasks(source, chosen), as_json, "as declared")


@data.command()
@_selection
def prefetch(suites: tuple[str, ...], tasks: tuple[str, ...], as_json: bool) -> None:
    """Load data from the hub into the cache of this machine (HF_HOME).

    The transfer methods also need the source tasks: add `--suite sources`. Exit code 1 if a task
    cannot be loaded or has other row counts than expected; all are reported.
    """
    from bench.data.check import prefetch as prefetch_tasks
    from bench.data.hub import offline

    if offline():
        raise ConfigError(
            "HF_HUB_OFFLINE is set, but fetching data needs the hub: unset it where there is "
            "network; 'bench data check' looks at what the cache of this machine holds"
        )
    _show(prefetch_tasks(_chosen(suites, tasks)), as_json, "in the cache")


def _chosen(suites: tuple[str, ...], tasks: tuple[str, ...]) -> list[Task]:
    """The tasks of the suites and the single ones, each once; all if none is named."""
    from bench.tasks import get_suite, get_task, list_tasks

    names = dict.fromkeys([*(name for suite in suites for name in get_suite(suite)), *tasks])
    return [get_task(name) for name in names] or list_tasks()


def _show(reports: Iterable[TaskReport], as_json: bool, well: str) -> None:
    """Print each report as it comes, or all of them as JSON; exit with 1 if one differs."""
    seen = []
    for report in reports:
        seen.append(report)
        if not as_json:
            click.echo(_lines(report))
    if as_json:
        click.echo(json.dumps([_plain(report) for report in seen], indent=1))
    faulty = sum(not report.ok for report in seen)
    if not as_json:
        click.echo(f"{len(seen) - faulty} of {len(seen)} tasks {well}, {faulty} not")
    if faulty:
        sys.exit(1)


def _lines(report: TaskReport) -> str:
    counts = ", ".join(f"{split} {rows}" for split, rows in report.rows.items())
    return "\n  ".join(
        [
            f"{'ok' if report.ok else 'differs':<8} {report.task:<14} {counts}".rstrip(),
            *(f"! {difference}" for difference in report.differences),
            *(f"note: {note}" for note in report.notes if note not in report.differences),
        ]
    )


def _plain(report: TaskReport) -> dict[str, Any]:
    return {
        "task": report.task,
        "ok": report.ok,
        "revision": report.revision,
        "rows": report.rows,
        "expected": dict(report.expected),
        "differences": report.differences,
        "notes": report.notes,
    }
