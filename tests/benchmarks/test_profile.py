"""Where the time of a training step goes; run with ``tox -e benchmarks``.

Prompt tuning of a T5 of t5-small's shape with random weights, on random tokens, dropout on, one
thread. The profiler of PyTorch tells the time of each operation without those that it calls; a
figure is the share of a kind of them in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from baselines.pt import PromptTuning, PTSettings
from bench.models.base import FrozenLM
from bench.models.catalog import BUNDLED
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.info import Precision
from bench.protocol import Batch
from bench.training.loop import Trainer, Validation
from bench.training.settings import TrainingSettings

KINDS: Mapping[str, frozenset[str]] = {
    "matrix_products": frozenset({"aten::mm", "aten::addmm"}),
    "drawing_dropout_masks": frozenset({"aten::bernoulli_", "aten::random_", "aten::ge"}),
    "products_of_attention": frozenset({"aten::bmm", "aten::baddbmm"}),
    "products_element_by_element": frozenset({"aten::mul", "aten::mul_"}),
    "copies": frozenset({"aten::copy_"}),
}


@dataclass(frozen=True)
class Scale:
    """What is profiled.

    Attributes:
        shape: of the T5 model, what differs from t5-small.
        rows: of a batch.
        tokens: of each input, without the prompt.
        prompt: tokens of the prompt.
        steps: that are profiled; one before them is not.
    """

    shape: Mapping[str, int]
    rows: int
    tokens: int
    prompt: int
    steps: int


T5_SMALL = Scale({}, rows=16, tokens=80, prompt=100, steps=3)
TINY = Scale(
    {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 500},
    *(2, 4, 3, 1),
)


class SameRows:
    """A stream that repeats one batch of random tokens."""

    def __init__(self, scale: Scale) -> None:
        self.examples = scale.rows
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(3, 500, (scale.rows, scale.tokens), generator=draw)
        self._batch = Batch(ids, torch.ones_like(ids), ids[:, :4])

    def seen(self, steps: int) -> int:
        return steps * self.examples

    def batch(self, step: int) -> Batch:
        return self._batch


def train(model: FrozenLM, scale: Scale, steps: int) -> None:
    settings = TrainingSettings(
        steps=steps,
        epochs=None,
        batch_size=scale.rows,
        warmup_steps=0,
        evaluate_every=steps,
        gradient_clip=1.0,
        patience=None,
        evaluation_batch_size=scale.rows,
    )
    module = PromptTuning(model.initial_prompt(scale.prompt, 0), PTSettings())
    stream, nothing = SameRows(scale), Validation({"none": 0.0})
    Trainer(model, module, stream, settings, 0, lambda: nothing).run()


def profiled(scale: Scale, precision: Precision) -> dict[str, float]:
    """Percent of the time of steps by kind, and GFLOP/s of the products of matrices."""
    torch.manual_seed(0)
    t5 = T5ForConditionalGeneration(T5Config(**scale.shape, decoder_start_token_id=0))
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].words_path)
    model = EncoderDecoderLM(t5, words, torch.device("cpu"))
    model.store_weights_in(precision)
    train(model, scale, 1)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        train(model, scale, scale.steps)
    events = profiler.key_averages()

    def micros(names: frozenset[str]) -> float:
        return float(sum(e.self_cpu_time_total for e in events if e.key in names))

    products = KINDS["matrix_products"]
    flops = sum(event.flops for event in events if event.key in products)
    total = micros(frozenset(event.key for event in events))
    shares = {kind: 100 * micros(names) / total for kind, names in KINDS.items()}
    shares["all_other"] = 100 - sum(shares.values())
    return shares | {"gflops_per_second_of_matrix_products": flops / micros(products) / 1e3}


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.benchmark(group="profile")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_shares_of_a_step(precision: Precision, benchmark: Any, report: Any) -> None:
    found = benchmark.pedantic(profiled, (T5_SMALL, precision), rounds=1)
    report(**{kind: round(figure, 1) for kind, figure in found.items()})


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_kind_is_found(precision: Precision) -> None:
    """At a size for the tests: no kind is empty because PyTorch has other names for it."""
    found = profiled(TINY, precision)
    assert [kind for kind, figure in found.items() if figure <= 0] == []
