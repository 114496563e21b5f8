"""The mixed prompt of DTVG: what is merged, what is trained, what is kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import ConfigError, PromptError
from bench.method import Needs, SoftPrompt, StartPrompts
from dtvg import DTVGPrompt, DTVGSettings
from dtvg.grouping import Grouping

GROUPINGS = get_args(Grouping)
LENGTH, WIDTH, SOURCES = 4, 3, 5
NAMES = ("mnli", "qnli", "qqp", "sst2", "squad")
Make = Callable[..., StartPrompts]
seeds = st.integers(0, 10_000)
examples = settings(deadline=None, max_examples=60)


def whole_numbers(seed: int, *shape: int) -> Tensor:
    """Random whole numbers, whose sums are exact in float32."""
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).float()


def random_module(seed: int = 0, **options: Any) -> DTVGPrompt:
    """A module on random prompts with random scales."""
    initial, target = (whole_numbers(seed + k, LENGTH, WIDTH) for k in range(2))
    sources = whole_numbers(seed + 2, SOURCES, LENGTH, WIDTH)
    module = DTVGPrompt(initial, target, sources, source_names=NAMES, **options)
    module.target_scale.data.copy_(whole_numbers(seed + 3, LENGTH))
    module.source_scales.data.copy_(whole_numbers(seed + 4, SOURCES, LENGTH))
    return module


def mixed(module: DTVGPrompt, members: list[int]) -> Tensor:
    """``P_init + diag(alpha_t) T_t + sum diag(alpha_s) T_s``, with the matrices it names."""
    initial = module.initial
    prompt = initial + module.target_scale.diag() @ (module.target - initial)
    for source in members:
        prompt = prompt + module.source_scales[source].diag() @ module.source_vectors[source]
    return prompt


def test_published_prompt_and_gradients(dtvg_case: dict[str, Tensor]) -> None:
    case = dtvg_case
    module = DTVGPrompt(case["init"], case["target"], case["sources"])
    module.target_scale.data.copy_(case["alpha_t"])
    module.source_scales.data.copy_(case["alpha_s"])
    group = module.group()
    prompt = module()
    (prompt * case["probe"]).sum().backward()
    assert group.members == case["selected"].tolist()
    torch.testing.assert_close(prompt[0], case["prompt"], atol=1e-5, rtol=1e-5)
    for name, parameter in zip(("target", "alpha_t", "alpha_s"), module.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, case[f"grad_{name}"], atol=1e-4, rtol=1e-4)


@examples
@given(seeds, st.sampled_from(GROUPINGS))
def test_prompt_merges_target_and_group(seed: int, grouping: str) -> None:
    module = random_module(seed, grouping=grouping)
    group = module.group()
    prompt = module()
    assert prompt.shape == (1, LENGTH, WIDTH)
    assert torch.equal(prompt[0], mixed(module, group.members))
    assert group.members == sorted(group.members, key=lambda i: -group.similarities[i].item())


def test_fixed_group_is_that_of_the_first_step_and_survives_a_checkpoint() -> None:
    module = random_module(5, grouping="fixed-first-step")
    module.diagnostics()
    module.merged_prompt()  # neither is a step
    turned = 2 * module.initial - module.target.detach()
    start = module.target.detach().clone()
    module.target.data.copy_(turned)  # T_t becomes -T_t
    first = sorted(module.group().members)
    module()
    module.target.data.copy_(start)
    resumed = random_module(5, grouping="fixed-first-step")
    resumed.load_state_dict(module.state_dict())
    assert sorted(random_module(5).group().members) != first
    for fixed in (module, resumed):
        assert sorted(fixed.group().members) == first
        assert torch.equal(fixed()[0], mixed(fixed, first))


def test_diagnostics_name_the_sources() -> None:
    module = random_module(3, grouping="similarity")
    group = module.group()
    told = module.diagnostics()
    assert told["group"] == [NAMES[i] for i in group.members]
    assert told["group_size"] == len(group.members) == len(told["consistencies"])
    scales = told["scales"]
    assert scales["target"] == pytest.approx(sum(module.target_scale.tolist()) / LENGTH)
    assert scales["sources"]["sst2"] == pytest.approx(sum(module.source_scales[3].tolist()) / 4)
    initial, source = module.initial, module.source_vectors[2]
    pair = (module.target.detach().mean(dim=0), (initial + source).mean(dim=0))
    cosine = torch.cosine_similarity(*pair, dim=0).item()
    assert told["cosines"]["prompts"]["qqp"] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_trace_has_the_group_of_the_next_step(grouping: str) -> None:
    module = random_module(2, grouping=grouping)
    state, group = {k: v.clone() for k, v in module.state_dict().items()}, module.group()
    *sources, target = module.trace()
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert [row["source"] for row in sources] == list(NAMES)
    members = [i for i, row in enumerate(sources) if row["member"]]
    assert members == sorted(group.members)
    assert [row["similarity"] for row in sources] == group.similarities.tolist()
    assert [row["scale"] for row in sources] == [sum(s.tolist()) / 4 for s in module.source_scales]
    scale = sum(module.target_scale.tolist()) / LENGTH
    assert target == {"source": "target", "member": True, "scale": scale, "similarity": None}
    assert torch.equal(module()[0], mixed(module, members))


@pytest.mark.parametrize(
    "options",
    [{"grouping": g} for g in GROUPINGS] + [{"solver": "exact"}, {"similarity": "cosine"}],
)
def test_training_step_reads_no_value_back(options: dict[str, Any]) -> None:
    """Tensors on the meta device have no values: what runs there cannot wait for one."""
    module = random_module(0, **options).to("meta")
    module().sum().backward()
    assert module.target.grad is not None
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ = module.group().members  # the check itself: this does read


@pytest.mark.parametrize("what", ["sources", "target"])
@pytest.mark.parametrize("known", [True, False])
def test_another_initial_prompt(what: str, known: bool, make: Make, stray: SoftPrompt) -> None:
    prompt = stray if known else replace(stray, initial_digest=None)
    parts = make(**{what: (prompt,) if what == "sources" else prompt})
    with pytest.raises(PromptError, match=r"prompt of stray .* same model and seed"):
        DTVGPrompt.build(DTVGSettings(), parts)


def test_needs_and_missing_prompts(make: Make) -> None:
    needs = Needs(sources=True, target=True, same_initial=True)
    assert DTVGPrompt.needs(DTVGSettings()) == needs
    alone = DTVGPrompt.needs(DTVGSettings(grouping="target-only"))
    assert alone == replace(needs, sources=False)
    with pytest.raises(PromptError, match="there are none"):
        DTVGPrompt.build(DTVGSettings(), make(sources=()))


def test_impossible_choices_are_refused_at_once() -> None:
    initial = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="17 sources"):
        DTVGPrompt(initial, initial, torch.ones(17, 1, 2), solver="exact")
    with pytest.raises(PromptError, match="expected"):
        DTVGPrompt(initial, torch.zeros(1, 3), torch.ones(2, 1, 2))
