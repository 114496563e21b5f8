"""What the best checkpoint of a cell answered on each test example, stored beside the record.

One gzip file of JSON lines per finished cell, ``<stem of the record>.jsonl.gz``, one line per
example in the order of the test split. The record names it with a digest of the lines. Any language
reads it, ``zcat`` shows it, and a cell of 200 examples takes a few kB, which a parquet file would
spend on its own description. The texts of the inputs are left out: the row number leads to them.

Readers need no model, no PyTorch and no dataset::

    predictions = load_predictions(folder, record)  # the folder that holds the record's file
    predictions.metrics()  # the record's scores.test, computed anew
    predictions.examples[0].correct

:mod:`bench.reports.resampling` computes a metric of thousands of resamples of them.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import DataError, PredictionsError
from bench.files import atomic_write
from bench.records import PredictionsBlock, Record
from bench.tasks.metrics import METRICS, MetricUnavailableError

MOST_BYTES = 2**30
"""Longest content that is read: a small file that unpacks to more is no file of ours."""


@dataclass(frozen=True)
class Prediction:
    """One test example.

    Attributes:
        row: number of its row in the official split (of joined rows, the first).
        prediction: the decoded answer.
        references: all right answers.
        correct: whether the answer counts as right: for labels and generated texts, whether it is
            a reference to the letter; for numbers, whether it spells the same number; for answers
            to questions, whether both are equal once normalised as SQuAD does. White space around
            the answer is ignored.
        group: what the example is judged together with (multirc: the question), or None.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    row: Annotated[int, Field(ge=0)]
    prediction: str
    references: Annotated[tuple[str, ...], Field(min_length=1)]
    correct: bool
    group: str | None = None


@dataclass(frozen=True)
class Predictions:
    """The answers of one cell.

    Attributes:
        examples: in the order of the test split, at least one.
        scorers: modules of :mod:`bench.tasks.metrics` that score them.
    """

    examples: tuple[Prediction, ...]
    scorers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def answers(self) -> list[str]:
        """The predictions as metrics take them, without white space around them."""
        return [example.prediction.strip() for example in self.examples]

    @property
    def references(self) -> list[tuple[str, ...]]:
        """The right answers of each example."""
        return [example.references for example in self.examples]

    @property
    def groups(self) -> list[str] | None:
        """The group of each example; None if the task has none."""
        groups = [example.group for example in self.examples if example.group is not None]
        return groups if len(groups) == len(self.examples) else None

    @property
    def wrong(self) -> list[Prediction]:
        """The examples that were not answered right."""
        return [example for example in self.examples if not example.correct]

    def metrics(self) -> dict[str, float]:
        """All scores of all scorers in percent; without those that cannot be computed here.

        Raises:
            DataError: the references do not fit the scorers.
        """
        scores: dict[str, float] = {}
        for scorer in self.scorers:
            try:
                scores |= METRICS[scorer].compute(self.answers, self.references, self.groups)
            except MetricUnavailableError:
                continue
        return scores


def judge(
    scorers: Sequence[str],
    rows: Sequence[int],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str | None],
) -> Predictions:
    """Put answers and right answers together and say which are right.

    Args:
        scorers: the task's; the first one says what is right.
        rows: number of each example's row in its official split.
        predictions: one decoded answer per example.
        references: all right answers of each.
        groups: what each belongs to, or None.

    Raises:
        DataError: there are no examples.
    """
    if not predictions:
        raise DataError("there are no predictions to store; give at least one test example")
    right = METRICS[scorers[0]].right
    examples = [
        Prediction(row, prediction, tuple(texts), right(prediction.strip(), texts), group)
        for row, prediction, texts, group in zip(rows, predictions, references, groups, strict=True)
    ]
    return Predictions(tuple(examples), tuple(scorers))


def predictions_block(record: Record, predictions: Predictions) -> PredictionsBlock:
    """What a record says of its predictions."""
    return PredictionsBlock(
        file=predictions_file(record),
        digest=hashlib.sha256(_lines(predictions)).hexdigest(),
        rows=len(predictions),
        scorers=predictions.scorers,
    )


def predictions_file(record: Record) -> str:
    """The name of the file that holds the predictions of a record."""
    return record.file_name.removesuffix(".json") + ".jsonl.gz"


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a file of predictions, in full or not at all; equal predictions give equal bytes.

    Raises:
        OutputError: the folder cannot be written.
    """
    # Without a time and a name the bytes depend on the content alone.
    atomic_write(path, gzip.compress(_lines(predictions), compresslevel=9, mtime=0))


def load_predictions(folder: Path, record: Record) -> Predictions:
    """Read the predictions of a record.

    Args:
        folder: where the record's own file lies.
        record: says which file, and what must be in it.

    Raises:
        PredictionsError: the record has no predictions, or their file is missing, damaged, or not
            the one that the record was written with. The message names the file.
    """
    block = record.predictions
    if block is None:
        reason = "it failed" if record.status == "failed" else "it was made before they were stored"
        raise PredictionsError(
            f"record {record.file_name} has no predictions: {reason}; run the cell again"
        )
    path = folder / block.file
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != block.digest:
        raise PredictionsError(
            f"{path} does not hold the predictions of {record.file_name}: its digest is another; "
            "run the cell again"
        )
    try:
        examples = tuple(map(_adapter().validate_json, data.splitlines()))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "line"
        raise PredictionsError(f"{path} is not valid: {place}: {fault['msg']}") from error
    unknown = [scorer for scorer in block.scorers if scorer not in METRICS]
    if unknown:
        raise PredictionsError(f"{path} is scored by {unknown[0]!r}, which this version lacks")
    if len(examples) != block.rows or not examples:
        raise PredictionsError(f"{path} has {len(examples)} lines, its record says {block.rows}")
    predictions = Predictions(examples, block.scorers)
    if predictions.groups is None and any(METRICS[scorer].grouped for scorer in block.scorers):
        raise PredictionsError(f"{path} has lines without a group, which its scorers need")
    return predictions


def _lines(predictions: Predictions) -> bytes:
    return "".join(_line(example) + "\n" for example in predictions.examples).encode("ascii")


def _line(example: Prediction) -> str:
    values = dataclasses.asdict(example)
    if example.group is None:
        del values["group"]
    # Plain ASCII: no character of an answer can be taken for the end of the line.
    return json.dumps(values, separators=(",", ":"))


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise PredictionsError(
            f"{path} is missing: put it back beside its record, or run the cell again"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PredictionsError(f"{path} is damaged: {error}; run the cell again") from error
    except OSError as error:
        raise PredictionsError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise PredictionsError(f"{path} unpacks to more than {MOST_BYTES} bytes; not read")
    return data


@functools.cache
def _adapter() -> TypeAdapter[Prediction]:
    return TypeAdapter(Prediction)


__all__ = [
    "Prediction",
    "Predictions",
    "judge",
    "load_predictions",
    "predictions_block",
    "predictions_file",
    "write_predictions",
]
