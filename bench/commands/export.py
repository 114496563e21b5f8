"""``bench export``: the prompt of a cell for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands.folders import folder_options


@click.command()
@click.argument("cell")
@click.option(
    "--to", "form", default="peft", show_default=True, type=click.Choice(["peft"]), help="Format."
)
@click.argument("folder", type=click.Path(path_type=Path))
@folder_options
def export(cell: str, form: str, folder: Path, out: Path, store: Path | None) -> None:
    """Write the prompt of CELL to FOLDER as a PEFT adapter with a model card.

    CELL is the name of a record in OUT/records or the beginning of it, such as rte-dtvg-16-42, or
    the beginning of the cell's digest.
    `peft.PeftModel.from_pretrained(model, FOLDER)` loads the adapter. ATTEMPT's prompt depends on
    the input and cannot be exported.
    """
    from bench.interchange.exporting import export_peft
    from bench.runs.results import ResultFolder

    record = export_peft(ResultFolder(out, store), cell, folder)
    what = f"{record.cell.task} {record.cell.method.label} seed {record.cell.seed}"
    click.echo(f"{what}: adapter and model card in {folder}")
