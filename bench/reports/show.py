"""Text of ``bench show``: a record, its curves, and the examples with wrong answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bench.predictions import Predictions
from bench.record import Record
from bench.reports import render

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
"""Maximum number of bars of a curve."""


def show_record(record: Record) -> str:
    """The record as text, one fact per line."""
    curves: dict[str, list[float]] = {}
    for point in record.training.curve if record.training else ():
        for name, value in {"loss": point.loss, **point.validation}.items():
            curves.setdefault(name, []).append(value)
    changes = [
        (name, step, members)
        for name in _diagnostic(record, "changes", dict)
        for (_, before), (step, members) in pairwise([(0, None), *history(record, name, list)])
        if members != before
    ]
    values = {"curves": curves, "best": _diagnostic(record, "best", dict), "changes": changes}
    return _align(render("show.txt.jinja", record=record, plain=_plain, bars=_bars, **values))


def show_errors(predictions: Predictions, inputs: Sequence[str] | None) -> str:
    """Examples with wrong answers, and their input texts if given."""
    examples = predictions.examples
    texts = [None] * len(examples) if inputs is None else inputs
    wrong = [(row, text) for row, text in zip(examples, texts, strict=True) if not row.correct]
    return _align(render("errors.txt.jinja", wrong=wrong, total=len(examples)))


def history(record: Record, key: str, kind: type) -> list[tuple[int, Any]]:
    """(step, value) pairs of a diagnostic ``key``; skips values of other types than ``kind``."""
    points = [point for point in _diagnostic(record, "history", list) if isinstance(point, dict)]
    points = [point for point in points if isinstance(point.get("step"), int)]
    return [(point["step"], point[key]) for point in points if isinstance(point.get(key), kind)]


def _diagnostic(record: Record, name: str, kind: type) -> Any:
    """Diagnostic of a record; an empty one if it is missing or of another type."""
    value = record.diagnostics.get(name)
    return value if isinstance(value, kind) else kind()


def _align(text: str) -> str:
    """Blocks of lines ``name | fact`` in two columns."""
    blocks = []
    for block in re.split("\n{2,}", text.strip("\n")):
        lines = [line.partition(" | ")[::2] for line in block.splitlines()]
        width = max([14, *(len(name) + 2 for name, fact in lines if fact)])
        blocks.append("".join(f"{name:<{width}}{fact}".rstrip() + "\n" for name, fact in lines))
    return "\n".join(blocks)


def _bars(values: Sequence[float]) -> str:
    """Bars from the lowest to the highest value, with first and last in numbers."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    every = math.ceil(len(values) / WIDTH)
    bars = "".join(BARS[round((value - low) * scale)] for value in values[::every])
    return f"{bars}  {values[0]:.4g} to {values[-1]:.4g} (from {low:.4g} to {high:.4g})"


def _plain(value: object) -> str:
    """JSON on one line, with four digits per number."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda digits: f"{float(digits[0]):.4g}", text)
