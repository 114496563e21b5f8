"""``bench show``: one cell, and what it got wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands.names import plugin_option
from bench.commands.output import warn
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.predictions import Predictions
    from bench.records import Record


@click.command()
@click.argument("cell")
@click.option("--errors", is_flag=True, help="Also print the test examples answered wrong.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Result folder.",
)
@plugin_option
def show(cell: str, errors: bool, out: Path) -> None:
    """Print the record of CELL: scores, curves, diagnostics and where it was made.

    CELL is the file of a record; or the name of a record in the result folder or the beginning of
    it, such as rte-dtvg-16-42; or the beginning of the cell's digest.

    The inputs of wrong examples come from the data source of the record, if it is at hand.
    """
    from bench.predictions import load_predictions
    from bench.records import find_record, read_record, records_folder
    from bench.reports.cell import render_cell, render_errors

    file = Path(cell)
    folder = file.parent if file.is_file() else records_folder(out)
    record = read_record(file) if file.is_file() else find_record(folder, cell)
    if not errors:
        click.echo(render_cell(record), nl=False)
        return
    predictions = load_predictions(folder, record)
    click.echo(render_cell(record))
    click.echo(render_errors(predictions, _inputs(record, predictions)), nl=False)


def _inputs(record: Record, predictions: Predictions) -> list[str] | None:
    """The texts behind the predictions, or a warning why they cannot be had."""
    from bench.runs.inputs import inputs_of

    try:
        return inputs_of(record, predictions)
    except BenchError as error:
        warn([f"inputs are not shown: {error}"])
        return None
