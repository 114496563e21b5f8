"""The result of a run as one JSON file.

Metrics are percentages: 0 to 100, correlations -100 to 100. No number is NaN or infinite. Digests
and ids are SHA-256 in hexadecimal. ``seal`` is the SHA-256 of the file with 64 zeros in its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

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


class Block(BaseModel):
    """Base of the parts of a record: no unknown key, no conversion of types, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ModelBlock(Block):
    """The frozen language model; ``note`` says what a reader of its scores must know."""

    name: Name
    digest: Id
    kind: Literal["encoder-decoder", "decoder-only"]
    bundled: bool
    parameters: Count
    note: str


class DataBlock(Block):
    """Origin of the task's rows; ``fingerprint`` follows from their files or their commit."""

    kind: Literal["bundled", "hub", "local"]
    name: Name
    fingerprint: Name
    revision: str | None


class VersionsBlock(Block):
    """Versions raised by hand when results change; they enter the id of the run."""

    results: int | str
    method: int | str
    task: int | str  # Of a source stage: those of all source tasks.


class RunBlock(Block):
    """Everything that decides the result of a run."""

    task: Name  # ``sources`` for a multi-task source stage.
    method: Name
    label: Name  # Row of tables, such as ``dtvg:grouping=all``.
    settings: dict[str, JsonValue]  # All of the method.
    shots: Positive | None  # Training examples in total; None: the full data.
    seed: Count  # Of initial prompt, few-shot sample, order of rows and dropout.
    preset: Name  # Its name with the changes to its protocol.
    model: ModelBlock
    data: DataBlock
    data_seed: Count
    prompt_length: Positive
    input_length: Positive | None
    validation_rows: Positive | None
    train_rows: Positive | None = None  # Of full training data, a sample by ``data_seed``.
    test_rows: Positive | None = None  # A sample, too.
    precision: Literal["float32", "bf16"]
    training: dict[str, JsonValue]  # Steps, batch size and intervals.
    versions: VersionsBlock
    needs: list[Id]  # Ids of the prompts it started from.

    @property
    def file_stem(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>``, with ``_`` for other than ``A-Za-z0-9._-``."""
        shots = "full" if self.shots is None else str(self.shots)
        joined = "-".join((self.task, self.method, shots, str(self.seed)))
        return re.sub(r"[^A-Za-z0-9._-]", "_", joined).lstrip(".-")

    def describe(self) -> str:
        """One short line: task, label, shots, seed."""
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
    """All metrics of the best checkpoint; ``left_out`` says why a metric is missing."""

    table_metric: Name
    validation: Metrics
    test: Metrics
    valid_label_share: dict[Literal["validation", "test"], Share | None]  # None without labels.
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
    """How the prompt was trained."""

    trainable_parameters: Count  # Scalars that the optimiser moved.
    steps: Count
    best_step: Count
    best_score: Percent  # Mean of the task's metrics on validation at the best step.
    stopped_early: bool
    curve: list[CurvePoint]
    initial_digest: Id | None  # Of the initial prompt; None if unknown.
    prompt: Id  # Of the stored prompt.
    micro_batch_size: Positive | None = None  # Rows per pass, if memory ran out with more.
    evaluation_micro_batch_size: Positive | None = None  # Rows answered together, likewise.


class SourceBlock(Block):
    """A source prompt behind the run; ``given`` if the user named it."""

    task: str
    prompt: Id
    given: bool


class TryBlock(Block):
    """One of several settings that were trained, of which validation chose one."""

    settings: dict[str, JsonValue]  # Where the tries differ.
    score: Percent | None  # As ``training.best_score``; None: it failed.
    prompt: Id  # Of the stored prompt.
    chosen: bool


class TimingBlock(Block):
    """What may differ between two equal runs; times in ISO 8601."""

    started: Name
    finished: Name
    training_seconds: Seconds = 0.0
    evaluation_seconds: Seconds = 0.0
    examples_per_second: Seconds = 0.0
    peak_memory_bytes: Count


class HardwareBlock(Block):
    """The machine; ``gpu`` is None where none was used."""

    cpu: str
    threads: Count
    gpu: str | None


class ProvenanceBlock(Block):
    """Where the result was made; commit and dirty flag are None outside a git checkout."""

    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    python: Name
    platform: Name
    hardware: HardwareBlock
    command: str


class PredictionsBlock(Block):
    """The file of the answers on test, SHA-256 of its lines, and the metrics that score them."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\.jsonl\.gz$")]
    digest: Id
    rows: Count
    scorers: Annotated[list[Name], Field(min_length=1)]


class PromptBlock(Block):
    """The tensors of a stored prompt: a merged matrix, a module's state, or a source stage's.

    Of an imported prompt only task, model, ``run.data.name`` (its file) and start are known.
    """

    form: Literal["prompt", "module", "shared"]
    sha256: Id  # Of the safetensors file.
    imported: bool = False


class ErrorBlock(Block):
    """Why a run failed."""

    type: Name
    message: str


class Record(Block):
    """What came out of a run.

    A finished record has ``rows`` and ``training``, and ``scores`` if it was scored on test; a
    failed one has ``error``. ``majority`` is None for tasks without labels. The description of a
    stored prompt is a record too: without test scores, with ``prompt``.
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
        scores, rows, answers = self.scores, self.rows, self.predictions
        if self.status == "failed" and (self.error is None or scores is not None):
            raise ValueError("a failed record has an error and no scores")
        if self.status == "finished" and (self.error or not rows or not self.training):
            raise ValueError("a finished record has rows and training and no error")
        if scores is not None and scores.table_metric not in scores.test:
            raise ValueError(f"scores.test lacks the table metric {scores.table_metric}")
        if answers is not None and rows and answers.rows != rows.test:
            raise ValueError(f"predictions.rows {answers.rows} are not the {rows.test} test rows")
        return self

    @property
    def file_name(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>-<id[:12]>.json``."""
        return f"{self.run.file_stem}-{self.id[:12]}.json"

    def to_bytes(self) -> bytes:
        """The sealed JSON text."""
        values = self.model_copy(update={"seal": UNSEALED}).model_dump(mode="json", by_alias=True)
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        data = text.encode("utf-8", errors="replace")
        seal = hashlib.sha256(data).hexdigest()
        return data.replace(UNSEALED.encode(), seal.encode(), 1)


def write_record(record: Record, path: Path) -> None:
    """Write a record in full or not at all."""
    try:
        data = record.to_bytes()
    except ValueError as error:  # Diagnostics of a plugin may hold NaN.
        raise RecordError(f"record {path} cannot be stored as JSON: {error}") from error
    _parse(data, path)
    atomic_write(path, data)


def read_record(path: Path) -> Record:
    """Read and check a record of this or an earlier schema."""
    try:
        return _parse(path.read_bytes(), path)
    except OSError as error:
        raise RecordError(f"cannot read record {path}: {error.strerror or error}") from error


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """All records of a folder in the order of their names, and a warning for each bad file."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        paths = []
    except OSError as error:
        raise RecordError(f"cannot list records in {folder}: {error.strerror or error}") from error
    records, warnings = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except RecordError as error:
            warnings.append(f"{error} (file kept, ignored)")
    return records, warnings


def _parse(data: bytes, path: Path) -> Record:
    try:
        values = json.loads(data, parse_constant=_refuse)
        if isinstance(values, dict) and values.get("schema") == 1:
            values = _from_schema_1(values)
        record = Record.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))
        reason = f"{place}: {fault['msg']}".removeprefix(": Value error, ")
        if fault["loc"] == ("schema",):
            reason = f"schema {fault['input']!r}, this program reads 1 and 2"
        raise RecordError(f"record {path} is not valid: {reason}; run again") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"record {path} is damaged: {one_line(error)}; run again") from error
    unsealed = data.replace(f'"seal": "{record.seal}"'.encode(), _NO_SEAL, 1)
    if record.seal not in (UNSEALED, hashlib.sha256(unsealed).hexdigest()):
        raise RecordError(f"record {path} was changed after it was written; run again")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _from_schema_1(old: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the first edition in today's form; code digests stand for versions."""
    run, training = dict(old["cell"]), old["training"]
    method, code = run.pop("method"), run.pop("code")
    harness, own = code["harness"][:12], code["method"][:12]
    run |= {"method": method["name"], "label": method["label"], "settings": method["settings"]}
    run |= {"validation_rows": None, "precision": run.get("precision", "float32")}
    run |= {"versions": {"results": harness, "method": own, "task": harness}}
    run |= {"needs": run.pop("requires")}
    if training is not None:
        training = {key: training[key] for key in training if key != "trainings_per_pass"}
    values = {key: old[key] for key in Record.model_fields.keys() & old.keys() if old[key]}
    return values | {"schema": 2, "id": old["digest"], "run": run, "training": training}
