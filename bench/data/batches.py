"""Batches of encoded examples: which rows a step sees, and their padding.

The rows of a step follow from the seed and the number of the step, so a resumed run sees the
batches of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.seeding import generator

if TYPE_CHECKING:
    import torch

    from bench.data.encoding import EncodedExamples
    from bench.method import Batch, SourceStage

MEGABATCH = 50
"""Most batches whose rows are sorted by length together, as in transformers."""


Example = dict[str, list[int]]
"""``input_ids`` and ``labels``, without padding."""


def collate(
    examples: Sequence[Example], pad_id: int, task_ids: Sequence[int] | None = None
) -> Batch:
    """Pad examples on the right to the longest of them; ``task_ids`` for source stages."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from bench.method import IGNORED_LABEL, Batch

    inputs = [torch.tensor(example["input_ids"], dtype=torch.long) for example in examples]
    labels = [torch.tensor(example["labels"], dtype=torch.long) for example in examples]
    return Batch(
        input_ids=pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        mask=pad_sequence([torch.ones_like(ids) for ids in inputs], batch_first=True),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
        task_ids=None if task_ids is None else torch.tensor(list(task_ids)),
    )


@dataclass
class TaskBatches:
    """Training batches of one task; each example occurs once an epoch.

    An epoch is a random order of all examples, cut into batches; the last one may be smaller, as in
    the published runs. Bucketed batches hold inputs of similar length: as in the length-grouped
    sampler of transformers, the order is cut into megabatches of at most :data:`MEGABATCH` batches
    (at least four an epoch if there are as many batches), each sorted by length and cut into
    batches. Unlike there, the full batches of an epoch come in a random order.
    """

    encoded: EncodedExamples
    batch_size: int
    seed: int
    device: torch.device
    batching: Literal["random", "bucketed"] = "random"

    def __post_init__(self) -> None:
        self.examples = len(self.encoded)
        self._per_epoch = -(-self.examples // self.batch_size)
        self._epoch: tuple[int, Sequence[torch.Tensor]] = (-1, [])

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches."""
        epochs, rest = divmod(steps, self._per_epoch)
        return epochs * self.examples + rest * self.batch_size

    def indices(self, step: int) -> list[int]:
        """Examples of optimiser step ``step`` (from 1)."""
        epoch, batch = divmod(step - 1, self._per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._batches(epoch))
        indices: list[int] = self._epoch[1][batch].tolist()
        return indices

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1)."""
        return self.encoded.batch(self.indices(step)).to(self.device)

    def _batches(self, epoch: int) -> Sequence[torch.Tensor]:
        import torch

        size, full = self.batch_size, self.examples // self.batch_size
        order = torch.randperm(self.examples, generator=generator("epoch", self.seed, epoch))
        if self.batching == "random":
            return torch.split(order, size)
        lengths = torch.tensor(self.encoded.lengths)
        batches: list[torch.Tensor] = []
        if full:
            megabatch = size * max(1, min(full // 4, MEGABATCH))
            for rows in torch.split(order[: full * size], megabatch):
                # A stable sort keeps rows of equal length in their random order.
                batches += torch.split(rows[lengths[rows].argsort(stable=True)], size)
        places = torch.randperm(full, generator=generator("buckets", self.seed, epoch))
        return [batches[place] for place in places] + [order[full * size :]]


@dataclass
class MixtureBatches:
    """Training batches over all source tasks, in the order of the sources.

    The method's source stage draws the task of each row, and the row is drawn uniformly from the
    task with replacement, so there are no epochs.
    """

    sources: Sequence[EncodedExamples]
    stage: SourceStage[Any]
    batch_size: int
    seed: int
    device: torch.device

    @property
    def examples(self) -> int:
        """Number of training examples of all source tasks."""
        return sum(map(len, self.sources))

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches."""
        return steps * self.batch_size

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1)."""
        import torch

        draw = generator("source tasks", self.seed, step)
        tasks = self.stage.sample_tasks(self.batch_size, draw)
        draw, examples = generator("mixture rows", self.seed, step), []
        for source in (self.sources[task] for task in tasks):
            examples += source.examples([int(torch.randint(len(source), (), generator=draw))])
        return collate(examples, self.sources[0].pad_id, tasks).to(self.device)


def evaluation_batches(
    examples: EncodedExamples, batch_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Indices and batch of all examples once, longest inputs first: little padding, early OOM."""
    order = sorted(range(len(examples)), key=lambda i: -examples.lengths[i])
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, examples.batch(indices)
