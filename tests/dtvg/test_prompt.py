"""The mixed prompt: what is merged, what is trained, what is kept."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import ConfigError, InitialPromptMismatchError, PromptError
from bench.protocol import Ingredients, Needs, SoftPrompt, tensor_digest
from dtvg import DTVGPrompt, DTVGSettings
from dtvg.grouping import Grouping

GROUPINGS = get_args(Grouping)
LENGTH, WIDTH, SOURCES = 4, 3, 5
NAMES = ("mnli", "qnli", "qqp", "sst2", "squad")


def whole_numbers(seed: int, *shape: int) -> Tensor:
    """Random whole numbers, whose sums are exact in float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 9, shape, generator=generator).float()


def make(seed: int = 0, **options: Any) -> DTVGPrompt:
    """A module on random prompts with random scales."""
    initial = whole_numbers(seed, LENGTH, WIDTH)
    target = whole_numbers(seed + 1, LENGTH, WIDTH)
    sources = whole_numbers(seed + 2, SOURCES, LENGTH, WIDTH)
    module = DTVGPrompt(initial, target, sources, source_names=NAMES, **options)
    if module.settings.scales == "on":
        module.target_scale.data.copy_(whole_numbers(seed + 3, LENGTH))
        module.source_scales.data.copy_(whole_numbers(seed + 4, SOURCES, LENGTH))
    return module


def mixed(module: DTVGPrompt, members: list[int]) -> Tensor:
    """``P_init + diag(alpha_t) T_t + sum diag(alpha_s) T_s``, with the matrices it names."""
    initial = module.vectors.initial
    prompt = initial + module.target_scale.diag() @ (module.target - initial)
    for source in members:
        prompt = prompt + module.source_scales[source].diag() @ module.vectors.sources[source]
    return prompt


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(GROUPINGS))
def test_prompt_merges_target_and_group(seed: int, grouping: Grouping) -> None:
    module = make(seed, grouping=grouping)
    members = module.group().members

    prompt = module()

    assert prompt.shape == (1, LENGTH, WIDTH)
    assert torch.equal(prompt[0], mixed(module, members))
    assert members == sorted(members, key=lambda i: -module.group().similarities[i].item())


@settings(deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(SOURCES)))
def test_permuting_the_sources_leaves_the_prompt(seed: int, order: list[int]) -> None:
    module = make(seed, grouping="similarity")
    initial = module.vectors.initial
    sources = module.vectors.sources[order] + initial
    permuted = DTVGPrompt(initial, module.target, sources, grouping="similarity")
    permuted.target_scale.data.copy_(module.target_scale)
    permuted.source_scales.data.copy_(module.source_scales[order])

    assert torch.equal(permuted(), module())


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_empty_group_leaves_the_target_alone(seed: int) -> None:
    module = make(seed)
    scaled = module.target_scale.diag() @ module.vectors.of(module.target)
    # Every source points against the mean of the scaled target vector.
    module.vectors.sources.copy_(-scaled.detach().mean(dim=0).expand_as(module.vectors.sources))
    module.source_scales.data.fill_(1.0)

    prompt = module()[0]
    prompt.square().sum().backward()

    if scaled.mean(dim=0).any():
        assert module.group().members == []
        assert torch.equal(prompt, module.vectors.initial + scaled)
        assert module.source_scales.grad is not None
        assert not module.source_scales.grad.any()


def test_gradients_reach_group_members_only() -> None:
    module = make(3, grouping="similarity")
    members = set(module.group().members)
    assert 0 < len(members) < SOURCES

    module().square().sum().backward()

    assert module.source_scales.grad is not None
    reached = {i for i, row in enumerate(module.source_scales.grad) if row.any()}
    assert reached == members


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 77_500),  # the paper's 77.5 K
        ({"grouping": "all"}, 77_500),
        ({"scales": "off"}, 100 * 768),
        ({"grouping": "target-only"}, 100 * 768 + 100),
        ({"grouping": "target-only", "scales": "off"}, 100 * 768),
    ],
)
def test_trainable_parameters(options: dict[str, Any], count: int) -> None:
    initial = torch.zeros(100, 768)

    module = DTVGPrompt(initial, initial + 1, initial.expand(6, -1, -1), **options)

    assert module.trainable_parameters() == count


def test_rates_follow_the_published_scripts() -> None:
    target, scales = make().parameter_groups()

    assert (target.learning_rate, scales.learning_rate) == (0.3, 1e-3)
    assert target.weight_decay == scales.weight_decay == 0.0


def test_group_is_chosen_anew_in_every_pass() -> None:
    module = make(5)
    before = module.group().members

    module.target.data.copy_(2 * module.vectors.initial - module.target)  # T_t turns round

    after = module.group().members
    assert set(before) & set(after) == set()
    assert torch.equal(module()[0], mixed(module, after))


def test_fixed_group_is_that_of_the_first_step_and_survives_a_checkpoint() -> None:
    module = make(5, grouping="fixed-first-step")
    module.diagnostics()
    module.merged_prompt()  # looking at it is not a step
    module.target.data.copy_(2 * module.vectors.initial - module.target)
    first = sorted(module.group().members)
    module()

    module.target.data.copy_(2 * module.vectors.initial - module.target)
    resumed = make(5, grouping="fixed-first-step")
    resumed.load_state_dict(module.state_dict())

    assert sorted(make(5).group().members) != first
    for fixed in (module, resumed):
        assert sorted(fixed.group().members) == first
        assert torch.equal(fixed()[0], mixed(fixed, first))


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_merged_prompt_is_the_prompt(grouping: Grouping) -> None:
    module = make(7, grouping=grouping)

    merged = module.merged_prompt()

    assert not merged.requires_grad
    assert torch.equal(merged, module()[0])


def test_diagnostics_name_the_sources() -> None:
    module = make(3, grouping="similarity")
    group = module.group()

    told = module.diagnostics()

    assert told["group"] == [NAMES[i] for i in group.members]
    assert told["group_size"] == len(group.members) == len(told["consistencies"])
    assert list(told["similarities"]) == list(NAMES)
    values = [told["similarities"][name] for name in told["group"]]
    assert values == sorted(values, reverse=True)
    assert min(values) >= 0
    assert told["scales"]["target"] == pytest.approx(sum(module.target_scale.tolist()) / LENGTH)
    assert told["scales"]["sources"]["sst2"] == pytest.approx(
        sum(module.source_scales[3].tolist()) / LENGTH
    )


@pytest.mark.parametrize(
    "options",
    [{"grouping": g} for g in GROUPINGS] + [{"solver": "exact"}, {"similarity": "cosine"}],
)
def test_training_step_reads_no_value_back(options: dict[str, Any]) -> None:
    """Tensors on the meta device have no values: what runs there cannot wait for one."""
    module = make(0, **options).to("meta")

    module().sum().backward()

    assert module.target.grad is not None
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ = module.group().members  # the check itself: this does read


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"solver": "exact"}, {"grouping": "fixed-first-step"}])
def test_training_step_does_not_synchronise_cuda(options: dict[str, Any]) -> None:
    module = make(0, **options).to("cuda")
    module().sum().backward()  # libraries load with synchronisation
    torch.cuda.set_sync_debug_mode("error")
    try:
        module().sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def ingredients(**changes: Any) -> Ingredients:
    initial = whole_numbers(0, LENGTH, WIDTH)
    digest = tensor_digest(initial)
    values: dict[str, Any] = {
        "initial": initial,
        "sources": tuple(
            SoftPrompt(name, whole_numbers(9 + i, LENGTH, WIDTH), digest)
            for i, name in enumerate(NAMES)
        ),
        "target": SoftPrompt("cb", whole_numbers(1, LENGTH, WIDTH), digest),
    }
    return Ingredients(**{**values, **changes})


def test_build_starts_from_the_target_prompt() -> None:
    parts = ingredients()

    module = DTVGPrompt.build(DTVGSettings(grouping="all", learning_rate=0.1), parts)

    assert parts.target is not None
    assert torch.equal(module.target, parts.target.matrix)
    added = sum(prompt.matrix - parts.initial for prompt in parts.sources)
    assert torch.equal(module()[0], parts.target.matrix + added)
    assert module.parameter_groups()[0].learning_rate == 0.1
    assert module.source_names == NAMES


@pytest.mark.parametrize("what", ["sources", "target"])
def test_prompt_of_another_seed_is_refused(what: str) -> None:
    stray = SoftPrompt("stray", whole_numbers(1, LENGTH, WIDTH), tensor_digest(torch.ones(1)))

    with pytest.raises(InitialPromptMismatchError, match=r"prompt of stray .* same model and seed"):
        DTVGPrompt.build(
            DTVGSettings(), ingredients(**{what: (stray,) if what == "sources" else stray})
        )


def test_target_alone_needs_no_sources() -> None:
    settings = DTVGSettings(grouping="target-only")
    assert DTVGPrompt.needs(settings) == Needs(target=True, same_initial=True)

    module = DTVGPrompt.build(settings, ingredients(sources=()))
    module().sum().backward()

    needs = Needs(sources=True, target=True, same_initial=True)
    assert DTVGPrompt.needs(DTVGSettings()) == needs
    assert module.diagnostics()["group"] == []


@pytest.mark.parametrize("grouping", sorted(set(GROUPINGS) - {"target-only"}))
def test_missing_prompts_are_refused(grouping: Grouping) -> None:
    settings = DTVGSettings(grouping=grouping)
    with pytest.raises(PromptError, match="there are none"):
        DTVGPrompt.build(settings, ingredients(sources=()))
    with pytest.raises(PromptError, match="missing"):
        DTVGPrompt.build(settings, ingredients(target=None))


def test_impossible_settings_are_refused_at_once() -> None:
    initial = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="17 sources"):
        DTVGPrompt(initial, initial, torch.ones(17, 1, 2), solver="exact")
    with pytest.raises(ConfigError, match="unknown scales"):
        DTVGPrompt(initial, initial, torch.ones(2, 1, 2), scales="maybe")
    with pytest.raises(PromptError):
        DTVGPrompt(initial, torch.zeros(1, 3), torch.ones(2, 1, 2))


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 0.0},
        {"source_scale_learning_rate": -1.0},
        {"weight_decay": -1.0},
        {"consistency_weight": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DTVGSettings(**values)  # type: ignore[arg-type]
