"""Test predictions of a run, stored beside its record.

One gzip file of JSON lines per run, one line per test example in the order of the split. Inputs
are not stored, only row numbers. :func:`load_predictions` needs neither model nor dataset.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import RecordError, one_line
from bench.files import atomic_write
from bench.record import PredictionsBlock, Record
from bench.tasks.metrics import METRICS

MAX_BYTES = 2**30  # Maximum uncompressed size of a predictions file.


@dataclass(frozen=True)
class Prediction:
    """Prediction for one test example."""

    row: int  # Row number in the official split; for joined rows, the first.
    prediction: str  # The decoded answer.
    references: tuple[str, ...]  # All correct answers.
    correct: bool  # Whether the answer is correct under the task's first metric.
    group: str | None = None  # Examples scored together (multirc: the question).


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one run."""

    examples: tuple[Prediction, ...]  # In the order of the test split, at least one.
    scorers: tuple[str, ...]  # Names of the metrics that score the examples.


def make_predictions(
    scorers: Sequence[str],
    rows: Sequence[int],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str | None],
) -> Predictions:
    """Combine predictions with references, and mark correct ones by the first metric."""
    right = METRICS[scorers[0]].right
    examples = [
        Prediction(row, prediction, tuple(texts), right(prediction.strip(), texts), group)
        for row, prediction, texts, group in zip(rows, predictions, references, groups, strict=True)
    ]
    return Predictions(tuple(examples), tuple(scorers))


def write_predictions(predictions: Predictions, record_file: Path) -> PredictionsBlock:
    """Write predictions beside a record; equal predictions give equal bytes."""
    path = record_file.with_suffix(".jsonl.gz")
    rows = [
        {key: value for key, value in asdict(example).items() if value is not None}
        for example in predictions.examples
    ]
    # In ASCII, so that answers contain no line breaks.
    lines = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    atomic_write(path, gzip.compress(lines, compresslevel=9, mtime=0))
    digest, scorers = hashlib.sha256(lines).hexdigest(), list(predictions.scorers)
    return PredictionsBlock(file=path.name, digest=digest, rows=len(rows), scorers=scorers)


def load_predictions(folder: Path, record: Record) -> Predictions:
    """Read the predictions of a record from ``folder``, the folder of the record."""
    block = record.predictions
    if block is None:
        raise RecordError(f"record {record.file_name} has no predictions; delete it and run again")
    path = folder / block.file
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_BYTES)  # Small files may unpack to large ones.
        if hashlib.sha256(data).hexdigest() != block.digest:
            raise ValueError(f"differs from the digest in {record.file_name}")
        for scorer in set(block.scorers) - METRICS.keys():
            raise ValueError(f"is scored by {scorer!r}, which this version lacks")
        rows = json.loads(b"[" + b",".join(data.splitlines()) + b"]")
        examples = [Prediction(**row | {"references": tuple(row["references"])}) for row in rows]
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError) as error:
        reason = getattr(error, "strerror", None) or one_line(error).removeprefix("ValueError: ")
        advice = "delete the record and run again"
        raise RecordError(f"cannot read predictions {path}: {reason}; {advice}") from error
    return Predictions(tuple(examples), tuple(block.scorers))
