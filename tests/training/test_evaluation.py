"""Evaluation where memory runs out: the same answers, in parts that fit."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.data import EncodedExamples
from bench.errors import StopRequested
from bench.method import Batch
from bench.run_setup import SetupBuilder
from bench.tasks import get_task
from bench.training.evaluation import Evaluation, evaluate, fixed_prompt
from bench.training.stopping import Stop


class Echo:
    """A model that answers with the number it reads and that of its prompt; few rows fit."""

    device = torch.device("cpu")

    def __init__(self, fits: int, error: Exception) -> None:
        self.fits = fits
        self.error = error
        self.sizes: list[int] = []

    @contextmanager
    def inference(self) -> Iterator[None]:
        yield

    def answer(self, prompt: Tensor, batch: Batch, max_tokens: int, beams: int) -> list[str]:
        self.sizes.append(len(batch))
        if len(batch) > self.fits:
            raise self.error
        own = prompt.expand(len(batch), -1, -1)[:, 0, 0].tolist()
        read = batch.input_ids[:, 0].tolist()
        return [f"{number} {int(mine)}" for number, mine in zip(read, own, strict=True)]


def numbered(number: int) -> EncodedExamples:
    """Examples of equal length, each of which says its number."""
    ids = [[i] for i in range(number)]
    columns = {"input_ids": ids, "labels": ids, "length": [1] * number, "group": [None] * number}
    columns["references"] = [[str(i)] for i in range(number)]
    return EncodedExamples(Dataset.from_dict(columns), pad_id=0)


def answered(
    model: Any, number: int, batch_size: int, per_row: bool = False, stop: Stop | None = None
) -> Evaluation:
    asked: list[int] = []

    def own(batch: Batch) -> Tensor:
        asked.append(len(batch))
        return 2.0 * batch.input_ids.unsqueeze(2)

    prompt = own if per_row else fixed_prompt(torch.full((1, 1), 7.0))
    done = evaluate(model, prompt, numbered(number), get_task("squad"), batch_size, stop=stop)
    assert sum(asked) == number * per_row  # Once for each row, however often it is tried.
    return done


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 25), st.booleans())
def test_each_row_has_its_prompt(number: int, batch_size: int, fits: int, per_row: bool) -> None:
    model = Echo(fits, torch.OutOfMemoryError("CUDA out of memory"))
    done = answered(model, number, batch_size, per_row)
    assert done.predictions == [f"{i} {2 * i if per_row else 7}" for i in range(number)]
    largest = min(number, batch_size)
    assert (done.micro_batch_size is None) == (largest <= fits)
    if done.micro_batch_size is not None:
        assert fits / 2 <= done.micro_batch_size <= fits


def test_rows_that_fit_are_remembered_and_scored() -> None:
    model = Echo(3, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    done = answered(model, 25, 10)
    assert done.micro_batch_size == 3
    assert model.sizes == [10, 5, 3, 3, 3, 1, 3, 3, 3, 1, 3, 2]
    # One of two words is right.
    share = pytest.approx(200 / 3)
    assert done.scores.metrics == {"f1": share, "em": 0.0, "f1_any": share, "em_any": 0.0}


@pytest.mark.parametrize(("fits", "message"), [(0, "out of memory"), (3, "shapes differ")])
def test_other_errors_and_a_row_that_does_not_fit(fits: int, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        answered(Echo(fits, RuntimeError(message)), 9, 9)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA error: CUSPARSE_STATUS_INSUFFICIENT_RESOURCES when calling `cusparseCreate(handle)`",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "hipErrorOutOfMemory",
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory",
        "RESOURCE_EXHAUSTED: while running",
        "std::bad_alloc",
    ],
)
def test_what_libraries_say_when_memory_runs_out(message: str) -> None:
    assert answered(Echo(3, RuntimeError(message)), 9, 9).micro_batch_size == 3


def test_a_deferred_stop_comes_before_the_next_batch() -> None:
    stop = Stop()

    class Stopped(Echo):
        def answer(self, *values: Any) -> list[str]:
            stop.request(signal.SIGTERM)
            return super().answer(*values)

    model = Stopped(9, RuntimeError())
    with pytest.raises(StopRequested), stop.deferred():
        answered(model, 9, 3, stop=stop)
    assert model.sizes == [3]


@pytest.mark.parametrize(
    ("task", "metrics", "score"),
    [
        ("sst2", {"accuracy": 70.0}, 70),
        ("cola", {"matthews_correlation": 10.0, "accuracy": 90.0}, 10),
        ("multirc", {"f1": 40.0, "em": 0.0}, 40),
        ("mrpc", {"accuracy": 60.0, "f1": 80.0}, 70),
        ("stsb", {"pearson": 50.0, "spearmanr": 30.0}, 40),
        ("squad", {"f1": 50.0, "em": 30.0, "f1_any": 99.0, "em_any": 99.0}, 40),
        ("sst2", {"left": 5.0, "over": 7.0}, 6),  # None of the chosen ones could be computed.
    ],
)
def test_score_that_chooses_the_checkpoint(task: str, metrics: Any, score: float) -> None:
    examples: Any = SimpleNamespace(task=get_task)
    made = SetupBuilder(None, examples, None, Stop())  # type: ignore[arg-type]
    assert made.selection_score(task, metrics) == score
