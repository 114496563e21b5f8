"""Which examples a step sees, and how they are padded.

Nothing here keeps a state: the rows of a step follow from the seed and the step's number alone, so
a resumed run sees the very same batches.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

import torch

from bench.protocol import IGNORED_LABEL, Batch
from bench.seeding import generator

if TYPE_CHECKING:
    from bench.data.encoding import EncodedExamples


MEGABATCH = 50
"""Most batches whose rows are sorted by length together, as in transformers."""


class Example(TypedDict):
    """One encoded example: token ids of source and target, without padding."""

    input_ids: list[int]
    labels: list[int]


def collate(
    examples: Sequence[Example], pad_id: int, task_ids: Sequence[int] | None = None
) -> Batch:
    """Pad examples on the right to the longest of them.

    Args:
        examples: at least one.
        pad_id: fills up the input ids; labels are filled with :data:`IGNORED_LABEL`.
        task_ids: source task of each example, in multi-task source stages.
    """
    inputs = [example["input_ids"] for example in examples]
    return Batch(
        input_ids=_pad(inputs, pad_id),
        mask=_pad([[1] * len(ids) for ids in inputs], 0),
        labels=_pad([example["labels"] for example in examples], IGNORED_LABEL),
        task_ids=None if task_ids is None else torch.tensor(list(task_ids), dtype=torch.long),
    )


def _pad(sequences: Sequence[list[int]], value: int) -> torch.Tensor:
    """``(B, longest)`` int64."""
    longest = max(len(sequence) for sequence in sequences)
    padded = [sequence + [value] * (longest - len(sequence)) for sequence in sequences]
    return torch.tensor(padded, dtype=torch.long)


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Indices of the examples of one training step.

    An epoch is a random order of all ``n`` examples, cut into batches of ``batch_size``; the last
    one may be smaller, as in the published runs (the Trainer keeps it).

    Args:
        n: number of training examples.
        batch_size: at least one.
        seed: of the run.
        step: counted from 0 over all epochs.
    """
    epoch, batch = divmod(step, steps_per_epoch(n, batch_size))
    start = batch * batch_size
    return _epoch_order(n, seed, epoch)[start : start + batch_size].tolist()


class BucketedSampler:
    """Rows by step so that a batch holds inputs of about one length; every row once an epoch.

    As the length-grouped sampler of transformers: a random order of all rows is cut into
    megabatches of at most :data:`MEGABATCH` batches, at least four an epoch where there are as many
    batches; each is sorted by length and cut into batches. Unlike there, the batches of an epoch
    come in a random order, so that lengths do not fall and rise with the steps. The rows of the
    smaller last batch are random ones, and it stays the last. No epoch has more padding than the
    random batches of the same seed, as these divide the same megabatches.

    Args:
        lengths: input tokens of each training example.
        batch_size: at least one.
        seed: of the run.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = torch.tensor(lengths, dtype=torch.long)
        self._batch_size = batch_size
        self._seed = seed
        self._batches: tuple[int, list[torch.Tensor]] | None = None

    def indices(self, step: int) -> list[int]:
        """Rows of a step, counted from 0 over all epochs; they follow from the step alone."""
        epoch, batch = divmod(step, steps_per_epoch(len(self._lengths), self._batch_size))
        if self._batches is None or self._batches[0] != epoch:
            self._batches = (epoch, self._epoch(epoch))
        return self._batches[1][batch].tolist()

    def _epoch(self, epoch: int) -> list[torch.Tensor]:
        n, size = len(self._lengths), self._batch_size
        order = _epoch_order(n, self._seed, epoch)
        full = n // size
        megabatch = size * max(1, min(full // 4, MEGABATCH))
        batches: list[torch.Tensor] = []
        for start in range(0, full * size, megabatch):
            rows = order[start : min(start + megabatch, full * size)]
            # Rows of one length stay in their random order.
            rows = rows[self._lengths[rows].argsort(stable=True)]
            batches += [rows[at : at + size] for at in range(0, len(rows), size)]
        places = torch.randperm(full, generator=generator("buckets", self._seed, epoch))
        rest = [order[full * size :]] if full * size < n else []
        return [batches[place] for place in places] + rest


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches that hold ``n`` examples, the last one possibly smaller."""
    return -(-n // batch_size)


@functools.lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(n, generator=generator("epoch", seed, epoch))


class MixtureSampler:
    """Rows for multi-task batches: uniform, with replacement, within each drawn task.

    Args:
        sizes: number of training examples by task.
        seed: of the run.
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        self.sizes = tuple(sizes)
        self.seed = seed

    def draw(self, step: int, tasks: Sequence[int]) -> list[tuple[int, int]]:
        """One row for each drawn task index, as ``(task, row)``; a function of the step."""
        draw = generator("mixture rows", self.seed, step)
        return [(task, int(torch.randint(self.sizes[task], (), generator=draw))) for task in tasks]


def evaluation_batches(
    examples: EncodedExamples, batch_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """All examples once, longest inputs first so that batches hold little padding.

    Yields:
        Indices of the examples, and their batch. A batch that does not fit into memory shows at
        once.
    """
    order = sorted(range(len(examples)), key=lambda i: -examples.lengths[i])
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, examples.batch(indices)
