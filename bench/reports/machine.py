"""Tables for programs: CSV in long form and JSON, with all digits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.reports.captions import caption
from bench.reports.tables import Table


def render_csv(tables: Sequence[Table]) -> str:
    """One line per row and column of every table; empty fields are unknown values."""
    lines = [line for table in tables for line in _lines(table)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    shared = {
        "table": table.number,
        **table.setting.facts(),
        "differences": "; ".join(table.differences),
        "seeds": " ".join(str(seed) for seed in table.seeds),
    }
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            yield {
                **shared,
                "method": row.method,
                "label": row.label,
                "task": column.task,
                "metric": column.metric,
                "test_rows": column.test_rows,
                "status": cell.status,
                "mean": cell.mean,
                "std": cell.std,
                "n_seeds": cell.seeds,
                "n_failed": cell.failed,
                "best": cell.best,
            }


def render_json(tables: Sequence[Table]) -> str:
    """A list of tables; the keys are the attributes of :mod:`bench.reports.tables`."""
    content = [_object(table) for table in tables]
    return json.dumps({"tables": content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _object(table: Table) -> dict[str, Any]:
    return {**asdict(table), "setting": table.setting.facts(), "caption": caption(table)}


__all__ = ["render_csv", "render_json"]
