"""``bench list``: tasks, suites, methods and bundled models."""

from __future__ import annotations

import json
from typing import Any

import click

from bench.commands.names import plugin_option


@click.command("list")
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


def _shown(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
