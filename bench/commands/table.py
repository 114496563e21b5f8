"""``bench table``: the tables of a result folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.commands.names import complete_layouts
from bench.commands.output import format_option, warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@format_option
@click.option(
    "--layout",
    shell_complete=complete_layouts,
    help="A table of the paper: glue-superglue, mrqa-others, few-shot, nlg, ablation or "
    "parameters. Without it: one table of all tasks per setting.",
)
@click.option(
    "--spread",
    type=click.Choice(["std", "ci"]),
    help="What follows a mean: std, the standard deviation over seeds (default), or ci, the 95 % "
    "interval over test rows. Needs --layout.",
)
@click.option(
    "--published",
    is_flag=True,
    default=None,
    help="Put published numbers beside ours. Needs --layout.",
)
@click.option(
    "--marks/--no-marks",
    default=None,
    help="Mark scores that differ significantly from --against (default: where predictions are "
    "stored). Needs --layout.",
)
@click.option(
    "--against", help="Row to compare with (default: pt; dtvg in ablation). Needs --layout."
)
def table(folder: Path, form: Any, layout: str | None, **chosen: Any) -> None:
    """Print the tables of a result folder."""
    from bench.registry import METHODS
    from bench.reports import load_results, render_tables
    from bench.reports.paper import TableOptions, layout_sheets
    from bench.reports.sheets import render_sheets

    options = {name: value for name, value in chosen.items() if value is not None}
    if layout is None and options:
        raise click.UsageError(f"--{next(iter(options))} needs --layout NAME")
    results = load_results(folder)
    warn(results.warnings)
    order = tuple(METHODS)
    if layout is None:
        click.echo(render_tables(results, form, method_order=order))
        return
    sheets, warnings = layout_sheets(results, layout, TableOptions(**options), method_order=order)
    warn(warnings)
    click.echo(render_sheets(sheets, form), nl=False)
