"""What the page shows of single cells, kept small: the page draws it when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.errors import PredictionsError
from bench.predictions import Prediction, load_predictions
from bench.records import Record, TrainingBlock
from bench.reports.results import Results
from bench.reports.settings import shortened

MOST_EXAMPLES = 6000
"""Wrong examples in a page at most, shared out evenly among its cells."""

MOST_PER_CELL = 20

LONGEST_TEXT = 160
"""Characters of an answer that are shown."""


class Details:
    """The cells of a page by number, as plain values.

    Args:
        results: the records.

    Attributes:
        cells: one per record.
        provenances: what records say of their making, each once; cells name it by place.
        warnings: one line per cell whose predictions cannot be read.
    """

    def __init__(self, results: Results) -> None:
        self.cells: list[dict[str, Any]] = []
        self.provenances: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._folder = results.records_folder
        self._places: dict[str, int] = {}
        self._examples = min(MOST_PER_CELL, MOST_EXAMPLES // max(1, len(results.records)))
        for record in results.records:
            self._places[record.digest] = len(self.cells)
            self.cells.append(self._cell(record))

    def place(self, record: Record) -> int:
        """The number of a record's cell."""
        return self._places[record.digest]

    def plain(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return {"cells": self.cells, "provenances": self.provenances}

    def _cell(self, record: Record) -> dict[str, Any]:
        cell = record.cell
        known: dict[str, Any] = {
            "digest": record.digest[:12],
            "label": cell.method.label,
            "task": cell.task,
            "shots": cell.shots,
            "seed": cell.seed,
            "settings": dict(cell.method.settings),
            "provenance": self._provenance(record),
            "started": record.timing.started,
            "seconds": _short(record.timing.training_seconds + record.timing.evaluation_seconds),
        }
        if record.error is not None:
            known["error"] = f"{record.error.type}: {record.error.message}"
        if record.rows is not None:
            rows = record.rows
            known["rows"] = [rows.train, rows.validation, rows.test]
            known["notes"] = list(rows.notes)
        if record.scores is not None:
            scores = record.scores
            known["metric"] = scores.table_metric
            known["test"] = _shortened(scores.test)
            known["validation"] = _shortened(scores.validation)
            known["labels"] = scores.valid_label_share.test
            if record.training is not None:
                known |= _training(record.training, scores.table_metric)
        if record.majority is not None:
            known["majority"] = _shortened(record.majority.test)
        known |= _diagnostics(record)
        return known | self._wrong(record)

    def _provenance(self, record: Record) -> int:
        provenance = asdict(record.provenance)
        if provenance not in self.provenances:
            self.provenances.append(provenance)
        return self.provenances.index(provenance)

    def _wrong(self, record: Record) -> dict[str, Any]:
        if record.predictions is None:
            return {}
        try:
            predictions = load_predictions(self._folder, record)
        except PredictionsError as error:
            self.warnings.append(str(error))
            return {}
        wrong = predictions.wrong
        return {
            "wrong": len(wrong),
            "answers": len(predictions),
            "examples": [_example(example) for example in wrong[: self._examples]],
        }


def _training(training: TrainingBlock, metric: str) -> dict[str, Any]:
    curve = training.curve
    return {
        "parameters": training.trainable_parameters,
        "steps": training.steps,
        "best": training.best_step,
        "curve": {
            "steps": [point.step for point in curve],
            "loss": [_short(point.loss) for point in curve],
            "score": [_optional(point.validation.get(metric)) for point in curve],
        },
    }


def _diagnostics(record: Record) -> dict[str, Any]:
    """The state at the best step, but no history: the figures show that."""
    best = record.diagnostics.get("best", {})
    return {"diagnostics": _shortened(best)} if best else {}


def _example(example: Prediction) -> list[Any]:
    return [example.row, _cut(example.prediction), [_cut(text) for text in example.references[:3]]]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _optional(value: float | None) -> float | None:
    return None if value is None else _short(value)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _shortened(value: Any) -> Any:
    """A plain value with four digits of every number and the first digits of every digest."""
    if isinstance(value, dict):
        return {str(key): _shortened(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_shortened(item) for item in value]
    if isinstance(value, str):
        return shortened(value)
    return _short(value) if isinstance(value, float) else value


__all__ = ["Details"]
