"""One entry for all formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bench.reports import latex, machine, markdown
from bench.reports.frames import build_tables
from bench.reports.results import Results
from bench.reports.tables import Table

Format = Literal["markdown", "latex", "csv", "json"]

_RENDERERS: Mapping[Format, Callable[[Sequence[Table]], str]] = {
    "markdown": markdown.render,
    "latex": latex.render,
    "csv": machine.render_csv,
    "json": machine.render_json,
}

FORMATS: tuple[Format, ...] = tuple(_RENDERERS)


def render_tables(
    results: Results,
    format: Format = "markdown",
    *,
    tasks: Sequence[str] | None = None,
    method_order: Sequence[str] = (),
) -> str:
    """All tables of a results folder as text that ends with a newline.

    Equal records give equal text. See :func:`bench.reports.frames.build_tables` for the arguments.

    Raises:
        RecordError: there is no record to show.
    """
    return _RENDERERS[format](build_tables(results, tasks=tasks, method_order=method_order))


__all__ = ["FORMATS", "Format", "render_tables"]
