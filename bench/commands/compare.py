"""``bench compare``: whether transfer helps, and where it hurts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.commands.output import format_option, warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@format_option
@click.option(
    "--against", default="pt", show_default=True, help="Row that is subtracted from the others."
)
def compare(folder: Path, form: Any, against: str) -> None:
    """Print each method minus a reference: over all targets, and per target with its sources."""
    from bench.registry import METHODS
    from bench.reports import load_results
    from bench.reports.paper import comparison_sheets
    from bench.reports.sheets import render_sheets

    results = load_results(folder)
    warn(results.warnings)
    sheets, warnings = comparison_sheets(results, against, method_order=tuple(METHODS))
    warn(warnings)
    click.echo(render_sheets(sheets, form), nl=False)
