"""``bench doctor``: can this machine run the benchmark."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="The result folder that a run would write to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(out: Path, as_json: bool) -> None:
    """Look at versions, devices, threads, hub and folders, and train for a few seconds.

    Exit code 1 at any fault, which would make runs fail.
    """
    from bench.runs.doctor import examine

    found = []
    for finding in examine(out):
        found.append(finding)
        if not as_json:
            click.echo(f"{finding.state:<5} {finding.name}: {finding.text}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    if any(finding.state == "fault" for finding in found):
        sys.exit(1)
