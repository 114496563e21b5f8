"""Text of ``bench show``: a record, its curves, and the examples with wrong answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import Any

from bench.predictions import Predictions
from bench.record import Record
from bench.reports import render

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
"""Maximum number of bars of a curve."""


def show_record(record: Record) -> str:
    """The record as text, one fact per line."""
    told, training = record.diagnostics, record.training
    best, changed = (
        own if isinstance(own := told.get(name), dict) else {} for name in ("best", "changes")
    )
    curves: dict[str, list[float]] = {}
    for point in training.curve if training else ():
        for name, value in {"loss": point.loss, **point.validation}.items():
            curves.setdefault(name, []).append(value)
    changes = [
        (name, step, now)
        for name in changed
        for (_, before), (step, now) in pairwise([(0, None), *history(record, name, list)])
        if now != before
    ]
    shown = {"curves": curves, "best": best, "changes": changes, "plain": _plain, "bars": _bars}
    return _align(render("show.txt.jinja", record=record, **shown))


def show_errors(predictions: Predictions, inputs: Sequence[str] | None) -> str:
    """Examples with wrong answers, and their input texts if given."""
    examples = predictions.examples
    texts = repeat(None, len(examples)) if inputs is None else inputs
    pairs = zip(examples, texts, strict=True)
    wrong = [(example, text) for example, text in pairs if not example.correct]
    return _align(render("errors.txt.jinja", wrong=wrong, total=len(examples)))


def history(record: Record, key: str, kind: type) -> list[tuple[int, Any]]:
    """(step, value) pairs of a diagnostic ``key``; skips values of other types than ``kind``."""
    told = record.diagnostics.get("history")
    points = [point for point in told if isinstance(point, dict)] if isinstance(told, list) else []
    found = [(point.get("step"), point.get(key)) for point in points]
    return [(step, own) for step, own in found if isinstance(step, int) and isinstance(own, kind)]


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
    shown = values[:: -(-len(values) // WIDTH)]
    bars = "".join(BARS[round((value - low) * scale)] for value in shown)
    return f"{bars}  {values[0]:.4g} to {values[-1]:.4g} (from {low:.4g} to {high:.4g})"


def _plain(value: object) -> str:
    """JSON on one line, with four digits per number."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: f"{float(found[0]):.4g}", text)
