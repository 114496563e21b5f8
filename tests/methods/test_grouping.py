"""Choice of the group; vectors of small whole numbers keep sums exact, so equal values tie."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from bench.errors import ConfigError, PromptError
from dtvg import select_group
from dtvg.grouping import MAX_SOURCES

Vectors = tuple[Tensor, Tensor]


@st.composite
def task_vectors(draw: st.DrawFn) -> Vectors:
    """A target vector ``(r, d)`` and source vectors ``(S, r, d)``."""
    number, length, width = draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 4])), 3
    values = draw(arrays(np.int8, (number + 1, length, width), elements=st.integers(-6, 6)))
    vectors = torch.from_numpy(values).float()
    return vectors[0], vectors[1:]


def similarity(first: Tensor, second: Tensor) -> Fraction:
    """The paper's formula in exact numbers, one pair of tokens after the other."""
    rows, columns = first.int().tolist(), second.int().tolist()
    pairs = itertools.product(rows, columns)
    return Fraction(sum(a * b for v, w in pairs for a, b in zip(v, w, strict=True)), len(rows) ** 2)


def consistency(sources: Tensor, members: Sequence[int]) -> Fraction:
    pairs = list(itertools.permutations(members, 2))
    total = sum((similarity(sources[i], sources[j]) for i, j in pairs), Fraction(0))
    return total / max(1, len(pairs))


def subsets(items: Sequence[int]) -> list[tuple[int, ...]]:
    sizes = range(len(items) + 1)
    return [chosen for size in sizes for chosen in itertools.combinations(items, size)]


def test_published_group(dtvg_case: dict[str, Tensor]) -> None:
    case = dtvg_case
    width = case["init"].shape[1]
    target = case["alpha_t"].unsqueeze(1) * (case["target"] - case["init"])
    sources = case["alpha_s"].unsqueeze(2) * (case["sources"] - case["init"])
    group = select_group(target, sources)
    # The published similarity is the paper's formula divided by the width.
    torch.testing.assert_close(group.similarities / width, case["sims"], atol=1e-5, rtol=1e-5)
    consistencies = group.consistencies.double() / width
    torch.testing.assert_close(consistencies, case["kc"].double(), atol=1e-5, rtol=1e-5)
    assert group.order.tolist() == case["order"].tolist()
    assert (group.similarities >= 0).sum() == case["n_pos"]
    means = sources.mean(dim=1)
    torch.testing.assert_close(group.pairwise, means @ means.T)
    assert group.members == case["selected"].tolist()


@settings(deadline=None, max_examples=60)
@given(task_vectors())
def test_greedy_takes_the_most_consistent_prefix(vectors: Vectors) -> None:
    target, sources = vectors
    values = [similarity(target, source) for source in sources]
    kept = sorted((i for i in range(len(values)) if values[i] >= 0), key=lambda i: -values[i])
    prefixes = [kept[:m] for m in range(1, len(kept) + 1)]
    best = max(prefixes, key=lambda prefix: consistency(sources, prefix), default=[])
    group = select_group(target, sources)
    assert group.members == best
    expected = [float(consistency(sources, prefix)) for prefix in prefixes] or [0.0]
    torch.testing.assert_close(group.consistencies, torch.tensor(expected))


@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", [fmean, sum])
def test_exact_is_brute_force(seed: int, weight: float, rule: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(4, 6, generator=generator)
    sources = torch.randn(7, 4, 6, generator=generator) + 0.5 * target
    means, goal = sources.mean(dim=1).double(), target.mean(dim=0).double()
    gram, gains = means @ means.T, means @ goal

    def value(members: tuple[int, ...]) -> float:
        pairs = [gram[i, j].item() for i, j in itertools.permutations(members, 2)]
        similar = rule([gains[i].item() for i in members]) if members else 0.0
        return similar + weight * sum(pairs) / max(1, len(pairs))

    options: Any = {"target_similarity": "sum"} if rule is sum else {}
    options |= {"solver": "exact", "consistency_weight": weight}
    members = select_group(target, sources, **options).members
    assert sorted(members) == list(max(subsets(range(7)), key=value))


def test_exact_can_be_better_than_greedy() -> None:
    # Greedy stops at the consistent pair; the third source adds more similarity than it costs.
    target = torch.tensor([[2.0, 1.0]])
    sources = torch.tensor([[[2.0, 0.0]], [[2.0, 0.0]], [[0.0, 3.0]]])
    assert select_group(target, sources).members == [0, 1]
    by_sum = {"solver": "exact", "target_similarity": "sum"}
    assert select_group(target, sources, **by_sum).members == [0, 1, 2]
    # Similarities 4, 4, 3; consistency 4 of the pair, 4/3 of all three: 12 against 12 1/3.
    # Averages: 8 against 5. They leave out a consistent source that is less similar to the target.
    assert select_group(target, sources, solver="exact").members == [0, 1]
    sources = torch.tensor([[[2.0, 1.0]], [[0.0, 1.0]]])
    assert select_group(target, sources).members == [0, 1]
    assert select_group(target, sources, solver="exact").members == [0]
    # Similarity 5, or 3 on average, with a consistency of 1.
    # They take an opposed source that agrees with the others: 3 against 1 + 13.
    sources = torch.tensor([[[3.0, 4.0]], [[-1.0, 4.0]]])
    assert select_group(torch.tensor([[1.0, 0.0]]), sources).members == [0]
    assert select_group(torch.tensor([[1.0, 0.0]]), sources, solver="exact").members == [0, 1]


MEMBERS: dict[Any, list[int]] = {"full": [1], "similarity": [1, 2], "consistency": [3, 0]}
MEMBERS |= {"all": [1, 2, 3, 0], "target-only": [], "fixed-first-step": [1]}


@pytest.mark.parametrize(("grouping", "members"), MEMBERS.items())
def test_groupings(grouping: Any, members: list[int]) -> None:
    # Similarities -2, 2, 0, -1; the kept pair (1, 2) disagrees, the opposed pair (0, 3) agrees.
    target = torch.tensor([[1.0, 0.0]])
    sources = torch.tensor([[[-2.0, 1.0]], [[2.0, 1.0]], [[0.0, -1.0]], [[-1.0, 1.0]]])
    assert select_group(target, sources, grouping=grouping).members == members


def test_equal_similarities_keep_their_order_and_equal_consistencies_the_shorter_prefix() -> None:
    target = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    first, second = [[1.0, 1.0, 0.0]], [[1.0, -1.0, 0.0]]  # similarity 1 each, consistency 0
    group = select_group(target, torch.tensor([first, second]))
    assert group.order.tolist() == [0, 1]
    assert group.consistencies.tolist() == [0.0, 0.0]
    assert group.members == [0]
    assert not group.similarities.requires_grad


@pytest.mark.parametrize("choice", [{"solver": "exact"}, {"grouping": "consistency"}])
def test_all_subsets_of_sixteen_sources_but_not_of_more(choice: dict[str, Any]) -> None:
    target = torch.ones(1, 2)
    assert len(select_group(target, torch.ones(MAX_SOURCES, 1, 2), **choice).members) > 1
    with pytest.raises(ConfigError, match=r"all subsets of 17 sources .* use solver=greedy"):
        select_group(target, torch.ones(MAX_SOURCES + 1, 1, 2), **choice)


@pytest.mark.parametrize("shape", [(3, 1, 3), (3, 2, 2), (1, 2), (0, 1, 2)])
def test_sources_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PromptError):
        select_group(torch.ones(1, 2), torch.ones(shape))
