"""Where examples come from: hub, local folder or bundled samples; splits; few-shot; encoding."""

from bench.data.batches import (
    Example,
    MixtureSampler,
    batch_indices,
    collate,
    evaluation_batches,
    steps_per_epoch,
)
from bench.data.check import TaskReport, check, prefetch
from bench.data.encoding import EncodedExamples, TextEncoder, encode_examples
from bench.data.fewshot import sample_shots
from bench.data.hub import offline
from bench.data.rows import OFFICIAL_ROW
from bench.data.sources import DataSource, open_source
from bench.data.splits import DATA_SEED, TaskRows, load_splits

__all__ = [
    "DATA_SEED",
    "OFFICIAL_ROW",
    "DataSource",
    "EncodedExamples",
    "Example",
    "MixtureSampler",
    "TaskReport",
    "TaskRows",
    "TextEncoder",
    "batch_indices",
    "check",
    "collate",
    "encode_examples",
    "evaluation_batches",
    "load_splits",
    "offline",
    "open_source",
    "prefetch",
    "sample_shots",
    "steps_per_epoch",
]
