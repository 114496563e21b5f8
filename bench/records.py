"""Result records: one JSON file per finished or failed cell, and all that tables are made of.

:mod:`bench.record_blocks` holds the types; ``record.schema.json`` says the same as a JSON Schema,
for readers in other languages. A record is checked against both when it is written. Reading checks
against the types alone, which takes a hundredth of the time and finds the same faults.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from bench.errors import RecordError
from bench.files import UNSEALED, atomic_write, seal_holds, sealed
from bench.record_blocks import (
    CORRELATIONS,
    SCHEMA_VERSION,
    CellBlock,
    CodeBlock,
    CurvePoint,
    DataBlock,
    ErrorBlock,
    HardwareBlock,
    LabelShares,
    MajorityBlock,
    MethodBlock,
    ModelBlock,
    PredictionsBlock,
    ProvenanceBlock,
    Record,
    RowsBlock,
    ScoresBlock,
    SourceBlock,
    TimingBlock,
    TrainingBlock,
)

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Location = tuple[int | str, ...]
"""Keys and indices from the root of a record to a value."""

DIGEST_LENGTH = 12
"""How much of a cell's digest the name of its record ends with."""

SCHEMA_FILE = Path(__file__).with_name("record.schema.json")


def write_record(record: Record, folder: Path) -> Path:
    """Write a record as ``folder / record.file_name``, in full or not at all.

    Raises:
        RecordError: the record does not follow the schema; nothing is written.
        OutputError: the folder cannot be written.
    """
    path = folder / record.file_name
    data = _encode(record, path)
    _check_against_schema(json.loads(data), path)
    _decode(data, path)
    atomic_write(path, sealed(data))
    return path


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        RecordError: the file cannot be read, is damaged, or has another schema version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read record {path}: {error.strerror or error}") from error
    return _decode(data, path)


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Read all ``*.json`` of a folder in the order of their names.

    Returns:
        The records, and a warning for each damaged file; these are left where they are. Both are
        empty if the folder does not exist.

    Raises:
        RecordError: the folder cannot be listed.
    """
    records: list[Record] = []
    warnings: list[str] = []
    for path in _json_files(folder):
        try:
            records.append(read_record(path))
        except RecordError as error:
            warnings.append(f"{error} (file kept, ignored)")
    return records, warnings


def find_record(records: Path, cell: str) -> Record:
    """The record of a cell.

    Args:
        records: folder of the records.
        cell: the beginning of its record's file name, or of its digest.

    Raises:
        RecordError: there is none, there are several, or it is damaged.
    """
    files = _json_files(records) if cell else []
    # A file's name ends with the first part of the digest; the rest is in the record.
    start = cell[:DIGEST_LENGTH]
    found = [path for path in files if path.name.startswith(cell)] or [
        path
        for path in files
        if path.stem[-DIGEST_LENGTH:].startswith(start)
        and read_record(path).digest.startswith(cell)
    ]
    if len(found) != 1:
        matches = f"{len(found)} cells match" if found else "no cell matches"
        raise RecordError(
            f"{matches} {cell!r} in {records}: give enough of the name of a record there, or of a "
            "cell's digest"
        )
    return read_record(found[0])


def records_folder(folder: Path) -> Path:
    """Where the records of a result folder lie: in ``records``, or in the folder itself."""
    inner = folder / "records"
    return inner if inner.is_dir() else folder


def _json_files(folder: Path) -> list[Path]:
    try:
        if not folder.exists():
            return []
        # iterdir, as glob passes over a folder that it may not list.
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise RecordError(f"cannot list records in {folder}: {error.strerror or error}") from error


def _encode(record: Record, path: Path) -> bytes:
    try:
        # The seal stands first, so that nothing else in the file can be taken for it.
        values = {
            "seal": UNSEALED,
            **dataclasses.asdict(dataclasses.replace(record, seal=UNSEALED)),
        }
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"record {path} cannot be stored as JSON: {error}") from error
    # Messages of the operating system may hold bytes that are no text.
    return (text + "\n").encode("utf-8", errors="replace")


def _decode(data: bytes, path: Path) -> Record:
    try:
        record = _adapter().validate_json(data)
    except ValidationError as error:
        raise RecordError(f"record {path} is {_damage(error)}") from error
    if record.seal not in (None, UNSEALED) and not seal_holds(data):
        raise RecordError(
            f"record {path} is damaged: it was changed after it was written; run again"
        )
    for fault in _contradictions(record):
        raise RecordError(f"record {path} is not valid: {fault}")
    return record


def _damage(error: ValidationError) -> str:
    """One line on what is wrong with the text of a record."""
    faults = error.errors(include_url=False, include_context=False)
    for fault in faults:
        if fault["loc"] == ("schema",) and isinstance(fault["input"], int):
            version = reprlib.repr(fault["input"])
            return f"of schema version {version}, this program reads {SCHEMA_VERSION}"
        if fault["type"] == "finite_number":
            # Deeper steps may be names of the types that were tried.
            return f"not valid: {_json_path(fault['loc'][:2])}: holds NaN or an infinite number"
    first = faults[0]
    if first["type"] == "json_invalid":
        return f"damaged: {first['msg']}"
    return f"not valid: {_json_path(first['loc'])}: {first['msg']}"


def _json_path(location: Location) -> str:
    steps = (f".{s}" if str(s).isidentifier() else f"[{json.dumps(s)}]" for s in location)
    return "$" + "".join(steps)


def _contradictions(record: Record) -> Iterator[str]:
    """Faults that lie between fields; the schema states them with if/then."""
    if record.status == "failed":
        if record.error is None:
            yield "$.error: a failed record needs one"
        if record.predictions is not None:
            yield "$.predictions: a failed record has none"
    elif record.error is not None:
        yield "$.error: a finished record has none"
    elif record.rows is None or record.scores is None or record.training is None:
        yield "$: a finished record needs rows, scores and training"
    for place, metrics in _metric_blocks(record):
        for name, value in metrics.items():
            if value < 0 and name not in CORRELATIONS:
                yield f"{_json_path((*place, name))}: {value} is no percentage"
    scores, predictions = record.scores, record.predictions
    if (
        predictions is not None
        and record.rows is not None
        and (predictions.rows != record.rows.test)
    ):
        yield f"$.predictions.rows: {predictions.rows} are not the {record.rows.test} test rows"
    if scores is not None and scores.table_metric not in scores.test:
        yield f"$.scores.test: lacks the table metric {scores.table_metric}"


def _metric_blocks(record: Record) -> Iterator[tuple[Location, Mapping[str, float]]]:
    if record.scores is not None:
        yield ("scores", "validation"), record.scores.validation
        yield ("scores", "test"), record.scores.test
    if record.majority is not None:
        yield ("majority", "test"), record.majority.test
    if record.training is not None:
        for index, point in enumerate(record.training.curve):
            yield ("training", "curve", index, "validation"), point.validation


@functools.cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


@functools.cache
def schema_validator() -> Draft202012Validator:
    """The validator of ``record.schema.json``."""
    from jsonschema import Draft202012Validator

    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _check_against_schema(content: object, path: Path) -> None:
    from jsonschema.exceptions import best_match

    fault = best_match(schema_validator().iter_errors(content))
    if fault is not None:
        raise RecordError(f"record {path} is not valid: {fault.json_path}: {fault.message}")


__all__ = [
    "DIGEST_LENGTH",
    "SCHEMA_FILE",
    "SCHEMA_VERSION",
    "CellBlock",
    "CodeBlock",
    "CurvePoint",
    "DataBlock",
    "ErrorBlock",
    "HardwareBlock",
    "LabelShares",
    "MajorityBlock",
    "MethodBlock",
    "ModelBlock",
    "PredictionsBlock",
    "ProvenanceBlock",
    "Record",
    "RowsBlock",
    "ScoresBlock",
    "SourceBlock",
    "TimingBlock",
    "TrainingBlock",
    "find_record",
    "read_record",
    "read_records",
    "records_folder",
    "schema_validator",
    "write_record",
]
