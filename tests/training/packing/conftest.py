"""Small models and trainings of made-up tasks, to be trained in shared passes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from bench.models.base import FrozenLM
from bench.models.catalog import BUNDLED
from bench.models.decoder_only import DecoderOnlyLM
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.protocol import (
    IGNORED_LABEL,
    Batch,
    Ingredients,
    PromptMethod,
    SoftPrompt,
    tensor_digest,
)
from bench.registry import parse_method
from bench.training.listeners import TrainingInfo
from bench.training.loop import Trainer, TrainingResult, Validation
from bench.training.packing import train_together
from bench.training.settings import TrainingSettings
from bench.training.stopping import Stop

# AdamW moves by its rate however small a gradient is, so that the rounding of one that is nearly
# zero counts in full: rates far below the published ones keep that below the tolerance.
RATES = {"mpt": "learning_rate=0.01,factor_learning_rate=0.01"}
LENGTH, WIDTH, ROWS = 5, 32, 3
SOURCES = ("mnli", "qnli", "sst2")


@pytest.fixture(scope="session")
def batch_rows() -> int:
    """Rows of each batch, if nothing else is said."""
    return ROWS


@pytest.fixture(scope="session")
def model_of() -> Callable[..., FrozenLM]:
    """Makes a model of two layers with random weights, of a kind and with a rate of dropout."""

    @functools.cache
    def make(kind: str, dropout: float = 0.0) -> FrozenLM:
        words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "llama":
                config = AutoConfig.for_model(
                    "llama",
                    vocab_size=len(words),
                    hidden_size=WIDTH,
                    intermediate_size=48,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    max_position_embeddings=96,
                    initializer_range=0.1,
                    attention_dropout=dropout,
                )
                return DecoderOnlyLM(
                    AutoModelForCausalLM.from_config(config), words, torch.device("cpu")
                )
            config = AutoConfig.for_model(
                "t5",
                vocab_size=len(words),
                d_model=WIDTH,
                d_kv=8,
                d_ff=48,
                num_layers=2,
                num_heads=4,
                dropout_rate=dropout,
                decoder_start_token_id=words.pad_token_id,
            )
            return EncoderDecoderLM(
                AutoModelForSeq2SeqLM.from_config(config), words, torch.device("cpu")
            )

    return make


def batch_of(number: int, step: int, rows: int = ROWS) -> Batch:
    """A batch of a made-up task: inputs and answers of its own lengths, padded, by step."""
    draw = torch.Generator().manual_seed(1000 * number + step)
    inputs, answers = 6 + 4 * number, 1 + number % 3
    ids = torch.randint(3, 400, (rows, inputs), generator=draw)
    labels = torch.randint(3, 400, (rows, answers), generator=draw)
    mask = torch.ones_like(ids)
    mask[0, inputs // 2 :] = 0
    labels[-1, 1:] = IGNORED_LABEL
    return Batch(ids, mask, labels)


class Task:
    """The batches of a made-up task."""

    examples = 60

    def __init__(self, number: int, rows: int = ROWS) -> None:
        self.number, self.rows = number, rows

    def seen(self, steps: int) -> int:
        return steps * self.rows

    def batch(self, step: int) -> Batch:
        return batch_of(self.number, step, self.rows)


def build(method: str, model: FrozenLM, seed: int) -> PromptMethod[Any]:
    initial = model.initial_prompt(LENGTH, seed)
    draw = torch.Generator().manual_seed(seed)
    learned, *apart = 0.3 * torch.randn(1 + len(SOURCES), LENGTH, WIDTH, generator=draw)
    digest = tensor_digest(initial)
    sources = tuple(
        SoftPrompt(name, initial + learned + own, digest)
        for name, own in zip(SOURCES, apart, strict=True)
    )
    shared = {
        "shared": initial + learned,
        "columns": 1 + 0.1 * torch.randn(len(SOURCES), LENGTH, 1, generator=draw),
        "rows": 1 + 0.1 * torch.randn(len(SOURCES), 1, WIDTH, generator=draw),
    }
    target = SoftPrompt("cb", initial + learned, digest)
    spec = parse_method(f"{method}:{RATES.get(method, 'learning_rate=0.01')}", {})
    torch.manual_seed(seed)
    return spec.load().build(spec.settings, Ingredients(initial, sources, target, shared))


def make_trainer(
    model: FrozenLM,
    method: str = "pt",
    number: int = 0,
    seed: int = 42,
    rows: int = ROWS,
    module: PromptMethod[Any] | None = None,
    **options: Any,
) -> Trainer:
    """A training of 20 steps that is validated by what its module is, and by no model."""
    module = module or build(method, model, seed)
    changes = {key: options.pop(key) for key in ("steps",) if key in options}
    values: dict[str, Any] = {
        "steps": 20,
        "epochs": None,
        "batch_size": rows,
        "warmup_steps": 2,
        "evaluate_every": 5,
        "gradient_clip": 1.0,
        "patience": None,
        "evaluation_batch_size": 4,
    }
    settings = TrainingSettings(**values | changes)

    def validate() -> Validation:
        total = sum(float(value.double().sum()) for value in module.state_dict().values())
        return Validation({"accuracy": total})

    info = TrainingInfo(f"{number}-{method}-{seed}", str(number), method, method, None, seed)
    stream = options.pop("stream", Task(number, rows))
    options = {"info": info, "stop": Stop(), **options}
    return Trainer(model, module, stream, settings, seed, validate, **options)


def run_together(trainers: Sequence[Trainer]) -> list[TrainingResult | Exception]:
    """What becomes of trainings in one pack, in their order."""
    found: dict[Trainer, TrainingResult | Exception] = {}
    train_together(trainers, found.__setitem__)
    return [found[each] for each in trainers]


def compare(
    packed: Trainer,
    outcome: TrainingResult | Exception,
    alone: Trainer,
    expected: TrainingResult,
    atol: float = 1e-5,
) -> None:
    assert isinstance(outcome, TrainingResult), outcome
    assert (outcome.steps, outcome.best_step) == (expected.steps, expected.best_step)
    for mine, other in zip(outcome.curve, expected.curve, strict=True):
        assert mine["step"] == other["step"]
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-5)
    states = [each.trainable.state_dict() for each in (packed, alone)]
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=atol)


@pytest.fixture(scope="session")
def made_up_batch() -> Callable[..., Batch]:
    """A batch of a task, by its number and the step."""
    return batch_of


@pytest.fixture(scope="session")
def method_of() -> Callable[[str, FrozenLM, int], PromptMethod[Any]]:
    """The module of a method for a model and a seed."""
    return build


@pytest.fixture(scope="session")
def trainer() -> Callable[..., Trainer]:
    """Makes a training."""
    return make_trainer


@pytest.fixture(scope="session")
def run_all() -> Callable[[Sequence[Trainer]], list[TrainingResult | Exception]]:
    """Trains in one pack."""
    return run_together


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Compares a training in a pack with the same one alone."""
    return compare


@pytest.fixture
def count_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Counts from now on the rows of every pass; one over more than ``most`` rows fails."""

    def count(most: int | None = None) -> list[int]:
        passes: list[int] = []
        run = EncoderDecoderLM.run

        def counted(self: Any, prompt: Tensor, batch: Batch) -> Any:
            if most is not None and len(batch) > most:
                raise RuntimeError("out of memory")
            passes.append(len(batch))
            return run(self, prompt, batch)

        monkeypatch.setattr(EncoderDecoderLM, "run", counted)
        return passes

    return count
