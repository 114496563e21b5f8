"""Cells and heads of layouts, as text and as values."""

from __future__ import annotations

from typing import Literal

from bench.reports.captions import DASH
from bench.reports.paper.columns import Column
from bench.reports.paper.rows import Row
from bench.reports.paper.scores import Score
from bench.reports.sheets import Entry, Head, Scalar
from bench.reports.text import few_seeds, number

Spread = Literal["std", "ci"]
"""What stands behind a mean: deviation over seeds, or interval over test rows."""

BETTER, WORSE = "†", "‡"
"""Mark scores that are significantly above and below the reference row."""

_UNITS = {"parameters": "number", "share": "% of the model", "average": ""}


def column_head(column: Column) -> Head:
    """The head of a column; its units are metric and number of test rows."""
    units = _UNITS.get(column.kind, "")
    if column.kind == "score":
        units = DASH if column.test_rows is None else f"{column.metric} ({column.test_rows})"
    values: dict[str, Scalar] = {
        "column_kind": column.kind,
        "task": column.tasks[0] if column.kind == "score" else None,
        "column_shots": column.shots,
        "metric": column.metric,
        "test_rows": column.test_rows,
    }
    unique = column.tasks == (column.title,)
    return Head(column.group, column.title, units, values, unique)


def entry(score: Score, spread: Spread, seeds: int) -> Entry:
    """A score as a cell.

    Args:
        score: of the row.
        spread: to show.
        seeds: number of seeds in the table; where fewer finished, the cell says so.
    """
    values: dict[str, Scalar] = {
        "status": score.status,
        "mean": score.mean,
        "std": score.std,
        "ci_low": None if score.interval is None else score.interval[0],
        "ci_high": None if score.interval is None else score.interval[1],
        "n_seeds": score.seeds,
        "n_failed": score.failed,
        "best": score.best,
        "difference": score.difference,
        "p_value": score.p_value,
        "p_holm": score.adjusted,
    }
    if score.mean is None:
        return Entry(
            DASH if score.status in ("missing", "left out") else score.status, values=values
        )
    after = []
    if spread == "ci" and score.interval is not None:
        after.append(interval(score.interval))
    elif spread == "std" and score.std is not None:
        after.append(f"± {number(score.std)}")
    if fewer := few_seeds(score.seeds, score.failed, seeds):
        after.append(fewer)
    mark = {1: BETTER, -1: WORSE}.get(score.significant, "")
    return Entry(number(score.mean), score.best, mark, " ".join(after), score.mean, values)


def majority_entry(score: Score, spread: Spread) -> Entry:
    """The majority class in a column; a dash where there is none. It has no interval."""
    if score.mean is None:
        return Entry(DASH)
    after = "" if score.std is None or spread != "std" else f"± {number(score.std)}"
    values: dict[str, Scalar] = {"mean": score.mean, "std": score.std, "best": score.best}
    return Entry(number(score.mean), score.best, after=after, number=score.mean, values=values)


def parameter_entry(row: Row, column: Column) -> Entry:
    """Trainable parameters of a row, or their share of the model's; a range where tasks differ."""
    counts = [
        record.training.trainable_parameters
        for record in row.finished
        if record.training is not None
    ]
    if not counts:
        return Entry(DASH)
    ends = sorted({min(counts), max(counts)})
    if column.kind == "share":
        shares = [100 * count / row.model.parameters for count in ends]
        text = f" {DASH} ".join(dict.fromkeys(f"{share:.2g}" for share in shares))
        values = {"share_low": shares[0], "share_high": shares[-1]}
        return Entry(text, number=shares[0], values=values)
    text = f" {DASH} ".join(f"{count:,}" for count in ends)
    values = {"parameters_low": ends[0], "parameters_high": ends[-1]}
    return Entry(text, number=ends[0], values=values)


def interval(ends: tuple[float, float]) -> str:
    """An interval with the digits that tables show."""
    return f"[{number(ends[0])}, {number(ends[1])}]"


__all__ = [
    "BETTER",
    "WORSE",
    "Spread",
    "column_head",
    "entry",
    "interval",
    "majority_entry",
    "parameter_entry",
]
