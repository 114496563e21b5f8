"""Where examples come from: hub, local folder or bundled samples; splits; few-shot; encoding.

Importing it is quick: the library ``datasets`` is loaded with the first rows, and a run that finds
all its cells done needs none.
"""

from bench.data.batches import (
    BucketedSampler,
    Example,
    MixtureSampler,
    batch_indices,
    collate,
    evaluation_batches,
    steps_per_epoch,
)
from bench.data.encoding import EncodedExamples, TextEncoder, encode_examples, leading_rows
from bench.data.fewshot import sample_shots
from bench.data.rows import OFFICIAL_ROW
from bench.data.sources import DataSource, open_source
from bench.data.splits import DATA_SEED, TaskRows, load_splits

__all__ = [
    "DATA_SEED",
    "OFFICIAL_ROW",
    "BucketedSampler",
    "DataSource",
    "EncodedExamples",
    "Example",
    "MixtureSampler",
    "TaskRows",
    "TextEncoder",
    "batch_indices",
    "collate",
    "encode_examples",
    "evaluation_batches",
    "leading_rows",
    "load_splits",
    "open_source",
    "sample_shots",
    "steps_per_epoch",
]
