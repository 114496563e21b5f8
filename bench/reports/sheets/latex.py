"""Sheets as a LaTeX document that compiles as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from bench.reports.captions import DASH
from bench.reports.sheets.types import Entry, Sheet

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
%(multirow)s\setlength{\belowcaptionskip}{6pt}
\newsavebox{\benchtable}
\begin{document}
"""

# multirow is no part of small TeX installations: without it, such a head stands in its first row.
_MULTIROW = r"""\IfFileExists{multirow.sty}{\usepackage{multirow}}{}
\providecommand{\multirow}[3]{#3}
"""

_TABLE = r"""\begin{table}[p]
\centering
\caption{%(caption)s}
\begin{lrbox}{\benchtable}
\begin{tabular}{%(alignment)s}
\toprule
%(head)s
\midrule
%(body)s
\bottomrule
\end{tabular}
\end{lrbox}
\ifdim\wd\benchtable>\linewidth\resizebox{\linewidth}{!}{\usebox{\benchtable}}\else\usebox{\benchtable}\fi
%(notes)s\end{table}
\clearpage
"""

_NOTES = r"""\par\medskip\begin{minipage}{\linewidth}\footnotesize
%s
\end{minipage}
"""

_MARKS = {"": "", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$"}
_END = r" \\"

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


def render(sheets: Sequence[Sheet]) -> str:
    """A complete document; a table that is wider than the page is scaled down."""
    body = "".join(map(_sheet, sheets))
    preamble = _PREAMBLE % {"multirow": _MULTIROW if r"\multirow{" in body else ""}
    return f"{preamble}{body}\\end{{document}}\n"


def _sheet(sheet: Sheet) -> str:
    first = 2 if sheet.grouped else 1
    notes = "\\par\n".join(map(_text, sheet.notes))
    return _TABLE % {
        "caption": _text(f"{sheet.title}. {sheet.caption}" if sheet.title else sheet.caption),
        "alignment": "l" * first + "r" * len(sheet.heads),
        "head": _heads(sheet, first),
        "body": _body(sheet),
        "notes": _NOTES % notes if notes else "",
    }


def _heads(sheet: Sheet, first: int) -> str:
    corner = [_text(sheet.groups), _text(sheet.corner)][-first:]
    titles = [_text(head.title) for head in sheet.heads]
    rows = []
    if any(head.group for head in sheet.heads):
        spans, rules = [], []
        place = first + 1
        for group, heads in groupby(head.group for head in sheet.heads):
            width = len(list(heads))
            spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_text(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        rows.append(
            " & ".join([*(rf"\multirow{{2}}{{*}}{{{text}}}" for text in corner), *spans]) + _END
        )
        rows.append(" ".join(rules))
        corner = [""] * first
    rows.append(" & ".join([*corner, *titles]) + _END)
    if any(head.units for head in sheet.heads):
        units = [sheet.units, *(head.units for head in sheet.heads)]
        rows.append(" & ".join([*[""] * (first - 1), *map(_text, units)]).rstrip() + _END)
    return "\n".join(row.lstrip() for row in rows)


def _body(sheet: Sheet) -> str:
    blocks = []
    for group, members in groupby(sheet.lines, key=lambda line: line.group):
        lines = list(members)
        rows = []
        for number, line in enumerate(lines):
            cells = [_text(line.label), *map(_entry, line.entries)]
            if sheet.grouped:
                head = rf"\multirow{{{len(lines)}}}{{*}}{{{_text(group)}}}"
                cells.insert(0, "" if number else head)
            rows.append((" & ".join(cells) + _END).lstrip())
        blocks.append("\n".join(rows))
    return "\n\\midrule\n".join(blocks)


def _entry(entry: Entry) -> str:
    text = _text(entry.text)
    bold = rf"\textbf{{{text}}}" if entry.bold else text
    return f"{bold}{_MARKS[entry.mark]} {_text(entry.after)}".rstrip()


def _text(text: str) -> str:
    """Escaped text whose negative numbers have a minus sign, and whose marks are raised."""
    words = []
    for word in text.split():
        bare = word.lstrip("†‡")
        marks = word[: len(word) - len(bare)]
        plain = re.sub(r"(?<![\w-])-(?=\d)", "$-$", escape(bare))
        words.append("".join(_MARKS[mark] for mark in marks) + plain)
    return " ".join(words)


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
