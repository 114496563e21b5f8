"""Training batches by step: from one task, or from a mixture of source tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.data import (
    BucketedSampler,
    EncodedExamples,
    MixtureSampler,
    batch_indices,
    collate,
    steps_per_epoch,
)
from bench.protocol import Batch, SourceStage
from bench.seeding import generator
from bench.training.settings import Batching


class TaskStream:
    """Batches of one task; every example exactly once an epoch, in an order of (seed, epoch).

    Bucketed or not, an epoch has equally many batches of the same sizes.

    Args:
        examples: encoded training examples.
        batch_size: examples per batch; the last of an epoch may be smaller.
        seed: of the cell.
        device: where batches are put.
        batching: whether rows come at random, or with others of about their length.
    """

    def __init__(
        self,
        examples: EncodedExamples,
        batch_size: int,
        seed: int,
        device: torch.device,
        batching: Batching = "random",
    ) -> None:
        self.examples = len(examples)
        self._encoded = examples
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._buckets = (
            BucketedSampler(examples.lengths, batch_size, seed) if batching == "bucketed" else None
        )

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches."""
        epochs, rest = divmod(steps, steps_per_epoch(self.examples, self._batch_size))
        return epochs * self.examples + rest * self._batch_size

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1)."""
        if self._buckets is None:
            indices = batch_indices(self.examples, self._batch_size, self._seed, step - 1)
        else:
            indices = self._buckets.indices(step - 1)
        return self._encoded.batch(indices).to(self._device)


class MixtureStream:
    """Batches over all source tasks, drawn as the method's source stage says.

    Rows are drawn with replacement, so there are no epochs, and no buckets of equal lengths.

    Args:
        sources: encoded training examples per source task, in the order of the sources.
        stage: decides which task each row of a batch comes from.
        batch_size: rows per batch.
        seed: of the cell.
        device: where batches are put.
    """

    def __init__(
        self,
        sources: Sequence[EncodedExamples],
        stage: SourceStage[Any],
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.examples = sum(len(source) for source in sources)
        self._sources = sources
        self._stage = stage
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._sampler = MixtureSampler([len(source) for source in sources], seed)

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches."""
        return steps * self._batch_size

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1), with its rows' ``task_ids``."""
        draw = generator("source tasks", self._seed, step)
        tasks = self._stage.sample_tasks(self._batch_size, draw)
        rows = self._sampler.draw(step, tasks)
        examples = [self._sources[task].examples([row])[0] for task, row in rows]
        return collate(examples, self._sources[0].pad_id, tasks).to(self._device)
