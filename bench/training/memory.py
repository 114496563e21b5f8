"""Out of memory: how it is told on each device, and a batch in parts that gives the same gradient.

The parts of a batch are weighted by their target tokens, as losses are means over target tokens.
Only the distance of hidden states in MPT's source stage is a mean over input tokens: there the
parts' weights differ a little from those of one pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.protocol import IGNORED_LABEL, Batch

_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or elsewhere."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(message in text for message in _MESSAGES)


def release_memory() -> None:
    """Give what PyTorch keeps for later back to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def parts(batch: Batch, rows: int) -> Iterator[tuple[Batch, Tensor]]:
    """A batch in parts of at most ``rows`` rows, each with its share of the target tokens."""
    tokens = (batch.labels != IGNORED_LABEL).sum(dim=1)
    total = tokens.sum()
    for start in range(0, len(batch), rows):
        here = slice(start, start + rows)
        yield rows_of(batch, here), tokens[here].sum() / total


def rows_of(batch: Batch, here: slice) -> Batch:
    """Some rows of a batch."""
    tasks = None if batch.task_ids is None else batch.task_ids[here]
    return Batch(batch.input_ids[here], batch.mask[here], batch.labels[here], tasks)


__all__ = ["is_out_of_memory", "parts", "release_memory", "rows_of"]
