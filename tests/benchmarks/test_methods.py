"""What DTVG costs over PT: its training step, and the choice of the group alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.pt import PromptTuning, PTSettings
from bench.models.base import FrozenLM
from bench.protocol import Batch, PromptMethod
from bench.training.optimisation import adamw, trained_tensors
from dtvg import DTVGPrompt
from dtvg.grouping import group_means

LENGTH, WIDTH = 100, 768


def dtvg(initial: Tensor, sources: int) -> DTVGPrompt:
    """DTVG among sources that all go with the target: the most there is to choose from."""
    noise = torch.randn(sources + 1, *initial.shape, generator=torch.Generator().manual_seed(0))
    noise[1:] += noise[0]
    prompts = initial + 0.1 * noise
    return DTVGPrompt(initial, prompts[0], prompts[1:])


def step_of(module: PromptMethod[Any], model: FrozenLM, batch: Batch) -> Callable[[], None]:
    """One training step after the other, as the training loop does them."""
    optimiser = adamw(module.parameter_groups())
    trained = trained_tensors(optimiser)

    def step() -> None:
        module.loss(model, batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def published_choice(target: Tensor, sources: Tensor) -> list[int]:
    """Steps 2 to 4 of stage 2 as they are written down: one pair of tasks after the other."""

    def similarity(first: Tensor, second: Tensor) -> float:
        return (first @ second.T).sum().item() / LENGTH**2

    similarities = [similarity(target, source) for source in sources]
    kept = [i for i in range(len(sources)) if similarities[i] >= 0]
    kept.sort(key=lambda i: -similarities[i])
    best, members = float("-inf"), []
    for size in range(1, len(kept) + 1):
        pairs = list(itertools.permutations(kept[:size], 2))
        total = sum(similarity(sources[i], sources[j]) for i, j in pairs)
        consistency = total / max(1, len(pairs))
        if consistency > best:
            best, members = consistency, kept[:size]
    return members


def test_training_step(
    t5_small: FrozenLM, encoded: Any, benchmark: Any, in_turn: Any, report: Any
) -> None:
    """DTVG's step over PT's: at most 1.03 with 6 sources, 1.10 with 64."""
    initial = t5_small.initial_prompt(LENGTH, 42)
    batch = encoded("mrpc", "train").batch(range(16))
    modules = [PromptTuning(initial, PTSettings()), dtvg(initial, 6), dtvg(initial, 64)]
    steps = [step_of(module, t5_small, batch) for module in modules]
    with t5_small.training():
        pt, six, many = benchmark.pedantic(lambda: in_turn(steps, 9), rounds=1)
    report(
        tokens=tuple(batch.input_ids.shape),
        seconds_of_pt=pt.medians(),
        dtvg_over_pt_with_6_sources=six.over(pt),
        dtvg_over_pt_with_64_sources=many.over(pt),
    )


def test_prompt_alone(benchmark: Any, in_turn: Any, report: Any) -> None:
    """What DTVG adds to a step, without the language model: prompt, its gradients, optimiser."""
    initial = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    probe = torch.randn(1, LENGTH, WIDTH, generator=torch.Generator().manual_seed(2))

    def part_of(module: PromptMethod[Any]) -> Callable[[], None]:
        optimiser = adamw(module.parameter_groups())

        def step() -> None:
            (module() * probe).sum().backward()
            optimiser.step()
            optimiser.zero_grad()

        return step

    modules = [PromptTuning(initial, PTSettings()), dtvg(initial, 6), dtvg(initial, 64)]
    pt, six, many = benchmark.pedantic(
        lambda: in_turn([part_of(module) for module in modules], 200), rounds=1
    )
    report(
        seconds_of_pt=pt.medians(),
        seconds_of_dtvg_with_6_sources=six.medians(),
        seconds_of_dtvg_with_64_sources=many.medians(),
    )


def test_grouping(benchmark: Any, in_turn: Any, report: Any) -> None:
    """At most 1 ms for 6 sources, r = 100, d = 768."""
    initial = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    module = dtvg(initial, 6)
    target, sources = (module.target - initial).detach(), module.vectors.sources
    assert module.group().members == published_choice(target, sources)
    actions = [module.group, lambda: published_choice(target, sources)]
    ours, loop = benchmark.pedantic(lambda: in_turn(actions, 200), rounds=1)
    report(seconds=ours.medians(), pair_after_pair_over_ours=loop.over(ours))


@pytest.mark.parametrize("part", ["task vectors", "small matrices"])
def test_growth_of_grouping(part: str, benchmark: Any, in_turn: Any, report: Any) -> None:
    """From means over tokens at most with S squared, from task vectors with S, r and d."""
    initial = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))

    def action(sources: int) -> Callable[[], object]:
        if part == "task vectors":
            return dtvg(initial, sources).group
        means = torch.randn(sources + 1, WIDTH, generator=torch.Generator().manual_seed(3))
        means[1:] += means[0]  # Else half of the sources would be opposed to the target.
        return lambda: group_means(
            means,
            "greedy",
            grouping="full",
            similarity="dot",
            consistency_weight=1.0,
        )

    numbers = [8, 32, 128] if part == "task vectors" else [64, 256, 1024]
    times = benchmark.pedantic(lambda: in_turn([action(n) for n in numbers], 20), rounds=1)
    for (fewer, before), (more, after) in itertools.pairwise(zip(numbers, times, strict=True)):
        report(**{f"{more}_sources_over_{fewer}": after.over(before)})
