"""``bench report``: a result folder as one page."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands.output import warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--html",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write; it opens in any browser and loads nothing from anywhere.",
)
def report(folder: Path, html: Path) -> None:
    """Write tables, figures, warnings and every cell of a result folder into one HTML file."""
    from bench.registry import METHODS
    from bench.reports import load_results
    from bench.reports.html import save_report

    results = load_results(folder)
    warn(results.warnings)
    save_report(results, html, tuple(METHODS))
    click.echo(html)
