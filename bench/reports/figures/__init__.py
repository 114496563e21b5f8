"""Figures of records, for print and for the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from bench.errors import RecordError, UnknownNameError
from bench.files import atomic_write
from bench.reports.figures import curves, maps, parameters
from bench.reports.figures.style import STYLE
from bench.reports.frame import Results

FIGURES: Mapping[str, Callable[[Results], Iterator[Figure]]] = {
    "few-shot": curves.few_shot,
    "groups": maps.groups,
    "learning-curves": curves.learning_curves,
    "parameters": parameters.parameters,
    "similarity": maps.similarity,
}
"""Each yields figures labelled with a name for files: one per setting with records for it."""

NEEDS = {
    "few-shot": "finished runs of two numbers of shots: run `bench run --shots 4,16,full`",
    "groups": "finished runs of DTVG: run `bench run --method dtvg`",
    "parameters": "a task that all methods finished with all seeds: `bench run --overwrite failed`",
    "similarity": "finished runs of DTVG: run `bench run --method dtvg`",
}


def make_figures(
    results: Results, names: Sequence[str] | None = None
) -> tuple[list[Figure], list[str]]:
    """Some or all figures, and a warning for each name without records for it."""
    figures: list[Figure] = []
    warnings = []
    for name in FIGURES if names is None else names:
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
        with matplotlib.style.context(STYLE):
            drawn = list(FIGURES[name](results))
            for figure in drawn:  # Laid out once, so that all files look alike.
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
        figures += drawn
        if not drawn:
            needs = NEEDS.get(name, "finished runs: see `bench status` for what failed")
            warnings.append(f"no figure {name}: {results.folder} lacks {needs}")
    return figures, warnings


def draw(
    results: Results,
    names: Sequence[str] | None,
    folder: Path,
    formats: Sequence[str] = ("pdf", "png"),
) -> tuple[list[Path], list[str]]:
    """Write figures to files, all without names; RecordError if none of them can be drawn."""
    figures, warnings = make_figures(results, names)
    if not figures:
        raise RecordError("; ".join(warnings))
    paths = []
    for figure in figures:
        for form in formats:
            paths.append(folder / f"{figure.get_label()}.{form}")
            atomic_write(paths[-1], image(figure, form))
    return paths, warnings


def image(figure: Figure, form: str, dpi: int = 200) -> bytes:
    """The file of a figure, without the time of writing: equal figures give equal bytes."""
    dates = {"CreationDate": None, "ModDate": None} if form == "pdf" else {"Software": None}
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(data, format=form, metadata=dates, dpi=dpi)
    return data.getvalue()
