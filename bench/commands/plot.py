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
        MissingDataError,
        draw_figure,
        figure_names,
        save_drawing,
    )

    results = load_results(folder)
    warn(results.warnings)
    chosen = figure_names() if name == ALL else (name,)
    absent: list[MissingDataError] = []
    for figure in chosen:
        try:
            drawings = draw_figure(figure, results, tuple(METHODS))
        except MissingDataError as error:
            absent.append(error)
            continue
        for drawing in drawings:
            for form in formats:
                click.echo(save_drawing(drawing, out or folder / "figures", form))
    if len(absent) == len(chosen):
        raise absent[0]
    warn(map(str, absent))
