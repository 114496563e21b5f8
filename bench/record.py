"""Result record of a run, stored as one JSON file.

Metrics are percentages: 0 to 100, correlations -100 to 100. No number is NaN or infinite. Digests
and ids are SHA-256 in hexadecimal. ``seal`` is the SHA-256 of the file with 64 zeros in its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from bench.errors import RecordError, counted, one_line
from bench.files import atomic_write

UNSEALED = "0" * 64
_NO_SEAL = f'"seal": "{UNSEALED}"'.encode()

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-100, le=100)]
Metrics = dict[str, Percent]
Architecture = Literal["encoder-decoder", "decoder-only"]
Precision = Literal["float32", "bf16"]  # No float16: states of T5 overflow.


class Block(BaseModel):
    """Base class of record parts; refuses unknown keys, type conversions and NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ModelBlock(Block):
    """The frozen language model; ``note`` is a caveat for readers of its scores."""

    name: Name
    digest: Id
    kind: Architecture
    bundled: bool
    parameters: Count
    note: str


class DataBlock(Block):
    """Origin of the rows; ``fingerprint``: digest of the files, or hub repository and commit."""

    kind: Literal["bundled", "hub", "local"]
    name: Name
    fingerprint: Name
    revision: str | None


class VersionsBlock(Block):
    """Versions that are raised by hand when results change; part of the run id."""

    results: int
    method: int | str
    task: int | str  # In a source stage: versions of all source tasks.


class RunBlock(Block):
    """Everything that determines the result of a run."""

    task: Name  # ``sources`` for a multi-task source stage.
    method: Name
    label: Name  # Row name in tables, such as ``dtvg:grouping=all``.
    settings: dict[str, JsonValue]  # All settings of the method.
    shots: Positive | None  # Training examples in total; None: the full data.
    seed: Count  # Seed of initial prompt, few-shot sample, row order and dropout.
    preset: Name  # Preset name with changes to its protocol.
    model: ModelBlock
    data: DataBlock
    data_seed: Count
    prompt_length: Positive
    input_length: Positive | None
    validation_rows: Positive | None
    train_rows: Positive | None = None  # Sample size of full training data.
    test_rows: Positive | None = None  # Sample size of the test split.
    precision: Precision
    training: dict[str, JsonValue]  # Steps, batch size and intervals.
    versions: VersionsBlock
    needs: list[Id]  # Ids of the prompts that the run started from.

    @property
    def file_stem(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>``; ``_`` replaces all but ``A-Za-z0-9._-``."""
        shots = "full" if self.shots is None else str(self.shots)
        joined = "-".join((self.task, self.method, shots, str(self.seed)))
        return re.sub(r"[^A-Za-z0-9._-]", "_", joined).lstrip(".-")

    def describe(self) -> str:
        """One-line summary: task, label, shots, seed."""
        shots = "full data" if self.shots is None else counted(self.shots, "shot")
        return f"{self.task} {self.label} {shots} seed {self.seed}"


class RowsBlock(Block):
    """Number of rows of each split, and the training rows of the few-shot sample."""

    train: Count
    validation: Count
    test: Count
    few_shot: list[Count] | None
    notes: list[str]


class ScoresBlock(Block):
    """All metrics of the best checkpoint; ``left_out`` has the reason of each missing metric."""

    table_metric: Name
    validation: Metrics
    test: Metrics
    valid_label_share: dict[Literal["validation", "test"], Share | None]  # None for free text.
    left_out: dict[str, str]


class MajorityBlock(Block):
    """Test scores of always answering the most frequent training label."""

    label: str
    test: Metrics


class CurvePoint(Block):
    """One evaluation: mean training loss since the last one, and validation metrics."""

    step: Count
    loss: float
    validation: Metrics
    valid_label_share: Share | None = None


class TrainingBlock(Block):
    """Training of the prompt: steps, validation curve and best step."""

    trainable_parameters: Count  # Number of trained scalars.
    steps: Count
    best_step: Count
    best_score: Percent  # Mean of the selection metrics on validation at the best step.
    stopped_early: bool
    curve: list[CurvePoint]
    initial_digest: Id | None  # Digest of the initial prompt; None if unknown.
    prompt: Id  # Id of the stored prompt.
    micro_batch_size: Positive | None = None  # Rows per pass, if reduced for lack of memory.
    evaluation_micro_batch_size: Positive | None = None  # Rows per pass in evaluation.


class SourceBlock(Block):
    """A source prompt of the run; ``given``: named by the user instead of trained."""

    task: str
    prompt: Id
    given: bool


class TryBlock(Block):
    """One candidate of a run that selects its settings by validation score."""

    settings: dict[str, JsonValue]  # Settings that differ between tries.
    score: Percent | None  # Best validation score; None: training failed.
    prompt: Id  # Id of the stored prompt.
    chosen: bool


class TimingBlock(Block):
    """Values that may differ between repetitions of a run; times in ISO 8601."""

    started: Name
    finished: Name
    training_seconds: Seconds = 0.0
    evaluation_seconds: Seconds = 0.0
    examples_per_second: Seconds = 0.0
    peak_memory_bytes: Count


class HardwareBlock(Block):
    """Hardware of the machine; ``gpu`` is None without a GPU."""

    cpu: str
    threads: Count
    gpu: str | None


class ProvenanceBlock(Block):
    """Code, versions and machine of a result; git fields are None outside a checkout."""

    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    python: Name
    platform: Name
    hardware: HardwareBlock
    command: str


class PredictionsBlock(Block):
    """Test predictions: file name, SHA-256 of the lines, and metrics that score them."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\.jsonl\.gz$")]
    digest: Id
    rows: Count
    scorers: Annotated[list[Name], Field(min_length=1)]


class PromptBlock(Block):
    """Tensors of a stored prompt: a merged matrix, or the state of a module or source stage.

    For imported prompts, only task, model, ``run.data.name`` (the file) and ``P_init`` are known.
    """

    form: Literal["prompt", "module", "shared"]
    sha256: Id  # SHA-256 of the safetensors file.
    imported: bool = False


class ErrorBlock(Block):
    """Error of a failed run."""

    type: Name
    message: str


class Record(Block):
    """Result of a run.

    A finished record has ``rows`` and ``training``, and ``scores`` if it was scored on test; a
    failed one has ``error``. ``majority`` is None for tasks without labels. A stored prompt has a
    record too, with ``prompt`` and without test scores.
    """

    seal: Id = UNSEALED
    schema_version: Literal[2] = Field(default=2, alias="schema")
    id: Id
    status: Literal["finished", "failed"]
    error: ErrorBlock | None = None
    run: RunBlock
    rows: RowsBlock | None = None
    scores: ScoresBlock | None = None
    majority: MajorityBlock | None = None
    training: TrainingBlock | None = None
    diagnostics: dict[str, JsonValue] = {}
    timing: TimingBlock
    provenance: ProvenanceBlock
    predictions: PredictionsBlock | None = None
    sources: list[SourceBlock] = []
    tries: list[TryBlock] = []
    prompt: PromptBlock | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Record:
        scores, rows, predictions = self.scores, self.rows, self.predictions
        if self.status == "failed" and (self.error is None or scores is not None):
            raise ValueError("a failed record has an error and no scores")
        if self.status == "finished" and (self.error or not rows or not self.training):
            raise ValueError("a finished record has rows and training and no error")
        if scores is not None and scores.table_metric not in scores.test:
            raise ValueError(f"scores.test lacks the table metric {scores.table_metric}")
        if predictions is not None and rows and predictions.rows != rows.test:
            count = predictions.rows
            raise ValueError(f"predictions.rows {count} are not the {rows.test} test rows")
        return self

    @property
    def file_name(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>-<id[:12]>.json``."""
        return f"{self.run.file_stem}-{self.id[:12]}.json"

    def to_bytes(self) -> bytes:
        """Encode as JSON, with the seal."""
        values = self.model_copy(update={"seal": UNSEALED}).model_dump(mode="json", by_alias=True)
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        data = text.encode("utf-8", errors="replace")
        seal = hashlib.sha256(data).hexdigest()
        return data.replace(UNSEALED.encode(), seal.encode(), 1)


def write_record(record: Record, path: Path) -> None:
    """Write a record atomically."""
    try:
        data = record.to_bytes()
    except ValueError as error:  # Diagnostics of a plugin may hold NaN.
        raise RecordError(f"record {path} cannot be stored as JSON: {error}") from error
    _parse(data, path)
    atomic_write(path, data)


def read_record(path: Path) -> Record:
    """Read and check a record."""
    try:
        return _parse(path.read_bytes(), path)
    except OSError as error:
        raise RecordError(f"cannot read record {path}: {error.strerror or error}") from error


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Read all records of a folder, sorted by name; returns a warning for each bad file or copy."""
    records: dict[str, Record] = {}
    warnings = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = read_record(path)
        except RecordError as error:
            warnings.append(f"{error} (file kept, ignored)")
            continue
        if records.setdefault(record.id, record) is not record:
            warnings.append(f"{path} is a copy of another record: left out")
    return [*records.values()], warnings


def _parse(data: bytes, path: Path) -> Record:
    try:
        record = Record.model_validate(json.loads(data, parse_constant=_refuse))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, fault["loc"]))
        reason = f"{key}: {fault['msg']}".removeprefix(": Value error, ")
        if fault["loc"] == ("schema",):
            reason = f"schema {fault['input']!r}, this program reads 2"
        raise RecordError(f"record {path} is not valid: {reason}; run again") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"record {path} is damaged: {one_line(error)}; run again") from error
    unsealed = data.replace(f'"seal": "{record.seal}"'.encode(), _NO_SEAL, 1)
    if record.seal != hashlib.sha256(unsealed).hexdigest():
        raise RecordError(f"record {path} was changed after it was written; run again")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")
