"""One run as plain text: its record, its curves, and the examples it got wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from bench.predictions import Predictions
from bench.record import Record
from bench.reports.layouts import DASH

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
"""Most bars of a curve."""


def show_record(record: Record) -> str:
    """The record as text, one fact per line."""
    return "\n".join(_text(part) for part in (_run(record), _results(record), _origin(record)))


def show_errors(predictions: Predictions, inputs: Sequence[str] | None) -> str:
    """The examples that were answered wrong, with what the model read if that is known."""
    wrong = [(at, e) for at, e in enumerate(predictions.examples) if not e.correct]
    parts = [f"{len(wrong)} of {len(predictions.examples)} test examples wrong\n"]
    for at, example in wrong:
        lines = [("row", f"{example.row}{f' of {example.group}' if example.group else ''}")]
        lines += [("input", inputs[at])] if inputs is not None else []
        right = " or ".join(f'"{text}"' for text in example.references)
        parts.append(_text([*lines, ("prediction", f'"{example.prediction}"'), ("right", right)]))
    return "\n".join(parts)


def _run(record: Record) -> Iterator[tuple[str, str]]:
    run, rows = record.run, record.rows
    yield "run", record.id
    yield "", f"{run.describe()}: {record.status}"
    yield "preset", run.preset
    yield "model", f"{run.model.name}, {run.model.parameters:,} frozen parameters"
    yield "data", run.data.name + (f" at {run.data.revision}" if run.data.revision else "")
    if run.model.bundled or run.data.kind == "bundled":
        yield "", "bundled model or data: not a benchmark result"
    if record.error is not None:
        yield "error", f"{record.error.type}: {record.error.message}"
    if rows is not None:
        yield "rows", f"{rows.train} train, {rows.validation} validation, {rows.test} test"
        yield from (("note", note) for note in rows.notes)
    yield "sources", ", ".join(source.task for source in record.sources) or DASH
    yield "settings", _json(run.settings)


def _results(record: Record) -> Iterator[tuple[str, str]]:
    """Scores, curves, diagnostics of the best step, and changes of lists of names (groups)."""
    scores, training, told = record.scores, record.training, record.diagnostics
    if scores is not None:
        majority = record.majority.test if record.majority else {}
        yield "metric", f"{'test':>10}{'validation':>12}{'majority':>10}"
        for name, value in scores.test.items():
            known = (scores.validation.get(name), majority.get(name))
            texts = [DASH if other is None else f"{other:.1f}" for other in known]
            star = " *" if name == scores.table_metric else ""
            yield name + star, f"{value:>10.1f}{texts[0]:>12}{texts[1]:>10}"
        yield from ((name, f"left out: {reason}") for name, reason in scores.left_out.items())
        if (share := scores.valid_label_share.test) is not None:
            yield "valid", f"{share:>10.1%}"
    if training is not None:
        stopped = ", stopped early" if training.stopped_early else ""
        yield "training", f"{training.steps} steps{stopped}, best step {training.best_step}"
        yield "parameters", f"{training.trainable_parameters:,} trained"
        curves = {"loss": [point.loss for point in training.curve]}
        for point in training.curve:
            for name, value in point.validation.items():
                curves.setdefault(name, []).append(value)
        yield from ((f"{name} curve", _curve(values)) for name, values in curves.items() if values)
    best, changes, history = (told.get(name) for name in ("best", "changes", "history"))
    for name, item in best.items() if isinstance(best, dict) else ():
        yield f"best {name}", _json(item)
    for name in changes if isinstance(changes, dict) else ():
        last = None
        for step in history if isinstance(history, list) else ():
            now = step.get(name) if isinstance(step, dict) else None
            if isinstance(step, dict) and isinstance(now, list) and now != last:
                names, last = ", ".join(map(str, now)) or "none", now
                yield name, f"from step {step.get('step')}: {names}"


def _curve(values: Sequence[float]) -> str:
    """Bars from the lowest to the highest value, with first and last in numbers."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    shown = values[:: -(-len(values) // WIDTH)]
    bars = "".join(BARS[round((value - low) * scale)] for value in shown)
    return f"{bars}  {values[0]:.4g} to {values[-1]:.4g} (from {low:.4g} to {high:.4g})"


def _origin(record: Record) -> Iterator[tuple[str, str]]:
    made, seconds = record.provenance, record.timing.training_seconds
    yield "made", f"{record.timing.finished}, {seconds:.0f} s of training"
    changes = " with changes" if made.git_dirty else ""
    yield "with", f"{made.git_commit or 'unknown commit'}{changes}, Python {made.python}"
    yield "", ", ".join(f"{name} {version}" for name, version in made.versions.items())
    yield "on", made.hardware.gpu or made.hardware.cpu
    yield "command", made.command
    yield "prompt", record.training.prompt if record.training else DASH
    yield "answers", record.predictions.file if record.predictions else DASH


def _text(lines: Iterable[tuple[str, str]]) -> str:
    """Names and facts, without characters that could steer a terminal."""
    listed = [(n, "".join(c if c.isprintable() else ascii(c)[1:-1] for c in t)) for n, t in lines]
    width = max([14, *(len(name) + 2 for name, _ in listed)])
    return "".join(f"{name:<{width}}{text}".rstrip() + "\n" for name, text in listed)


def _json(value: object) -> str:
    """Plain values on one line, numbers with four digits."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: f"{float(found[0]):.4g}", text)
