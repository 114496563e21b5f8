"""What must hold for every method and every variant of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol

import pytest
import torch
from torch import nn

from bench.protocol import Batch, Ingredients, LanguageModel, PromptMethod
from bench.registry import METHODS, parse_method

VARIANTS = (
    "pt",
    "spot",
    "spot:source=qnli",
    "attempt",
    "attempt:train_norm=false",
    "mpt",
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

COUNTS = {
    # r = 100, d = 768, S = 6: the formulas of the papers, written out.
    "pt": 100 * 768,
    "spot": 100 * 768,
    "attempt": 100 * 768 + 2 * 100 * 768 + 2 * 768,
    "attempt:train_norm=false": 100 * 768 + 2 * 100 * 768,
    "mpt": 100 * 768 + 100 + 768,
    "dtvg": 100 * 768 + 100 + 6 * 100,
}

Make = Callable[..., Ingredients]


class Model(LanguageModel, Protocol):
    """A language model whose weights can be compared."""

    def state_dict(self) -> dict[str, torch.Tensor]: ...


def build(variant: str, parts: Ingredients) -> PromptMethod[Any]:
    """The method with only those ingredients that it says it needs."""
    torch.manual_seed(0)
    spec = parse_method(variant, {})
    needs = spec.load().needs(spec.settings)
    given = Ingredients(
        parts.initial,
        sources=parts.sources if needs.sources else (),
        target=parts.target if needs.target else None,
        shared=parts.shared if needs.shared else None,
    )
    return spec.load().build(spec.settings, given)


def train(method: PromptMethod[Any], model: LanguageModel, batch: Batch, steps: int = 2) -> None:
    optimiser = torch.optim.AdamW(
        [
            {"params": list(group.parameters), "lr": group.learning_rate}
            for group in method.parameter_groups()
        ],
        weight_decay=0.0,
    )
    for _ in range(steps):
        optimiser.zero_grad()
        method.loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def named(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all tensors of a module, fixed ones included."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in tensors}


def test_variants_cover_every_method() -> None:
    assert {variant.partition(":")[0] for variant in VARIANTS} == set(METHODS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_moves_exactly_the_named_tensors(
    variant: str, ingredients: Make, model: Model, batch: Batch
) -> None:
    method = build(variant, ingredients())
    trained = {id(p) for group in method.parameter_groups() for p in group.parameters}
    names = {name for name, p in method.named_parameters() if id(p) in trained}
    before, frozen = named(method), {k: v.clone() for k, v in model.state_dict().items()}

    train(method, model, batch)

    moved = {
        name for name, tensor in named(method).items() if not torch.equal(tensor, before[name])
    }
    assert moved - {"first_group", "has_first_group"} == names
    assert len(names) == len(trained)
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_trained_tensor_gets_a_gradient_and_no_other_wants_one(
    variant: str, ingredients: Make, model: Model, batch: Batch
) -> None:
    method = build(variant, ingredients())
    trained = {id(p) for group in method.parameter_groups() for p in group.parameters}

    method.loss(model, batch).backward()  # type: ignore[no-untyped-call]

    assert {id(p) for p in method.parameters() if p.requires_grad} == trained
    assert {id(p) for p in method.parameters() if p.grad is not None} == trained


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_prompt_gives_the_same_predictions(
    variant: str, ingredients: Make, model: Model, batch: Batch
) -> None:
    method = build(variant, ingredients())
    train(method, model, batch)
    with model.inference():
        prompt = method.prompt_for(model, batch)
        merged = method.merged_prompt()

        if method.instance_dependent:
            assert merged is None
            assert prompt.shape[0] == len(batch)
        else:
            assert merged is not None
            assert merged.shape == ingredients().initial.shape
            merged_logits = model.run(merged.unsqueeze(0), batch).logits
            assert torch.equal(merged_logits, model.run(prompt, batch).logits)


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_restores_the_prompt(
    variant: str, ingredients: Make, model: Model, batch: Batch
) -> None:
    method = build(variant, ingredients())
    train(method, model, batch)
    fresh = build(variant, ingredients())
    start = fresh.prompt_for(model, batch).detach().clone()

    fresh.load_state_dict(method.state_dict())

    assert torch.equal(fresh.prompt_for(model, batch), method.prompt_for(model, batch))
    assert not torch.equal(fresh.prompt_for(model, batch), start)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ingredients_stay_as_they_are(
    variant: str, ingredients: Make, model: Model, batch: Batch
) -> None:
    parts = ingredients()
    train(build(variant, parts), model, batch)

    untouched = ingredients()
    assert torch.equal(parts.initial, untouched.initial)
    assert parts.target is not None
    assert untouched.target is not None
    assert torch.equal(parts.target.matrix, untouched.target.matrix)
    for ours, theirs in zip(parts.sources, untouched.sources, strict=True):
        assert torch.equal(ours.matrix, theirs.matrix)
    for name, tensor in (parts.shared or {}).items():
        assert torch.equal(tensor, (untouched.shared or {})[name])


@pytest.mark.parametrize(("variant", "count"), COUNTS.items())
def test_trainable_parameters(variant: str, count: int, ingredients: Make) -> None:
    parts = ingredients(length=100, width=768, names="abcdef")

    assert build(variant, parts).trainable_parameters() == count


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_plain_frozen_values_with_defaults(name: str) -> None:
    settings = METHODS[name].load().Settings()

    with pytest.raises(AttributeError):
        settings.learning_rate = 1.0
    for field in fields(settings):
        assert isinstance(getattr(settings, field.name), str | int | float | bool | None)
