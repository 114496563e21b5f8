"""``bench plot``: the figures of a result folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bench.commands.names import completing
from bench.commands.output import warn

ALL = "all"


def _names() -> Iterable[str]:
    from bench.reports.figures import figure_names

    return [ALL, *figure_names()]


@click.command()
@click.argument("name", shell_complete=completing(_names))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the files go (default: FOLDER/figures).",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["pdf", "png"]),
    default=("pdf", "png"),
    show_default=True,
    help="File format; may be repeated.",
)
def plot(name: str, folder: Path, out: Path | None, formats: tuple[Any, ...]) -> None:
    """Draw the figure NAME, or all of them, from the records of a result folder.

    NAME is all, few-shot, groups, learning-curves, parameters or similarity. The names of the files
    are printed.
    """
    from bench.registry import METHODS
    from bench.reports import load_results
    from bench.reports.figures import (
        draw_figures,
        save_drawing,
    )

    results = load_results(folder)
    warn(results.warnings)
    figures = draw_figures(results, tuple(METHODS), None if name == ALL else [name])
    absent = list(figures.absent.values())
    if not figures.drawings:
        raise absent[0]
    for drawing in figures.drawings:
        for form in formats:
            click.echo(save_drawing(drawing, out or folder / "figures", form))
    warn(map(str, absent))
