"""Sheets as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from bench.reports.sheets.types import Entry, Sheet


def render(sheets: Sequence[Sheet]) -> str:
    """For each sheet a paragraph, a table and its notes."""
    return "\n".join(_sheet(sheet) for sheet in sheets)


def _sheet(sheet: Sheet) -> str:
    heads = [h.title if h.unique else f"{h.group} {h.title}".strip() for h in sheet.heads]
    first = [sheet.groups, sheet.corner] if sheet.grouped else [sheet.corner]
    lines = [
        [
            *([escape(line.group)] if sheet.grouped else []),
            escape(line.label),
            *map(_entry, line.entries),
        ]
        for line in sheet.lines
    ]
    if any(head.units for head in sheet.heads):
        front = [""] * (len(first) - 1)
        units = [
            f"*{escape(u)}*" if u else "" for u in (sheet.units, *(h.units for h in sheet.heads))
        ]
        lines.insert(0, [*front, *units])
    body = tabulate(
        lines,
        headers=[escape(text) for text in (*first, *heads)],
        tablefmt="pipe",
        colalign=(*("left" for _ in first), *("right" for _ in heads)),
        disable_numparse=True,
    )
    notes = "".join(f"\n- {escape(note)}" for note in sheet.notes)
    title = f" {escape(sheet.title)}." if sheet.title else ""
    head = f"**Table {sheet.number}.{title}** {escape(sheet.caption)}"
    return f"{head}\n\n{body}\n" + (f"{notes}\n" if notes else "")


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f"{f'**{text}**' if entry.bold else text}{entry.mark} {escape(entry.after)}".rstrip()


def escape(text: str) -> str:
    """Text that Markdown shows as it stands, in one line.

    An underscore between letters or digits needs no escape and gets none.
    """
    escaped = re.sub(
        r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split())
    )
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in escaped)


__all__ = ["escape", "render"]
