"""Training batches by step: how many examples they hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.protocol import Batch
from bench.training.settings import Batching
from bench.training.streams import TaskStream


class Encoded:
    """Encoded examples that know their indices alone."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number

    @property
    def lengths(self) -> list[int]:
        return [1 + index % 7 for index in range(self.number)]

    def batch(self, indices: list[int]) -> Batch:
        ids = torch.tensor(indices).unsqueeze(1)
        return Batch(ids, torch.ones_like(ids), ids)


@pytest.mark.parametrize("batching", ["random", "bucketed"])
@pytest.mark.parametrize(("number", "batch_size"), [(16, 32), (10, 4), (8, 4), (1, 3)])
def test_seen_counts_what_the_batches_hold(
    number: int, batch_size: int, batching: Batching
) -> None:
    examples: Any = Encoded(number)
    stream = TaskStream(examples, batch_size, 1, torch.device("cpu"), batching)
    held = 0
    for step in range(1, 12):
        held += len(stream.batch(step))
        assert stream.seen(step) == held
