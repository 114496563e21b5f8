"""Scores of tasks whose answer is a number, written out as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

UNPARSABLE = -1.0
"""What a prediction counts as that is no number."""


def parse_number(text: str) -> float | None:
    """The finite number that a text spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def same_number(prediction: str, references: Sequence[str]) -> bool:
    """Whether an answer spells the number of one of the references."""
    number = parse_number(prediction)
    return number is not None and number in map(parse_number, references)


def pearson(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Pearson correlation, in percent; 0 where one side is constant."""
    from scipy.stats import pearsonr

    left, right = _numbers(predictions), _numbers(references)
    if _constant(left) or _constant(right):
        return {"pearson": 0.0}
    return {"pearson": _percent(float(pearsonr(right, left)[0]))}


def spearmanr(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Spearman rank correlation, in percent; 0 where one side is constant."""
    from scipy.stats import spearmanr as rank_correlation

    left, right = _numbers(predictions), _numbers(references)
    if _constant(left) or _constant(right):
        return {"spearmanr": 0.0}
    return {"spearmanr": _percent(float(rank_correlation(right, left)[0]))}


def _numbers(texts: Sequence[str]) -> list[float]:
    parsed = (parse_number(text) for text in texts)
    return [UNPARSABLE if number is None else number for number in parsed]


def _constant(numbers: list[float]) -> bool:
    return min(numbers) == max(numbers)


def _percent(correlation: float) -> float:
    # Numbers too large to square overflow; as a correlation of unknown value they count as none.
    return 100.0 * correlation if math.isfinite(correlation) else 0.0
