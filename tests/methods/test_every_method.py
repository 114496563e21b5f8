"""Properties of every method and its variants."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import nn

from bench.method import Batch, SourceStage, StartPrompts, Trainable
from bench.registry import METHODS, parse_method
from dtvg.grouping import Grouping

OPTIONS = ("similarity=cosine", "scales=off", "solver=exact", "target_scale_learning_rate=0.1")
TRAINED = (
    *("pt", "spot", "spot:source=qnli", "attempt", "attempt:train_norm=false", "mpt"),
    *(f"dtvg:grouping={grouping}" for grouping in get_args(Grouping)),
    *(f"dtvg:{option}" for option in OPTIONS),
)
FIXED = ("no_prompt", "fixed:prompt=one")

COUNTS = {
    # r = 100, d = 768, S = 6: the formulas of the papers, written out.
    "pt": 100 * 768,
    "spot": 100 * 768,
    "attempt": 100 * 768 + 2 * 100 * 768 + 2 * 768,
    "mpt": 100 * 768 + 100 + 768,
    "dtvg": 77_500,  # the paper's 77.5 K
    "dtvg:scales=off": 100 * 768,
    "dtvg:grouping=target-only": 100 * 768 + 100,
    "no_prompt": 0,
    "fixed:prompt=one": 0,
}

Make = Callable[..., StartPrompts]


def build(variant: str, parts: StartPrompts) -> Any:
    """The method with only those prompts that it says it needs, or its source stage."""
    torch.manual_seed(0)
    name = variant.removeprefix("stage of ")
    spec = parse_method(name, {})
    if name != variant:
        examples = {prompt.task: 9 for prompt in parts.sources}
        return spec.load().source_stage(spec.settings, parts, examples)
    needs = spec.load().needs(spec.settings)
    given = StartPrompts(
        parts.initial,
        sources=parts.sources if needs.sources else (),
        target=parts.target if needs.target else None,
        source_state=parts.source_state if needs.source_stage else None,
        stored=parts.stored if needs.stored else None,
    )
    return spec.load().build(spec.settings, given)


def train(method: Trainable, model: Any, batch: Batch) -> None:
    groups = method.parameter_groups()
    settings = [{"params": [*own.parameters], "lr": own.learning_rate} for own in groups]
    optimiser = torch.optim.AdamW(settings, weight_decay=0.0)
    for _ in range(2):
        optimiser.zero_grad()
        method.loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all tensors, those outside the state dict included."""
    found = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in found}


@pytest.mark.parametrize("variant", [*TRAINED, "stage of mpt", "stage of pt"])
def test_a_step_moves_the_groups_alone(variant: str, make: Make, model: Any, batch: Batch) -> None:
    parts, untouched = make(), make()
    method, fresh = build(variant, parts), build(variant, parts)
    trained = {id(p) for group in method.parameter_groups() for p in group.parameters}
    names = {name for name, p in method.named_parameters() if id(p) in trained}
    before, frozen = tensors(method), tensors(model)
    train(method, model, batch)
    assert len(names) == len(trained)
    moved = {name for name, now in tensors(method).items() if not torch.equal(now, before[name])}
    assert moved - {"first_group", "has_first_group"} == names
    assert {id(p) for p in method.parameters() if p.requires_grad} == trained
    assert {id(p) for p in method.parameters() if p.grad is not None} == trained
    assert all(torch.equal(now, frozen[name]) for name, now in tensors(model).items())
    if isinstance(method, SourceStage):
        return
    assert not torch.equal(fresh.prompt_for(model, batch), method.prompt_for(model, batch))
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.prompt_for(model, batch), method.prompt_for(model, batch))
    # StartPrompts are shared by several runs.
    assert torch.equal(parts.initial, untouched.initial)
    pairs = zip(parts.sources, untouched.sources, strict=True)
    assert all(torch.equal(ours.matrix, theirs.matrix) for ours, theirs in pairs)


@pytest.mark.parametrize("variant", TRAINED + FIXED)
def test_merged_prompt_equals_forward(variant: str, make: Make, model: Any, batch: Batch) -> None:
    assert {variant.partition(":")[0] for variant in TRAINED + FIXED} == set(METHODS)
    method = build(variant, make())
    assert method.trained == (variant in TRAINED)
    if method.trained:
        train(method, model, batch)
    with model.inference():
        prompt, merged = method.prompt_for(model, batch), method.merged_prompt()
        assert torch.isfinite(method.loss(model, batch))
    if method.instance_dependent:
        assert merged is None
        assert prompt.shape[0] == len(batch)
    else:
        assert not merged.requires_grad
        assert torch.equal(merged.unsqueeze(0), prompt)
        merged.zero_()  # a copy
        assert torch.equal(method.prompt_for(model, batch), prompt)


@pytest.mark.parametrize(("variant", "count"), COUNTS.items())
def test_trainable_parameters(variant: str, count: int, make: Make) -> None:
    parts = make(length=100, width=768, names="abcdef")
    assert build(variant, parts).trainable_parameters() == count


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("pt", ("learning_rate", "weight_decay", "eps"), -1e-9),
        ("pt", ("learning_rate", "weight_decay"), float("nan")),
        ("attempt", ("hidden", "temperature", "learning_rate"), 0),
        ("mpt", ("rank", "sampling_cap", "factor_learning_rate", "distillation_temperature"), 0),
        ("mpt", ("distilled_hidden",), "decoder"),
        ("dtvg", ("learning_rate", "target_scale_learning_rate", "eps"), 0),
        ("mpt", ("distillation", "factor_std"), -0.1),
        ("dtvg", ("source_scale_learning_rate", "consistency_weight"), float("nan")),
        ("dtvg", ("scales", "solver", "grouping", "similarity", "target_similarity"), "none"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, keys: tuple[str, ...], value: Any) -> None:
    for key in keys:
        with pytest.raises(ValueError, match=key):
            METHODS[name].load().Settings(**{key: value})
