"""PT, SPoT, ATTEMPT and the methods without training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.attempt import AttemptPrompt
from baselines.fixed import FixedPrompt, FixedSettings, NoPrompt, NoPromptSettings
from baselines.spot import SPoT, SPoTSettings, similarity
from bench.errors import PromptError
from bench.method import Batch, Needs, SoftPrompt, StartPrompts

Make = Callable[..., StartPrompts]


def test_no_prompt_is_the_model_alone(make: Make, model: Any, batch: Batch) -> None:
    parts = make()
    method = NoPrompt.build(NoPromptSettings(), StartPrompts(parts.initial))
    assert method.merged_prompt().shape == (0, parts.initial.shape[1])  # type: ignore[union-attr]
    assert NoPrompt.needs(NoPromptSettings()) == Needs()
    embedded = torch.tanh(model.mix(model.embed(batch.input_ids)))
    assert torch.equal(model.run(method(), batch).hidden, embedded)


def test_fixed_prompt_is_used_as_it_is(make: Make) -> None:
    parts, chosen = make(), FixedSettings(prompt="one")
    method = FixedPrompt.build(chosen, parts)
    assert torch.equal(method(), parts.stored.matrix.unsqueeze(0))  # length 2, the run's is 4
    assert FixedPrompt.needs(chosen) == Needs(stored="one")
    with pytest.raises(ValueError, match="prompt: name a stored prompt"):
        FixedPrompt.needs(FixedSettings())
    for stored in (None, SoftPrompt("cb", torch.zeros(2, 5), None)):
        with pytest.raises(PromptError, match=r"'one' is missing or not as wide .* \(r, 6\)"):
            FixedPrompt.build(chosen, make(stored=stored))


def test_spot_similarity_equals_the_published_one(dtvg_case: dict[str, Tensor]) -> None:
    values = similarity(dtvg_case["target"], dtvg_case["sources"])
    torch.testing.assert_close(values, dtvg_case["spot_similarity"], atol=1e-5, rtol=1e-5)


@pytest.fixture
def parts(make: Make) -> StartPrompts:
    """Sources at 90, 60 and 120 degrees from the target: the second one is nearest."""
    # Single tokens differ wildly; only their means are the vectors here.
    offset = torch.tensor([[9.0, -5.0], [-9.0, 5.0]])
    means = {"mnli": (0, 2), "qnli": (1, 3**0.5), "sst2": (-1, 3**0.5), "cb": (5, 0)}
    prompts = [SoftPrompt(task, torch.tensor(v) + offset, None) for task, v in means.items()]
    return make(initial=torch.zeros(2, 2), sources=tuple(prompts[:3]), target=prompts[3])


def test_spot_starts_from_the_most_similar_source(parts: StartPrompts) -> None:
    method = SPoT.build(SPoTSettings(), parts)
    assert torch.equal(method()[0], parts.sources[1].matrix)
    told = method.diagnostics()
    assert told["source"] == "qnli"
    assert told["similarities"] == pytest.approx({"mnli": 0.0, "qnli": 0.5, "sst2": -0.5}, abs=1e-6)
    assert SPoT.needs(SPoTSettings()) == Needs(sources=True, target=True)


def test_spot_starts_from_the_named_source_without_a_target(parts: StartPrompts) -> None:
    named = SPoTSettings(source="sst2")
    method = SPoT.build(named, StartPrompts(parts.initial, sources=parts.sources))
    assert torch.equal(method()[0], parts.sources[2].matrix)
    assert method.diagnostics() == {"source": "sst2"}
    assert SPoT.needs(named) == Needs(sources=True, named_sources=("sst2",))


@pytest.mark.parametrize("method", [SPoT, AttemptPrompt])
def test_source_may_start_anywhere(method: Any, make: Make, stray: SoftPrompt) -> None:
    built = method.build(method.Settings(), make(sources=(stray,)))
    assert torch.equal(next(built.parameters()), stray.matrix)


def test_attempt_equals_the_published_computation(attempt_case: dict[str, Tensor]) -> None:
    case = attempt_case
    temperature = case["temperature"].item()
    module = AttemptPrompt(case["target_prompt"], case["source_prompts"], temperature=temperature)
    module.down.weight.data.copy_(case["w_down"])
    module.up.weight.data.copy_(case["w_up"])
    module.norm.weight.data.copy_(case["ln_weight"])
    module.norm.bias.data.copy_(case["ln_bias"])
    inputs = case["inputs_embeds"]
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)
    prompt = module(inputs, mask)
    (prompt * case["probe"]).sum().backward()
    assert_values = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)
    assert_values(module.attention(inputs, mask), case["attention"])
    assert_values(module.attention(inputs), case["attention"])
    assert_values(prompt, case["prompt"])
    names = ("target_prompt", "w_down", "w_up", "ln_weight", "ln_bias")
    for name, parameter in zip(names, module.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, case[f"grad_{name}"], atol=1e-4, rtol=1e-4)


def test_temperature_is_that_of_the_paper_for_t5_base() -> None:
    assert int(AttemptPrompt(torch.zeros(2, 768), torch.zeros(1, 2, 768)).temperature) == 2087


def random_attempt(**options: Any) -> AttemptPrompt:
    torch.manual_seed(0)
    # A low temperature, so that attention depends strongly on the input.
    return AttemptPrompt(torch.randn(3, 8), torch.randn(4, 3, 8), temperature=1.0, **options)


@pytest.mark.parametrize("filler", [0.0, 50.0, float("inf"), float("nan")])
@pytest.mark.parametrize("lengths", [(5, 3, 1), (0, 8), (4,)])
def test_attempt_depends_on_its_own_row_alone(lengths: tuple[int, ...], filler: float) -> None:
    module = random_attempt()
    inputs = torch.full((len(lengths), 8, 8), filler)
    mask = torch.zeros(len(lengths), 8, dtype=torch.long)
    for row, length in enumerate(lengths):
        inputs[row, :length] = torch.randn(length, 8)
        mask[row, :length] = 1
    together = module(inputs, mask)
    assert torch.isfinite(together).all()
    for row, length in enumerate(lengths):
        if length:
            alone = module(inputs[row : row + 1, :length])
            torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)


def test_mean_attention_of_evaluated_rows_since_the_last_reading() -> None:
    module = random_attempt(source_names="abcd")
    inputs = torch.randn(5, 6, 8)
    module(inputs)  # a training step does not count
    assert module.diagnostics() == {}
    with torch.no_grad():
        module(inputs[:2])
        module(inputs[2:])
    told = module.diagnostics()["attention"]
    expected = module.attention(inputs).mean(dim=0).tolist()
    assert list(told["sources"]) == list("abcd")
    assert [*told["sources"].values(), told["target"]] == pytest.approx(expected)
    assert module.diagnostics() == {}
    with pytest.raises(ValueError, match="depends on the input"):
        module()
