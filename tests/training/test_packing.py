"""Trainings in shared passes: each as if it were alone, whatever its mates do."""

from __future__ import annotations

import dataclasses
import functools
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from bench.errors import StopRequested
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
from bench.training.checkpoints import CheckpointFile
from bench.training.listeners import Listener, TrainingInfo
from bench.training.loop import DivergedError, Trainer, TrainingResult, Validation
from bench.training.packing import concatenate, shares_passes, train_together
from bench.training.settings import TrainingSettings
from bench.training.stopping import Stop

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
# AdamW moves by its rate however small a gradient is, so that the rounding of one that is nearly
# zero counts in full: rates far below the published ones keep that below the tolerance.
RATES = {"mpt": "learning_rate=0.01,factor_learning_rate=0.01"}
LENGTH, WIDTH, ROWS = 5, 32, 3
SOURCES = ("mnli", "qnli", "sst2")


@functools.cache
def model_of(kind: str, dropout: float = 0.0) -> FrozenLM:
    """A model of two layers with random weights."""
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


class Task:
    """Batches of a made-up task: inputs and answers of its own lengths, padded, by step."""

    examples = 60

    def __init__(self, number: int, rows: int = ROWS) -> None:
        self.number, self.rows = number, rows

    def seen(self, steps: int) -> int:
        return steps * self.rows

    def batch(self, step: int) -> Batch:
        draw = torch.Generator().manual_seed(1000 * self.number + step)
        inputs, answers = 6 + 4 * self.number, 1 + self.number % 3
        ids = torch.randint(3, 400, (self.rows, inputs), generator=draw)
        labels = torch.randint(3, 400, (self.rows, answers), generator=draw)
        mask = torch.ones_like(ids)
        mask[0, inputs // 2 :] = 0
        labels[-1, 1:] = IGNORED_LABEL
        return Batch(ids, mask, labels)


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


def trainer(
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
    options = {"info": info, "stop": Stop(), **options}
    return Trainer(model, module, Task(number, rows), settings, seed, validate, **options)


def run_all(trainers: Sequence[Trainer]) -> list[TrainingResult | Exception]:
    """What becomes of trainings in one pack, in their order."""
    found: dict[Trainer, TrainingResult | Exception] = {}
    train_together(trainers, found.__setitem__)
    return [found[each] for each in trainers]


def assert_same(
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


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_packed_prompts_equal_those_trained_alone(kind: str) -> None:
    """All methods, each on a task of its own and with its own seed; lengths differ."""
    model = model_of(kind)

    def trainers() -> list[Trainer]:
        return [
            trainer(model, method, number, 42 + number, rows=2 + number % 2)
            for number, method in enumerate(METHODS)
        ]

    alone, packed = trainers(), trainers()
    before = [tensor_digest(each.trained[0]) for each in packed]
    expected = [each.run() for each in alone]
    outcomes = run_all(packed)
    for mine, outcome, other, result in zip(packed, outcomes, alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, result.trainings_per_pass) == (5, None)
    assert [tensor_digest(each.trained[0]) for each in packed] != before
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert not model.model.training


def test_a_pack_makes_one_pass_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_passes(monkeypatch)
    model = model_of("t5")
    run_all([trainer(model, seed=seed, steps=4) for seed in (1, 2, 3)])
    assert passes == [3 * ROWS] * 4


def test_trainings_of_different_length_leave_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of("t5")
    steps = {"pt": 20, "dtvg": 7, "attempt": 13}

    def trainers() -> list[Trainer]:
        return [trainer(model, m, n, steps=steps[m]) for n, m in enumerate(steps)]

    alone = trainers()
    expected = [each.run() for each in alone]
    passes, packed = count_passes(monkeypatch), trainers()
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
    assert passes == [3 * ROWS] * 7 + [2 * ROWS] * 6 + [ROWS] * 7


def count_passes(
    monkeypatch: pytest.MonkeyPatch, most: int | None = None, message: str = "out of memory"
) -> list[int]:
    """The rows of every pass; one over more than ``most`` rows fails."""
    passes: list[int] = []
    run = EncoderDecoderLM.run

    def counted(self: Any, prompt: Tensor, batch: Batch) -> Any:
        if most is not None and len(batch) > most:
            raise RuntimeError(message)
        passes.append(len(batch))
        return run(self, prompt, batch)

    monkeypatch.setattr(EncoderDecoderLM, "run", counted)
    return passes


class Faulty(Listener):
    """Breaks a module after some steps: raises, or puts NaN into it."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.module: PromptMethod[Any] | None = None

    def on_step(self, step: int, total: int) -> None:
        if step == self.step and self.module is not None:
            with torch.no_grad():
                next(self.module.parameters()).fill_(float("nan"))


@pytest.mark.parametrize("fault", ["diverges", "raises", "raises backwards"])
def test_a_faulty_mate_ends_alone(fault: str) -> None:
    model = model_of("t5")

    class Raises(type(build("pt", model, 1))):  # type: ignore[misc]
        def prompt_for(self, model: Any, batch: Batch) -> Tensor:
            self.passes = getattr(self, "passes", 0) + 1
            if fault == "raises" and self.passes > 8:
                raise ValueError("no prompt")
            prompt: Tensor = super().prompt_for(model, batch)
            if fault == "raises backwards" and self.passes > 8:
                prompt.register_hook(self.fail)  # type: ignore[no-untyped-call]
            return prompt

        def fail(self, gradient: Tensor) -> Tensor:
            raise ValueError("no prompt")

    alone = [trainer(model, "pt", 0), trainer(model, "attempt", 2)]
    expected = [each.run() for each in alone]
    packed = [trainer(model, "pt", 0), trainer(model, "pt", 1), trainer(model, "attempt", 2)]
    bad = packed[1]
    if fault == "diverges":
        listener = Faulty(8)
        packed[1] = bad = trainer(model, "pt", 1, listeners=[listener])
        listener.module = bad.trainable  # type: ignore[assignment]
    else:
        bad.trainable.__class__ = Raises
    outcomes = run_all(packed)
    if fault == "diverges":
        assert isinstance(outcomes[1], DivergedError)
        assert "before step 10" in str(outcomes[1])
    else:
        assert isinstance(outcomes[1], ValueError)
        assert bad.progress.step == 8
    for place, other, result in zip((0, 2), alone, expected, strict=True):
        assert_same(packed[place], outcomes[place], other, result)


def test_a_stop_leaves_a_checkpoint_of_every_mate(tmp_path: Path) -> None:
    """From these each continues to where it would have come undisturbed, here in another pack."""
    model = model_of("t5")
    methods = ("pt", "dtvg", "attempt")

    def trainers(stop: Stop, *listeners: Listener) -> list[Trainer]:
        return [
            trainer(
                model,
                method,
                number,
                checkpoint=CheckpointFile(tmp_path / method),
                stop=stop,
                listeners=listeners if number == 1 else (),
            )
            for number, method in enumerate(methods)
        ]

    class Asks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 8:
                stop.request(signal.SIGTERM)

    stop, ended = Stop(), list[Any]()
    with pytest.raises(StopRequested) as caught:
        train_together(trainers(stop, Asks()), lambda *outcome: ended.append(outcome))
    assert caught.value.exit_code == 143
    assert ended == []
    saved = [CheckpointFile(tmp_path / method).load() for method in methods]
    # The last one had the gradients of its eighth step, but had not used them yet.
    assert [each.progress.step for each in saved if each is not None] == [8, 8, 7]

    again = trainers(Stop())
    outcomes = [again[0].run(), *run_all(again[1:])]  # The first alone: its mates may be others.
    for number, (mine, outcome) in enumerate(zip(again, outcomes, strict=True)):
        alone = trainer(model, methods[number], number)
        assert_same(mine, outcome, alone, alone.run())


def test_a_killed_pack_continues_from_the_last_checkpoints(tmp_path: Path) -> None:
    model = model_of("t5")

    class KilledError(BaseException):
        """As a kill, no exception that anything handles."""

    class Kill(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 8:
                raise KilledError

    def trainers(*listeners: Listener) -> list[Trainer]:
        return [
            trainer(
                model,
                m,
                n,
                checkpoint=CheckpointFile(tmp_path / m),
                listeners=listeners if n else (),
            )
            for n, m in enumerate(("pt", "mpt"))
        ]

    with pytest.raises(KilledError):
        run_all(trainers(Kill()))
    saved = CheckpointFile(tmp_path / "pt").load()
    assert saved is not None
    assert saved.progress.step == 5
    again = trainers()
    for number, (mine, outcome) in enumerate(zip(again, run_all(again), strict=True)):
        alone = trainer(model, ("pt", "mpt")[number], number)
        assert_same(mine, outcome, alone, alone.run())


def test_what_ends_the_run_saves_the_mates(tmp_path: Path) -> None:
    """A full disk, or a listener that fails: who is told of it decides, by raising it."""
    model = model_of("t5")
    file = CheckpointFile(tmp_path / "checkpoint")

    class Breaks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 7:
                raise OSError("disk full")

    heard: list[Any] = []

    class Ears(Listener):
        def on_finish(self, result: TrainingResult | None) -> None:
            heard.append(result)

    def ended(trainer: Trainer, outcome: TrainingResult | Exception) -> None:
        assert isinstance(outcome, Exception)
        raise outcome

    with pytest.raises(Exception, match="listener Breaks failed in on_step"):
        train_together(
            [
                trainer(model, number=0, checkpoint=file, listeners=[Ears()]),
                trainer(model, number=1, listeners=[Breaks()]),
            ],
            ended,
        )
    saved = file.load()
    assert saved is not None
    assert saved.progress.step == 7
    assert heard == [None]


def test_out_of_memory_halves_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("t5")
    methods = ("pt", "spot", "dtvg", "attempt")

    def trainers() -> list[Trainer]:
        return [trainer(model, method, n, steps=5) for n, method in enumerate(methods)]

    alone = trainers()
    expected = [each.run() for each in alone]
    packed, passes = trainers(), count_passes(monkeypatch, most=2 * ROWS)
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, outcome.micro_batch_size) == (2, None)
    assert passes == [2 * ROWS] * 2 * 5


def test_out_of_memory_ends_with_parts_of_single_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("t5")
    alone = [trainer(model, "pt", number, steps=5) for number in range(3)]
    expected = [each.run() for each in alone]
    packed = [trainer(model, "pt", number, steps=5) for number in range(3)]
    passes = count_passes(monkeypatch, most=ROWS - 1)
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert (outcome.trainings_per_pass, outcome.micro_batch_size) == (None, 2)
    assert passes == [2, 1] * 3 * 5


def test_what_is_too_long_together_but_not_alone_is_trained_apart() -> None:
    """A causal model has room for so many tokens: the longest input beside the longest answer."""
    model = model_of("llama")

    class Long(Task):
        def batch(self, step: int) -> Batch:
            ids = torch.full((2, 60), 7)
            return Batch(ids, torch.ones_like(ids), torch.full((2, 2), 9))

    class Wordy(Task):
        def batch(self, step: int) -> Batch:
            ids = torch.full((2, 2), 8)
            return Batch(ids, torch.ones_like(ids), torch.full((2, 60), 9))

    def trainers() -> list[Trainer]:
        made = [trainer(model, steps=3, number=number) for number in range(2)]
        made[0].stream, made[1].stream = Long(0), Wordy(1)
        return made

    alone, packed = trainers(), trainers()
    expected = [each.run() for each in alone]
    for mine, outcome, other, result in zip(packed, run_all(packed), alone, expected, strict=True):
        assert_same(mine, outcome, other, result)
        assert isinstance(outcome, TrainingResult)
        assert outcome.trainings_per_pass is None


def test_prompts_of_other_lengths_have_passes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of("t5")
    longer = parse_method("pt", {})
    module = longer.load().build(longer.settings, Ingredients(model.initial_prompt(9, 1)))
    passes = count_passes(monkeypatch)
    trainers = [
        trainer(model, steps=2),
        trainer(model, module=module, steps=2),
        trainer(model, steps=2),
    ]
    outcomes = run_all(trainers)
    assert passes == [2 * ROWS, ROWS] * 2
    assert [o.trainings_per_pass for o in outcomes if isinstance(o, TrainingResult)] == [2, None, 2]


def test_a_module_with_a_loss_of_its_own_shares_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("t5")
    plain = type(build("pt", model, 1))

    class Own(plain):  # type: ignore[valid-type,misc]
        def loss(self, model: Any, batch: Batch) -> Tensor:
            loss: Tensor = super().loss(model, batch) + 0.1 * self().square().mean()
            return loss

    assert shares_passes(plain)
    assert not shares_passes(Own)
    own = [trainer(model, number=1, steps=3) for _ in range(2)]
    for each in own:
        each.trainable.__class__ = Own
    expected = own[0].run()
    passes = count_passes(monkeypatch)
    outcomes = run_all([trainer(model, steps=3), own[1], trainer(model, number=2, steps=3)])
    assert passes == [2 * ROWS, ROWS] * 3
    # Its passes are those of a training alone, to the bit.
    assert isinstance(outcomes[1], TrainingResult)
    assert outcomes[1].curve == expected.curve


def test_with_dropout_rows_have_masks_of_their_own_and_a_pack_repeats() -> None:
    """Two equal trainings in one pass differ, as their rows do; the same pack gives the same."""
    model = model_of("t5", dropout=0.2)
    states: list[list[str]] = []
    for _ in range(2):
        pair = [trainer(model, steps=3) for _ in range(2)]
        torch.manual_seed(len(states))  # What was drawn before has no part in it.
        run_all(pair)
        states.append([tensor_digest(each.trained[0]) for each in pair])
    assert states[0] == states[1]
    assert states[0][0] != states[0][1]


def test_times_of_mates_add_up_to_that_of_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that moves one second with every pass of the model."""
    clock = 0.0
    run = EncoderDecoderLM.run

    def slow(self: Any, prompt: Tensor, batch: Batch) -> Any:
        nonlocal clock
        clock += 1.0
        return run(self, prompt, batch)

    monkeypatch.setattr(EncoderDecoderLM, "run", slow)
    for place in ("loop", "packing"):
        monkeypatch.setattr(f"bench.training.{place}.time.perf_counter", lambda: clock)
    model = model_of("t5")
    outcomes = run_all([trainer(model, steps=6, rows=rows, number=rows) for rows in (2, 6)])
    seconds = [outcome.seconds for outcome in outcomes if isinstance(outcome, TrainingResult)]
    assert seconds == pytest.approx([6 * 2 / 8, 6 * 6 / 8])


def test_joined_batches_keep_every_row() -> None:
    batches = [Task(number).batch(1) for number in range(3)]
    whole = concatenate(batches, pad_id=0)
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch))
        for name, padding in (("input_ids", 0), ("mask", 0), ("labels", IGNORED_LABEL)):
            one, all_rows = getattr(batch, name), getattr(whole, name)[rows]
            assert torch.equal(all_rows[:, : one.shape[1]], one)
            assert (all_rows[:, one.shape[1] :] == padding).all()
        start += len(batch)
    assert len(whole) == start
    assert dataclasses.asdict(whole)["task_ids"] is None
