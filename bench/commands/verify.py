"""``bench verify``: is a result folder whole."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.commands.folders import store_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@store_option
def verify(folder: Path, store: Path | None) -> None:
    """Check every digest, schema and dependency of a result folder; exit code 1 at any fault.

    Nothing is changed: the next run repairs what its cells need.
    """
    from bench.runs.results import ResultFolder
    from bench.runs.verify import verify as check

    counts, faults = check(ResultFolder(folder, store))
    for fault in faults:
        click.echo(fault)
    read = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    click.echo(f"{read} read, {len(faults)} faults", err=True)
    if faults:
        sys.exit(1)
