"""One cell as plain text: its record, its curves, and the examples it got wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from bench.predictions import Prediction, Predictions
from bench.records import Record
from bench.reports.captions import DASH
from bench.reports.text import number

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
"""Most bars of a curve."""

_INDENT = 14
"""Least width of the names before the facts."""

Line = tuple[str, str]


def render_cell(record: Record) -> str:
    """The record as text, one line per fact; every line ends with a line break."""
    blocks = [_head(record), _scores(record), _training(record), _diagnostics(record)]
    blocks.append(_provenance(record))
    return "\n".join(_lines(block) for block in blocks if block)


def render_errors(predictions: Predictions, inputs: Sequence[str] | None) -> str:
    """The examples that were answered wrong, in the order of the test split.

    Args:
        predictions: of the cell.
        inputs: what the model read in each example; None where that cannot be had.
    """
    wrong = [(place, e) for place, e in enumerate(predictions.examples) if not e.correct]
    parts = [f"{len(wrong)} of {len(predictions)} test examples wrong\n"]
    for place, example in wrong:
        text = None if inputs is None else inputs[place]
        parts.append(_lines(_error(example, text)))
    return "\n".join(parts)


def _error(example: Prediction, text: str | None) -> list[Line]:
    group = "" if example.group is None else f" of {_plain(example.group)}"
    return [
        ("row", f"{example.row}{group}"),
        *([] if text is None else [("input", _plain(text))]),
        ("prediction", _quoted(example.prediction)),
        ("right", " or ".join(map(_quoted, example.references))),
    ]


def _head(record: Record) -> list[Line]:
    cell = record.cell
    shots = "full data" if cell.shots is None else f"{cell.shots} shots"
    toys = [cell.model.bundled, cell.data.kind == "bundled"]
    lines = [
        ("cell", record.digest),
        ("", f"{cell.task}, {cell.method.label}, {shots}, seed {cell.seed}: {record.status}"),
        ("preset", cell.preset),
        ("model", f"{cell.model.name}{' (bundled)' * toys[0]}, {cell.model.parameters:,} frozen"),
        (
            "data",
            f"{cell.data.name}{'' if cell.data.revision is None else f' at {cell.data.revision}'}",
        ),
    ]
    if any(toys):
        lines.append(("", "bundled model or data: no result about the method"))
    if record.error is not None:
        lines.append(("error", f"{record.error.type}: {record.error.message}"))
    if record.rows is not None:
        rows = record.rows
        counts = f"{rows.train} train, {rows.validation} validation, {rows.test} test"
        lines += [("rows", counts), *(("note", note) for note in rows.notes)]
    if record.sources:
        lines.append(("sources", ", ".join(source.task for source in record.sources)))
    if cell.method.settings:
        lines.append(("settings", _json(cell.method.settings)))
    return lines


def _scores(record: Record) -> list[Line]:
    if record.scores is None:
        return []
    scores = record.scores
    majority = {} if record.majority is None else record.majority.test
    lines = [("metric", f"{'test':>10}{'validation':>12}{'majority':>10}")]
    for name, value in scores.test.items():
        others = (scores.validation.get(name), majority.get(name))
        cells = [f"{number(value):>10}", f"{number(others[0]):>12}", f"{number(others[1]):>10}"]
        lines.append((f"{name}{' *' * (name == scores.table_metric)}", "".join(cells)))
    lines += [(name, f"left out: {reason}") for name, reason in scores.left_out.items()]
    share = scores.valid_label_share.test
    if share is not None:
        lines.append(("valid", f"{100 * share:>9.1f}%"))
    return lines


def _training(record: Record) -> list[Line]:
    training = record.training
    if training is None:
        return []
    done = f"{training.steps} steps{', stopped early' if training.stopped_early else ''}"
    lines = [
        ("training", f"{done}, {training.trainable_parameters:,} trainable parameters"),
        ("best", f"step {training.best_step}, mean of validation {number(training.best_score)}"),
    ]
    if training.curve:
        steps = f"steps {training.curve[0].step} to {training.curve[-1].step}"
        lines.append(("curves", f"{len(training.curve)} evaluations, {steps}"))
        curves = {"loss": [point.loss for point in training.curve]}
        for name in training.curve[0].validation:
            curves[name] = [p.validation[name] for p in training.curve if name in p.validation]
        lines += [(f"  {name}", _curve(values)) for name, values in curves.items()]
    return lines


def _curve(values: Sequence[float]) -> str:
    """Bars from the lowest to the highest value, with first and last in numbers."""
    step = math.ceil(len(values) / _WIDTH)
    shown = [*values[::step], *values[-1:]] if (len(values) - 1) % step else values[::step]
    low, high = min(shown), max(shown)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(_BARS[round((value - low) * scale)] for value in shown)
    return f"{bars}  {values[0]:.4g} to {values[-1]:.4g} (from {low:.4g} to {high:.4g})"


def _diagnostics(record: Record) -> list[Line]:
    """What the method told at the best step, and how its lists of names changed."""
    best, history = record.diagnostics.get("best"), record.diagnostics.get("history")
    if not isinstance(best, dict) or not isinstance(history, list):
        return []
    lines = [("diagnostics", f"at step {best.get('step', DASH)}")]
    lines += [(f"  {key}", _json(value)) for key, value in best.items() if key != "step"]
    changes = record.diagnostics.get("changes")
    for name in changes if isinstance(changes, dict) else {}:
        lines.append((f"  {name}", "over training"))
        last = None
        for point in history:
            if not isinstance(point, dict):
                continue
            step, told = point.get("step"), point.get(name)
            if isinstance(told, list) and told != last:
                lines.append(("", f"from step {step}: {', '.join(map(str, told)) or 'none'}"))
                last = told
    return lines


def _provenance(record: Record) -> list[Line]:
    timing, made = record.timing, record.provenance
    commit = made.git_commit or "unknown commit"
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    return [
        ("made", f"{timing.finished}, {timing.training_seconds:.0f} s of training"),
        ("with", f"{commit}{' with changes' if made.git_dirty else ''}, Python {made.python}"),
        ("", versions),
        ("on", made.hardware.gpu or made.hardware.cpu),
        ("command", made.command),
        ("prompt", DASH if record.training is None else record.training.prompt),
        ("answers", DASH if record.predictions is None else record.predictions.file),
    ]


def _lines(lines: Iterable[Line]) -> str:
    listed = list(lines)
    indent = max(_INDENT, *(len(name) + 2 for name, _ in listed))
    return "".join(f"{name:<{indent}}{_plain(text)}".rstrip() + "\n" for name, text in listed)


def _json(value: object) -> str:
    """Plain values on one line, numbers with four digits."""
    return json.dumps(_rounded(value), ensure_ascii=False)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _quoted(text: str) -> str:
    """With marks around it, so that white space shows."""
    return f'"{_plain(text)}"'


def _plain(text: str) -> str:
    """On one line, without anything that could steer a terminal."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)


__all__ = ["render_cell", "render_errors"]
