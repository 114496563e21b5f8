"""Data: sources of official splits, encoded examples, and batches.

The modules import torch and datasets inside functions, so that name checks stay fast.
"""

from bench.data.encoding import EncodedExamples as EncodedExamples
from bench.data.encoding import Examples as Examples
from bench.data.encoding import MixtureBatches as MixtureBatches
from bench.data.encoding import TaskBatches as TaskBatches
from bench.data.encoding import evaluation_batches as evaluation_batches
from bench.data.sources import DataSource as DataSource
from bench.data.sources import open_source as open_source
from bench.data.splits import load_splits as load_splits
from bench.data.splits import sample_shots as sample_shots
