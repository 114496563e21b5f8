"""Data parallelism on one machine: processes that share the rows of every batch.

Every process computes the gradient of its rows on its own core; their sum is the gradient of the
batch. The weights lie in shared memory, so that they are updated once and for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.multiprocessing import get_context

from bench.method import Batch
from tools.pretrain_tiny.students import Student

_Arrays = tuple[NDArray[Any], ...]
"""Input ids, mask and labels: a pipe carries arrays faster than tensors in shared memory."""


class DataParallel:
    """Computes gradients together with processes of its own, until closed.

    Sums are added up in the order of the processes, so that the same number of them gives the same
    bits however fast each is.

    Args:
        student: of the recipe, which says how many processes share the work; one: this one alone.
        model: to be trained; its weights move to shared memory.
    """

    def __init__(self, student: Student, model: nn.Module) -> None:
        self._student = student
        self._model = model
        self._processes = student.recipe.processes
        self._helpers: list[ProcessPoolExecutor] = []
        self._gradients: list[list[Tensor]] = []

    def __enter__(self) -> DataParallel:
        if self._processes > 1:
            self._model.share_memory()
        for _ in range(1, self._processes):
            gradients = [torch.zeros_like(weight) for weight in self._model.parameters()]
            for gradient in gradients:
                gradient.share_memory_()  # type: ignore[no-untyped-call]
            # Spawned: a forked process would inherit locks of the threads that torch runs.
            helper = ProcessPoolExecutor(
                1,
                mp_context=get_context("spawn"),
                initializer=_start,
                initargs=(self._student, self._model, gradients, torch.get_num_threads()),
            )
            self._helpers.append(helper)
            self._gradients.append(gradients)
        return self

    def __exit__(self, *raised: object) -> None:
        for helper in self._helpers:
            helper.shutdown(cancel_futures=True)
        self._helpers.clear()

    def backward(self, batch: Batch) -> float:
        """Add the gradient of a batch's loss to the gradients of the model.

        Rows are dealt in turn: batches are sorted by length, so that every process gets as much.

        Returns:
            the loss, as :meth:`Student.loss`.

        Raises:
            BrokenProcessPool: a helper was killed.
        """
        weight = float(self._student.weights(batch).sum())
        parts = [_arrays(batch, start, self._processes) for start in range(self._processes)]
        others = [
            helper.submit(_backward, part, weight)
            for helper, part in zip(self._helpers, parts[1:], strict=True)
        ]
        loss = _add_gradient(self._student, self._model, parts[0], weight)
        for other, gradients in zip(others, self._gradients, strict=True):
            loss += other.result()
            for parameter, gradient in zip(self._model.parameters(), gradients, strict=True):
                assert parameter.grad is not None
                parameter.grad += gradient
        return loss


def _arrays(batch: Batch, start: int, step: int) -> _Arrays:
    tensors = (batch.input_ids, batch.mask, batch.labels)
    return tuple(np.ascontiguousarray(tensor[start::step].numpy()) for tensor in tensors)


def _add_gradient(student: Student, model: nn.Module, part: _Arrays, weight: float) -> float:
    """Add the gradient of some rows of a batch of that weight; returns their share of the loss."""
    loss = student.summed_loss(model, Batch(*map(torch.from_numpy, part))) / weight
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


# What follows runs in a helper.

_student: Student
_model: nn.Module
_gradients: Sequence[Tensor]


def _start(student: Student, model: nn.Module, gradients: Sequence[Tensor], threads: int) -> None:
    global _student, _model, _gradients
    torch.set_num_threads(threads)
    _student, _model, _gradients = student, model, gradients
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient


def _backward(part: _Arrays, weight: float) -> float:
    for gradient in _gradients:
        gradient.zero_()
    return _add_gradient(_student, _model, part, weight)
