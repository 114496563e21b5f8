"""``bench table``: the tables of a result folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.commands.output import warn


@click.command()
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
