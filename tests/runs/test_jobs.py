"""Methods on the real T5: what a step moves, what a merged prompt answers, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.data import evaluation_batches, open_source
from bench.errors import InitialPromptMismatchError, PromptError
from bench.models.base import FrozenLM
from bench.models.loading import describe, load
from bench.protocol import Batch, Trainable, tensor_digest
from bench.registry import METHODS
from bench.runs.cells import Training
from bench.runs.examples import Examples
from bench.runs.jobs import (
    SourceStageJob,
    TargetJob,
    build_method,
    prompt_source,
    stored_prompt_source,
)
from bench.runs.plan import make_plan
from bench.runs.prompts import PromptCard, StoredPrompt
from bench.training.evaluation import PromptSource, evaluate
from bench.training.loop import BatchStream, Trainer, Validation
from bench.training.settings import TrainingSettings

LENGTH = 6
VARIANTS = (
    "pt",
    "spot",
    "spot:source=qnli",
    "attempt",
    "attempt:train_norm=false",
    "mpt",
    "mpt:rank=2",
    "dtvg",
    "dtvg:grouping=similarity",
    "dtvg:grouping=consistency",
    "dtvg:grouping=all",
    "dtvg:grouping=target-only",
    "dtvg:grouping=fixed-first-step",
    "dtvg:similarity=cosine",
    "dtvg:scales=off",
    "dtvg:solver=exact",
)
ONE_STEP = TrainingSettings(
    steps=1,
    epochs=None,
    batch_size=4,
    warmup_steps=0,  # The first step of a warm-up has rate 0.
    evaluate_every=1,
    gradient_clip=1.0,
    patience=None,
    evaluation_batch_size=10,
)

Supply = Callable[[Training], StoredPrompt]
Plan = Callable[[str], Training]


class Repeated:
    """The same batch in every step."""

    examples = 4

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def seen(self, steps: int) -> int:
        return steps * self.examples

    def batch(self, step: int) -> Batch:
        return self._batch


@pytest.fixture(scope="module")
def lm() -> FrozenLM:
    return load("tiny")


@pytest.fixture(scope="module")
def examples(lm: FrozenLM, data: Path) -> Examples:
    return Examples(open_source(str(data)), lm.encoder, data_seed=42, input_length=48)


@pytest.fixture(scope="module")
def batch(examples: Examples) -> Batch:
    batch = examples.training("cb", 8, 42).encoded.batch(range(4))
    assert not batch.mask.all()  # With padding.
    return batch


@pytest.fixture(scope="module")
def plan(configure: Any, data: Path) -> Plan:
    """The planned training of a variant on cb."""

    def plan(variant: str) -> Training:
        config = configure(model="tiny", methods=[variant], tasks=["cb"], seeds=[42])
        (cell,) = make_plan(config, describe("tiny"), open_source(str(data))).cells
        return cell.training

    return plan


@pytest.fixture(scope="module")
def supply(lm: FrozenLM) -> Callable[..., Supply]:
    """Hands out prompts as trainings would give them; ``strays`` started from another seed."""

    def make(strays: Callable[[Training], bool] = lambda training: False) -> Supply:
        return lambda training: stored(lm, training, seed=43 if strays(training) else 42)

    return make


def stored(lm: FrozenLM, training: Training, seed: int) -> StoredPrompt:
    initial = lm.initial_prompt(LENGTH, seed)
    draw = torch.Generator().manual_seed(len(training.task))
    # All tasks learned something in common, so that DTVG's group is not empty.
    matrix = initial + 0.3 * torch.randn(lm.width, generator=torch.Generator().manual_seed(1))
    matrix = matrix + 0.1 * torch.randn(initial.shape, generator=draw)
    if training.is_source_stage:
        rank = training.method.settings.rank
        columns, rows = torch.ones(6, LENGTH, rank), torch.ones(6, rank, lm.width)
        tensors = {"shared": matrix, "columns": columns, "rows": rows / rank}
    else:
        tensors = {"prompt": matrix}
    form: Any = "shared" if training.is_source_stage else "prompt"
    return StoredPrompt(card(training, form, tensor_digest(initial)), tensors)


def card(training: Training, form: Any, initial_digest: str) -> PromptCard:
    return PromptCard(training.digest, form, training.card(), initial_digest, 0, {}, {}, {})


def take_a_step(lm: FrozenLM, module: Trainable[Any], stream: BatchStream) -> None:
    Trainer(lm, module, stream, ONE_STEP, 42, lambda: Validation({"accuracy": 0.0})).run()


def digests(module: nn.Module) -> dict[str, str]:
    """Of all parameters and buffers, those that are not stored included."""
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor_digest(tensor) for name, tensor in tensors}


def named(module: Trainable[Any]) -> set[str]:
    """Names of the tensors in the method's parameter groups."""
    trained = {id(p) for group in module.parameter_groups() for p in group.parameters}
    return {name for name, p in module.named_parameters() if id(p) in trained}


def moved_by_a_step(lm: FrozenLM, module: Trainable[Any], stream: BatchStream) -> set[str]:
    """What one step changed; the language model is not among it."""
    frozen, before = digests(lm.model), digests(module)
    take_a_step(lm, module, stream)
    assert digests(lm.model) == frozen
    assert not lm.model.training
    assert all(p.grad is None for p in lm.model.parameters())
    return {name for name, digest in digests(module).items() if digest != before[name]}


def test_variants_cover_every_method() -> None:
    assert {variant.partition(":")[0] for variant in VARIANTS} == set(METHODS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_moves_exactly_the_named_tensors_and_nothing_of_the_model(
    variant: str, lm: FrozenLM, plan: Plan, supply: Callable[..., Supply], batch: Batch
) -> None:
    module = build_method(plan(variant), lm, supply())
    # DTVG notes the group of the first step: no tensor that is trained.
    notes = {"first_group", "has_first_group"}
    assert moved_by_a_step(lm, module, Repeated(batch)) - notes == named(module) != set()


@pytest.mark.parametrize("variant", ["mpt", "mpt:rank=2"])
def test_a_step_of_the_source_stage_moves_exactly_its_tensors(
    variant: str, lm: FrozenLM, plan: Plan, supply: Callable[..., Supply], examples: Examples
) -> None:
    stage = plan(variant).requires[-1]
    assert stage.is_source_stage
    job = SourceStageJob(stage, lm, examples, supply())
    assert moved_by_a_step(lm, job.module, job.stream) == {"shared", "columns", "rows"}
    assert named(job.module) == {"shared", "columns", "rows"}


def assert_same(lm: FrozenLM, examples: Examples, one: PromptSource, other: PromptSource) -> None:
    """Equal predictions and equal logits, on batches with padding."""
    split, task = examples.evaluation("cb", "validation"), examples.task("cb")
    predictions = [evaluate(lm, source, split, task, 4).predictions for source in (one, other)]
    assert predictions[0] == predictions[1]
    with lm.inference():
        for _, batch in evaluation_batches(split, 4):
            logits = [lm.run(source(batch), batch).logits for source in (one, other)]
            assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_prompts_answer_as_the_module_does(
    variant: str,
    lm: FrozenLM,
    plan: Plan,
    supply: Callable[..., Supply],
    batch: Batch,
    examples: Examples,
) -> None:
    module = build_method(plan(variant), lm, supply())
    take_a_step(lm, module, Repeated(batch))
    unmerged = partial(module.prompt_for, lm)
    assert_same(lm, examples, prompt_source(module, lm), unmerged)
    assert (module.merged_prompt() is None) == variant.startswith("attempt")


@pytest.mark.parametrize("variant", ["pt", "attempt", "mpt", "dtvg"])
def test_stored_prompts_answer_as_the_module_did(
    variant: str, lm: FrozenLM, plan: Plan, supply: Callable[..., Supply], examples: Examples
) -> None:
    training = plan(variant)
    job = TargetJob(training, lm, examples, supply())
    take_a_step(lm, job.module, job.stream)
    form, tensors = job.tensors()
    kept = StoredPrompt(card(training, form, ""), tensors)
    assert form == ("module" if variant == "attempt" else "prompt")
    source = stored_prompt_source(training, kept, lm, supply())
    assert_same(lm, examples, source, partial(job.module.prompt_for, lm))


def test_stored_tensors_that_do_not_fit_are_refused(
    lm: FrozenLM, plan: Plan, supply: Callable[..., Supply]
) -> None:
    training = plan("attempt")
    stray = StoredPrompt(card(training, "module", ""), {"target": torch.zeros(LENGTH, lm.width)})
    with pytest.raises(PromptError, match=f"prompt {training.digest[:12]} does not fit attempt"):
        stored_prompt_source(training, stray, lm, supply())


def is_target(training: Training) -> bool:
    return training.shots is not None


def is_last_source(training: Training) -> bool:
    return training.task == "record"


@pytest.mark.parametrize(
    ("variant", "strays"),
    [
        ("dtvg", is_target),
        ("dtvg", is_last_source),
        ("dtvg:grouping=target-only", is_target),
        ("spot", is_target),
        ("spot", is_last_source),
        ("attempt", is_last_source),
    ],
)
def test_prompts_of_another_seed_are_refused(
    variant: str,
    strays: Callable[[Training], bool],
    lm: FrozenLM,
    plan: Plan,
    supply: Callable[..., Supply],
) -> None:
    task = "cb" if strays is is_target else "record"
    message = f"prompt of {task} was trained from initial prompt .*, not from .*: train it with"
    with pytest.raises(InitialPromptMismatchError, match=message):
        build_method(plan(variant), lm, supply(strays))


def test_teachers_of_another_seed_are_refused(
    lm: FrozenLM, plan: Plan, supply: Callable[..., Supply], examples: Examples
) -> None:
    stage = plan("mpt").requires[-1]
    with pytest.raises(InitialPromptMismatchError, match="prompt of record was trained from"):
        SourceStageJob(stage, lm, examples, supply(is_last_source))


def test_random_starts_follow_from_the_seed_alone(
    lm: FrozenLM, plan: Plan, supply: Callable[..., Supply]
) -> None:
    training = plan("attempt")
    starts = []
    for state in (1, 2):
        torch.manual_seed(state)
        starts.append(digests(build_method(training, lm, supply())))
    assert starts[0] == starts[1]
    reseeded = replace(training, seed=44)
    other = build_method(reseeded, lm, lambda required: stored(lm, required, seed=44))
    assert digests(other)["down.weight"] != starts[0]["down.weight"]
