"""``bench status``: how far the runs of a result folder are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from bench.commands.folders import store_option
from bench.commands.output import warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(folder: Path, store: Path | None, as_json: bool) -> None:
    """Print which cells of a result folder are done, running, waiting and failed."""
    from bench.runs.results import ResultFolder
    from bench.runs.status import status as look

    found = look(ResultFolder(folder, store))
    warn(found.warnings)
    failed = {
        record.file_name: "" if record.error is None else record.error.message
        for record in found.failed
    }
    if as_json:
        values = {
            "done": found.done,
            "running": [
                {"kind": each.kind, **asdict(each.note), "silent_seconds": each.silent}
                for each in found.running
            ],
            "waiting": found.waiting,
            "failed": failed,
        }
        click.echo(json.dumps(values, indent=1))
        return
    click.echo(f"done: {found.done} cells")
    click.echo(f"running: {len(found.running)}")
    for each in found.running:
        click.echo(f"  {each.describe()}")
    click.echo(f"waiting: {len(found.waiting)} cells")
    click.echo(f"failed: {len(failed)} cells")
    for name, message in failed.items():
        click.echo(f"  {name}: {message}")
