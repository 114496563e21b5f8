"""Tables as text: for terminals, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.reports import printable, render
from bench.reports.frame import BETTER, WORSE, Cell, Column
from bench.reports.layouts import DASH, display

if TYPE_CHECKING:
    from rich.table import Table as Grid

_LATEX = str.maketrans(
    {char: "\\" + char for char in "{}&%$#_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}"}
    | {BETTER: r"$\dagger$", WORSE: r"$\ddagger$", "…": r"\dots{}", "±": r"$\pm$", DASH: "--"}
)


@dataclass(frozen=True)
class Line:
    """One row of a table: its label and a cell per column.

    ``kind`` is method, untrained, majority, published, summary or target.
    """

    label: str
    cells: list[Cell]
    kind: str

    @property
    def is_baseline(self) -> bool:
        """Whether the row is a baseline without training."""
        return self.kind in ("untrained", "majority")


@dataclass(frozen=True)
class Table:
    """A table of any layout; ``setting`` is JSON-ready, ``corner`` heads the label column."""

    name: str
    title: str
    caption: str
    notes: Sequence[str]
    setting: Mapping[str, Any]
    columns: Sequence[Column]
    lines: Sequence[Line]
    corner: str = "method"

    @property
    def heading(self) -> str:
        """Title and caption."""
        return f"{self.title}: {self.caption}".removeprefix(": ")

    def parts(self, text: Callable[[Cell], str], room: int) -> list[list[int]]:
        """Indices of columns that fit side by side; splits a suite only if it is too wide alone."""
        parts: list[list[int]] = [[]]
        widths: dict[int, int] = {}
        for index, column in enumerate(self.columns):
            texts = [*column.heads, *(text(line.cells[index]) for line in self.lines)]
            widths[index] = 2 + max(map(len, "\n".join(texts).split("\n")))
        for _, suite in groupby(widths, key=lambda index: self.columns[index].group):
            together = [*suite]
            for index in tuple(together):
                if sum(widths[member] for member in (*parts[-1], *together)) > room:
                    parts.append([])
                parts[-1].append(index)
                together = [index]
        return [part for part in parts if part]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """One entry per field, with full precision and the shown text."""
        return [
            {"row": line.label, "kind": line.kind, "group": column.group, "column": column.title}
            | {"column_kind": column.kind, "metric": column.metric}
            | {key: value for key, value in cell.items() if key != "by_seed"}
            for line in self.lines
            for column, cell in zip(self.columns, line.cells, strict=True)
        ]


def _markdown(tables: Sequence[Table]) -> str:
    parts = []
    for number, table in enumerate(tables, 1):
        heads = [display(table.corner), *(" ".join(column.heads) for column in table.columns)]
        rows = [[_escape(display(line.label)), *map(_field, line.cells)] for line in table.lines]
        body = pd.DataFrame(rows, columns=[_escape(head) for head in heads])
        align = ["left"] + ["right"] * len(table.columns)
        text = body.to_markdown(index=False, disable_numparse=True, colalign=align)
        parts.append(f"**Table {number}.** {_escape(table.heading)}\n\n{text}\n")
        if table.notes:
            parts.append("".join(f"- {_escape(note)}\n" for note in table.notes))
    return "\n".join(parts)


def _field(cell: Cell) -> str:
    bold = "**" if cell.get("best") else ""
    number = bold + _escape(cell.get("number", DASH)) + bold + cell.get("mark", "")
    return " ".join([number, *(_escape(cell[key]) for key in ("after", "note") if cell.get(key))])


def _escape(text: str) -> str:
    plain = " ".join(text.split())
    plain = re.sub(r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain)
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in plain)


def _terminal(tables: Sequence[Table]) -> str:
    """Coloured tables as wide as the terminal; suites that do not fit follow below."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns
    data = io.StringIO()
    console = Console(file=data, width=width, force_terminal=True, highlight=False, markup=False)
    for number, table in enumerate(tables):
        console.print(("\n" if number else "") + printable(table.heading), style="italic")
        for grid in _grids(table, width):
            console.print(grid)
        if any(line.kind == "published" for line in table.lines):
            for note in table.notes:
                console.print(printable(note), style="dim")
    return data.getvalue()


def _grids(table: Table, width: int) -> Iterator[Grid]:
    """Parts of a table that fit the width, split between suites."""
    from rich.table import Table as Grid
    from rich.text import Text

    def text(cell: Cell) -> Text:
        number = printable(cell.get("number", DASH) + cell.get("mark", ""))
        below = (cell.get("after", "").replace(" ", ""), cell.get("note", ""))
        small = [(f"\n{printable(note)}", "dim") for note in below if note]
        return Text.assemble((number, "bold green" if cell.get("best") else ""), *small)

    labels = [printable(display(line.label)) for line in table.lines]
    corner = min(max(map(len, [*labels, table.corner])), max(16, width // 3))
    for part in table.parts(lambda cell: text(cell).plain, width - corner):
        grid = Grid(box=None, padding=(0, 0, 0, 2), pad_edge=False)
        grid.add_column(display(table.corner), vertical="top", width=corner, overflow="fold")
        for index in part:
            head = Text("\n".join(printable(head) for head in table.columns[index].heads if head))
            grid.add_column(head, justify="right", no_wrap=True)
        for number, line in enumerate(table.lines):
            if line.is_baseline and number and not table.lines[number - 1].is_baseline:
                grid.add_row()
            grid.add_row(labels[number], *(text(line.cells[index]) for index in part))
        yield grid


def _latex(tables: Sequence[Table], standalone: bool = False) -> str:
    """LaTeX table floats for inclusion, scaled to the text width; or a complete document."""
    tools: dict[str, Any] = {"tex": _escape_latex, "display": display, "parts": _latex_parts}
    return render("table.tex.jinja", tables=tables, standalone=standalone, **tools) + "\n"


def _latex_parts(table: Table) -> list[list[int]]:
    """Indices of columns that fit side by side at a readable size."""
    room = 176 - max(len(display(line.label)) for line in table.lines)
    return table.parts(lambda cell: cell.get("number", DASH) + cell.get("after", "")[2:], room)


def _escape_latex(text: str) -> str:
    plain = " ".join(text.split()).translate(_LATEX)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", plain)


_CSV_VALUES = ("mean", "difference", "value", "p_value", "number")
_CSV_EXTRAS = ("std", "ci_low", "ci_high", "mark", "note")


def _csv(tables: Sequence[Table]) -> str:
    """One row per table row and one column per task; table number and setting at the end."""
    by_heads: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for number, table in enumerate(tables, 1):
        heads = []
        for column in table.columns:
            group = "" if column.tasks == (column.title,) else column.group
            heads.append(f"{group} {column.title}".strip())
        for line in table.lines:
            row: dict[str, Any] = {table.corner: line.label}
            for head, cell in zip(heads, line.cells, strict=True):
                values = [cell[key] for key in _CSV_VALUES if key in cell]
                row[head] = values[0] if values else None
                row |= {f"{head} {name}": cell[name] for name in _CSV_EXTRAS if name in cell}
            rows = by_heads.setdefault((table.corner, *heads), [])
            rows.append(row | {"table": number, **table.setting})
    return "\n".join(pd.DataFrame(rows).to_csv(index=False) for rows in by_heads.values())


def _tidy_csv(tables: Sequence[Table]) -> str:
    rows = [
        {"table": number, "title": table.title, **table.setting, **field}
        for number, table in enumerate(tables, 1)
        for field in table.fields
    ]
    return str(pd.DataFrame(rows).to_csv(index=False))


def _json(tables: Sequence[Table]) -> str:
    names = ("title", "caption", "notes", "setting", "fields")
    content = [{name: getattr(table, name) for name in names} for table in tables]
    return json.dumps({"tables": content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMS: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "latex": _latex,
    "latex-document": partial(_latex, standalone=True),
    "csv": _csv,
    "tidy-csv": _tidy_csv,
    "json": _json,
}
