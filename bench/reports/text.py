"""Words and digits that all tables share."""

from __future__ import annotations

from bench.reports.captions import DASH
from bench.reports.order import DECIMALS

METHOD_HEAD = "method"
UNITS_HEAD = "metric (test rows)"


def number(value: float | None) -> str:
    """A percentage with the digits that tables show; a dash if there is none."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return DASH if value is None else f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}"


def signed(value: float) -> str:
    """A difference with its sign and the digits that tables show."""
    return f"{round(value, DECIMALS) + 0.0:+.{DECIMALS}f}"


def few_seeds(finished: int, failed: int, seeds: int) -> str:
    """What a cell says if fewer seeds finished than the table has."""
    if finished >= seeds:
        return ""
    return f"(n={finished}{f', {failed} failed' if failed else ''})"


__all__ = ["METHOD_HEAD", "UNITS_HEAD", "few_seeds", "number", "signed"]
