"""What a result record holds: the types behind ``record.schema.json``.

Metrics are percentages: 0 to 100, correlations -100 to 100. No number is NaN or infinite. Digests
are SHA-256 in hexadecimal. Use them through :mod:`bench.records`, which reads and writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat
from typing_extensions import TypeAliasType

SCHEMA_VERSION = 1

CORRELATIONS = frozenset({"matthews_correlation", "pearson", "spearmanr"})
"""Metrics that may be negative."""

Plain = TypeAliasType(
    "Plain", "bool | int | FiniteFloat | str | list[Plain] | dict[str, Plain] | None"
)
"""Any JSON value."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\.jsonl\.gz$")]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-100, le=100)]
Metrics = Mapping[str, Percent]
Version = Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]


class _Block:
    """Base of the parts of a record: no unknown key, no conversion of types, no NaN."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class ErrorBlock(_Block):
    """Why a cell failed: name of the exception's type and its message."""

    type: Name
    message: str


@dataclass(frozen=True, kw_only=True)
class MethodBlock(_Block):
    """A method with all its settings; ``label`` is its name in tables (``dtvg:grouping=all``)."""

    name: Name
    settings: Mapping[str, Plain]
    label: Name


@dataclass(frozen=True, kw_only=True)
class ModelBlock(_Block):
    """The frozen language model; ``note`` says what a reader of its scores must know."""

    name: Name
    digest: Digest
    kind: Literal["encoder-decoder", "decoder-only"]
    bundled: bool
    parameters: Count
    note: str


@dataclass(frozen=True, kw_only=True)
class DataBlock(_Block):
    """Where the rows of the task came from.

    ``fingerprint`` depends on the rows alone: not on seed, shots or method.
    """

    kind: Literal["bundled", "hub", "local"]
    name: Name
    fingerprint: Name
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class CodeBlock(_Block):
    """Digests of the source code that decides the result."""

    harness: Digest
    method: Digest


@dataclass(frozen=True, kw_only=True)
class CellBlock(_Block):
    """Everything that decides the result of a cell.

    Attributes:
        shots: number of training examples; None for the full data.
        seed: of initial prompt, few-shot sample and order of batches.
        data_seed: of the shuffle that makes the splits.
        prompt_length: prompt tokens.
        input_length: cap on the tasks' own input lengths, in tokens; None: no cap.
        training: options of the training loop, plain values.
        requires: digests of the trainings whose prompts this one started from.
        precision: of the frozen weights; records of older versions do not name it.
    """

    method: MethodBlock
    task: Name
    model: ModelBlock
    data: DataBlock
    shots: Annotated[int, Field(ge=1)] | None
    seed: int
    data_seed: int
    prompt_length: Annotated[int, Field(ge=1)]
    input_length: Annotated[int, Field(ge=1)] | None
    preset: Name
    training: Mapping[str, Plain]
    code: CodeBlock
    requires: tuple[Digest, ...]
    precision: Literal["float32", "bf16"] = "float32"


@dataclass(frozen=True, kw_only=True)
class RowsBlock(_Block):
    """Number of rows of each split, and which training rows a few-shot sample took."""

    train: Count
    validation: Count
    test: Count
    few_shot: tuple[Count, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelShares(_Block):
    """Share (0 to 1) of answers that are a label of the task; None if it has no labels."""

    validation: Share | None
    test: Share | None


@dataclass(frozen=True, kw_only=True)
class ScoresBlock(_Block):
    """All metrics of the best checkpoint; ``left_out`` says why a metric could not be computed."""

    table_metric: Name
    validation: Metrics
    test: Metrics
    valid_label_share: LabelShares
    left_out: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MajorityBlock(_Block):
    """What answering the most frequent training label scores on the test rows."""

    label: str
    test: Metrics


@dataclass(frozen=True, kw_only=True)
class CurvePoint(_Block):
    """One evaluation: mean training loss since the last one, metrics and labels on validation."""

    step: Count
    loss: float
    validation: Metrics
    valid_label_share: Share | None


@dataclass(frozen=True, kw_only=True)
class TrainingBlock(_Block):
    """How the training went.

    Attributes:
        trainable_parameters: scalars that the optimiser moved.
        steps: steps done.
        best_score: mean of the task's metrics on validation at ``best_step``.
        initial_digest: of the initial prompt; None if a given source prompt had another.
        prompt: digest of the training that gave it: its name in the prompt store.
        micro_batch_size: rows per pass, accumulated to the same batch, if memory ran out; else None
            or left out.
        evaluation_micro_batch_size: fewest rows answered at once, if memory ran out with the
            evaluation batch; else None or left out.
        trainings_per_pass: most trainings that shared a pass, this one among them; None or left out
            if it had every pass to itself.
    """

    trainable_parameters: Count
    steps: Count
    best_step: Count
    best_score: Percent
    stopped_early: bool
    curve: tuple[CurvePoint, ...]
    initial_digest: Digest | None
    prompt: Digest
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    evaluation_micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    trainings_per_pass: Annotated[int, Field(ge=2)] | None = None


@dataclass(frozen=True, kw_only=True)
class PredictionsBlock(_Block):
    """Where the answers of the best checkpoint on the test examples are stored.

    Attributes:
        file: in the folder of the record.
        digest: of its lines, unpacked.
        rows: number of lines.
        scorers: the metric modules that score them; the first says which answers are right.
    """

    file: FileName
    digest: Digest
    rows: Count
    scorers: Annotated[tuple[Name, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class SourceBlock(_Block):
    """A source prompt; ``prompt`` is its name in the prompt store, ``given`` if the user chose it.

    What a method makes of the sources is among its diagnostics.
    """

    task: Name
    prompt: Digest
    given: bool


@dataclass(frozen=True, kw_only=True)
class TimingBlock(_Block):
    """All that may differ between two runs of one cell; ``started``, ``finished`` in ISO 8601."""

    started: Name
    finished: Name
    training_seconds: Seconds
    evaluation_seconds: Seconds
    examples_per_second: Seconds
    peak_memory_bytes: Count


@dataclass(frozen=True, kw_only=True)
class HardwareBlock(_Block):
    """The machine; ``gpu`` is None where none was used."""

    cpu: str
    threads: Count
    gpu: str | None


@dataclass(frozen=True, kw_only=True)
class ProvenanceBlock(_Block):
    """Where the result was made; commit and dirty flag are None outside a git checkout."""

    git_commit: str | None
    git_dirty: bool | None
    versions: Mapping[str, str]
    python: Name
    platform: Name
    hardware: HardwareBlock
    command: str


@dataclass(frozen=True, kw_only=True)
class Record(_Block):
    """The result of one cell.

    A finished record has ``rows``, ``scores`` and ``training`` and no ``error``; a failed one has
    an ``error``, and None for what it did not come to. ``majority`` is None without labels;
    ``predictions`` and ``sources`` (the source prompts behind the cell, in the order of the
    sources) are None in records from before they were stored, as is ``seal``: the SHA-256 of the
    file with 64 zeros in its place, which :mod:`bench.records` fills in and checks.
    """

    schema: Version
    digest: Digest
    status: Literal["finished", "failed"]
    error: ErrorBlock | None
    cell: CellBlock
    rows: RowsBlock | None
    scores: ScoresBlock | None
    majority: MajorityBlock | None
    training: TrainingBlock | None
    diagnostics: Mapping[str, Plain]
    timing: TimingBlock
    provenance: ProvenanceBlock
    predictions: PredictionsBlock | None = None
    sources: tuple[SourceBlock, ...] | None = None
    seal: Digest | None = field(default=None, compare=False)

    @property
    def file_name(self) -> str:
        """``<task>-<method>-<shots|full>-<seed>-<digest>.json``; safe whatever the names hold."""
        cell = self.cell
        return record_file_name(cell.task, cell.method.name, cell.shots, cell.seed, self.digest)


def record_file_name(task: str, method: str, shots: int | None, seed: int, digest: str) -> str:
    """The name of the record of a cell: see :attr:`Record.file_name`."""
    parts = (task, method, "full" if shots is None else str(shots), str(seed), digest[:12])
    return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts)).lstrip(".-") + ".json"
