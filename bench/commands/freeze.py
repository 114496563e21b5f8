"""``bench freeze``: all that is behind a result folder, in one file."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands.output import warn


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, YAML or (if named .json) JSON (default: FOLDER/bundle.yaml).",
)
def freeze(folder: Path, output: Path | None) -> None:
    """Write what is behind a result folder into one file.

    It holds the configurations, the commands, the versions of all packages, the machine, and the
    digests of models, data and code. `bench run --from FILE` repeats the runs.
    """
    from bench.runs import bundle

    frozen = bundle.freeze(folder)
    warn(frozen.warnings)
    output = output or folder / "bundle.yaml"
    bundle.write_bundle(frozen.bundle, output)
    count = len(frozen.bundle.runs)
    click.echo(f"{count} run{'s' if count > 1 else ''} written to {output}", err=True)
