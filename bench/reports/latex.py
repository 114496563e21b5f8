"""Tables as a LaTeX document that compiles as it stands, with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.reports.captions import DASH, caption
from bench.reports.tables import Table, TableCell, TableRow
from bench.reports.text import (
    AVERAGE_HEAD,
    METHOD_HEAD,
    UNITS_HEAD,
    instead,
    number,
    spread,
    units,
)

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\belowcaptionskip}{6pt}
\newsavebox{\benchtable}
\begin{document}
"""

_TABLE = r"""\begin{table}[p]
\centering
\caption{%(caption)s}
\begin{lrbox}{\benchtable}
\begin{tabular}{l%(alignment)s}
\toprule
%(head)s \\
%(units)s \\
\midrule
%(body)s
\bottomrule
\end{tabular}
\end{lrbox}
\ifdim\wd\benchtable>\linewidth\resizebox{\linewidth}{!}{\usebox{\benchtable}}\else\usebox{\benchtable}\fi
\end{table}
\clearpage
"""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    # In front of a table row these two would be an argument of the row's end before.
    "[": r"{[}",
    "*": r"{*}",
    "±": r"$\pm$",
    DASH: r"\textendash{}",
    "…": r"\dots{}",
}


_LIGATURES = frozenset("-,'<>")
"""Characters that the font joins when they are doubled."""


def render(tables: Sequence[Table]) -> str:
    """A complete document; a table that is wider than the page is scaled down."""
    return _PREAMBLE + "".join(_table(table) for table in tables) + "\\end{document}\n"


def _table(table: Table) -> str:
    head = [METHOD_HEAD, *(column.task for column in table.columns), AVERAGE_HEAD]
    second = [UNITS_HEAD, *(units(column) for column in table.columns), ""]
    return _TABLE % {
        "caption": escape(caption(table)),
        "alignment": "r" * (len(head) - 1),
        "head": " & ".join(escape(text) for text in head),
        "units": " & ".join(escape(text) for text in second).rstrip(),
        "body": "\n".join(_row(row, table) for row in table.rows),
    }


def _row(row: TableRow, table: Table) -> str:
    cells = [
        escape(row.label),
        *(_cell(cell, table) for cell in row.cells),
        _number(row.average, row.best),
    ]
    return " & ".join(cells) + r" \\"


def _cell(cell: TableCell, table: Table) -> str:
    if cell.mean is None:
        return escape(instead(cell))
    return f"{_number(cell.mean, cell.best)} {escape(spread(cell, table))}".rstrip()


def _number(value: float | None, bold: bool) -> str:
    text = escape(number(value)).replace("-", "$-$")
    return rf"\textbf{{{text}}}" if bold else text


def escape(text: str) -> str:
    """Text that pdfLaTeX sets as it stands, in one line.

    What the usual fonts may lack (anything beyond Latin-1) becomes its code point: U+4E2D.
    """
    plain = " ".join(text.split())
    return "".join(map(_character, " " + plain, plain))


def _character(before: str, char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char in _LIGATURES and char == before:
        return "{}" + char
    if " " <= char <= "~" or ("À" <= char <= "ÿ" and char.isalpha()):
        return char
    return f"U+{ord(char):04X}"


__all__ = ["escape", "render"]
