"""Sheets for programs: CSV in long form and JSON, with all digits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.reports.sheets.types import Scalar, Sheet


def render_csv(sheets: Sequence[Sheet]) -> str:
    """One line per row and column of every sheet; empty fields are unknown values."""
    lines = [line for sheet in sheets for line in _lines(sheet)]
    names = dict.fromkeys(name for line in lines for name in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _lines(sheet: Sheet) -> Iterator[dict[str, Scalar]]:
    for line in sheet.lines:
        for head, entry in zip(sheet.heads, line.entries, strict=True):
            yield {
                "table": sheet.number,
                "title": sheet.title,
                **sheet.values,
                "row_group": line.group,
                "row": line.label,
                **line.values,
                "column_group": head.group,
                "column": head.title,
                **head.values,
                "shown": " ".join(filter(None, (entry.text + entry.mark, entry.after))),
                **entry.values,
            }


def render_json(sheets: Sequence[Sheet]) -> str:
    """A list of tables; rows hold one cell per column, in the order of the columns."""
    content = [_object(sheet) for sheet in sheets]
    return json.dumps({"tables": content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _object(sheet: Sheet) -> dict[str, Any]:
    return {
        "number": sheet.number,
        "title": sheet.title,
        "caption": sheet.caption,
        "notes": list(sheet.notes),
        "setting": dict(sheet.values),
        "columns": [
            {"group": head.group, "title": head.title, "units": head.units, **head.values}
            for head in sheet.heads
        ],
        "rows": [
            {
                "group": line.group,
                "label": line.label,
                **line.values,
                "cells": [
                    {"text": e.text, "mark": e.mark, "best": e.bold, **e.values}
                    for e in line.entries
                ],
            }
            for line in sheet.lines
        ],
    }


__all__ = ["render_csv", "render_json"]
