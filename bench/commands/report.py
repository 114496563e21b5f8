"""``bench report``: a result folder as one page, or all that can be made of it."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands.output import warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write one page: a file that opens in any browser and loads nothing from anywhere.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write every table in every format, every figure and the page into this folder.",
)
def report(folder: Path, html: Path | None, out: Path | None) -> None:
    """Write what there is to know of a result folder; the names of the files are printed."""
    from bench.registry import METHODS
    from bench.reports import load_results
    from bench.reports.everything import save_everything
    from bench.reports.html import save_report

    if html is None and out is None:
        raise click.UsageError("say what to write: --html FILE for one page, or --out FOLDER")
    results = load_results(folder)
    warn(results.warnings)
    order = tuple(METHODS)
    if html is not None:
        save_report(results, html, order)
        click.echo(html)
    if out is not None:
        for path in save_everything(results, out, order):
            click.echo(path)
