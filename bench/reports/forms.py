"""Tables as text: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.reports.layouts import DASH
from bench.reports.scores import Column, Line

_LATEX = str.maketrans(
    {char: "\\" + char for char in "{}&%$#_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "±": r"$\pm$", DASH: "--"}
    | {"†": r"$^\dagger$", "‡": r"$^\ddagger$", "…": r"\dots{}"}
)


@dataclass(frozen=True)
class Table:
    """One table of any layout; ``setting`` is for programs, ``corner`` the head of the labels."""

    title: str
    caption: str
    notes: Sequence[str]
    setting: Mapping[str, Any]
    columns: Sequence[Column]
    lines: Sequence[Line]
    corner: str = "method"

    @property
    def heads(self) -> list[str]:
        """One row of heads: a task alone, or group and title."""
        return [
            c.title if c.tasks == (c.title,) else f"{c.group} {c.title}".strip()
            for c in self.columns
        ]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """A row per field, with all digits and the text that is shown."""
        return [
            {"row": line.label, "kind": line.kind, "group": column.group, "column": column.title}
            | {"column_kind": column.kind, "metric": column.metric}
            | {key: value for key, value in cell.items() if key != "by_seed"}
            for line in self.lines
            for column, cell in zip(self.columns, line.cells, strict=True)
        ]

    def body(self, escape: Callable[[str], str], bold: str) -> pd.DataFrame:
        """The fields as text, with the labels in front and heads of group, title and units."""
        rows = []
        for line in self.lines:
            rows.append([escape(line.label)])
            for cell in line.cells:
                text = escape(cell.get("number", DASH))
                text = (bold % text if cell.get("best") else text) + escape(cell.get("mark", ""))
                rows[-1].append(f"{text} {escape(cell.get('after', ''))}".rstrip())
        heads = [("", self.corner, "metric (test rows)")]
        heads += [(column.group, column.title, column.units) for column in self.columns]
        index = pd.MultiIndex.from_tuples([tuple(map(escape, head)) for head in heads])
        empty = [level for level in (0, 2) if not any(head[level] for head in heads[1:])]
        body: pd.DataFrame = pd.DataFrame(rows, columns=index.droplevel(empty))
        return body


def _markdown(tables: Sequence[Table]) -> str:
    parts = []
    for number, table in enumerate(tables, 1):
        body = table.body(_escape_markdown, "**%s**")
        units = [f"*{head[-1]}*" if head[-1] else "" for head in body.columns]
        body.columns = pd.Index([_escape_markdown(head) for head in (table.corner, *table.heads)])
        if any(column.units for column in table.columns):
            body = pd.concat([pd.DataFrame([units], columns=body.columns), body])
        align = ["left"] + ["right"] * len(table.columns)
        text = body.to_markdown(index=False, disable_numparse=True, colalign=align)
        title = f"**Table {number}.** {table.title}. ".replace(" . ", " ")
        parts.append(f"{title}{_escape_markdown(table.caption)}\n\n{text}\n")
        parts += ["".join(f"- {_escape_markdown(note)}\n" for note in table.notes)]
    return "\n".join(filter(None, parts))


def _escape_markdown(text: str) -> str:
    plain = " ".join(text.split())
    plain = re.sub(r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain)
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in plain)


def _latex(tables: Sequence[Table]) -> str:
    """Floating tables, scaled down to the width of the page where they are wider."""
    parts = ["% Needs \\usepackage{booktabs,graphicx}.\n"]
    for table in tables:
        text = table.body(_escape_latex, r"\textbf{%s}").style.hide(axis="index").to_latex(
            column_format="l" + "r" * len(table.columns), hrules=True, multicol_align="c"
        )  # fmt: skip
        caption = _escape_latex(f"{table.title}. {table.caption}".removeprefix(". "))
        parts += [
            f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n",
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n",
            f"{text}}}\n",
            *(f"\\par\\footnotesize {_escape_latex(note)}\n" for note in table.notes),
            "\\end{table}\n",
        ]
    return "".join(parts)


def _escape_latex(text: str) -> str:
    plain = " ".join(text.split()).translate(_LATEX)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", plain)


def _csv(tables: Sequence[Table]) -> str:
    """A row per line of a table and a column per task; table number and setting at the end."""
    by_shape: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for number, table in enumerate(tables, 1):
        for line in table.lines:
            row: dict[str, Any] = {table.corner: line.label}
            for head, cell in zip(table.heads, line.cells, strict=True):
                row[head] = cell.get("mean", cell.get("difference", cell.get("number")))
                row |= {f"{head} {n}": cell[n] for n in ("std", "ci_low", "ci_high") if n in cell}
            shape = (table.corner, *table.heads)
            by_shape.setdefault(shape, []).append(row | {"table": number, **table.setting})
    return "\n".join(pd.DataFrame(rows).to_csv(index=False) for rows in by_shape.values())


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
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "tidy-csv": _tidy_csv,
    "json": _json,
}
