"""Properties of the choice of the group.

Vectors of small whole numbers and lengths that are powers of two make all sums and products exact
in float32, so equal values tie exactly and properties hold without tolerance.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from bench.errors import ConfigError, PromptError, UnknownNameError
from dtvg import Group, select_group
from dtvg.grouping import MOST_SOURCES, Grouping, Solver

SOLVERS = get_args(Solver)
GROUPINGS = get_args(Grouping)


@st.composite
def task_vectors(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
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


def objective(target: Tensor, sources: Tensor, members: Sequence[int], weight: float) -> Fraction:
    total = sum((similarity(target, sources[i]) for i in members), Fraction(0))
    return total + Fraction(weight) * consistency(sources, members)


def subsets(items: Sequence[int]) -> list[tuple[int, ...]]:
    sizes = range(len(items) + 1)
    return [chosen for size in sizes for chosen in itertools.combinations(items, size)]


def ready(group: Group) -> tuple[list[int], list[float]]:
    return group.members, group.similarities.tolist()


@settings(deadline=None)
@given(task_vectors())
def test_greedy_takes_the_most_consistent_prefix(vectors: tuple[Tensor, Tensor]) -> None:
    target, sources = vectors
    values = [similarity(target, source) for source in sources]
    kept = sorted((i for i in range(len(values)) if values[i] >= 0), key=lambda i: -values[i])
    prefixes = [kept[:m] for m in range(1, len(kept) + 1)]
    best = max(prefixes, key=lambda prefix: consistency(sources, prefix), default=[])

    group = select_group(target, sources)

    assert group.members == best
    assert group.kept == len(kept)
    expected = [float(consistency(sources, prefix)) for prefix in prefixes] or [0.0]
    torch.testing.assert_close(group.consistencies, torch.tensor(expected))


@settings(deadline=None)
@given(task_vectors(), st.sampled_from([0.0, 0.5, 1.0, 4.0]))
def test_exact_finds_the_best_subset_of_the_kept_sources(
    vectors: tuple[Tensor, Tensor], weight: float
) -> None:
    target, sources = vectors
    kept = [i for i, source in enumerate(sources) if similarity(target, source) >= 0]
    best = max(objective(target, sources, chosen, weight) for chosen in subsets(kept))

    group = select_group(target, sources, "exact", consistency_weight=weight)

    assert float(objective(target, sources, group.members, weight)) == pytest.approx(float(best))
    assert group.objective(weight).item() == pytest.approx(float(best))


@settings(deadline=None)
@given(task_vectors(), st.sampled_from([0.0, 0.5, 1.0, 4.0]))
def test_exact_is_never_worse_than_greedy(vectors: tuple[Tensor, Tensor], weight: float) -> None:
    target, sources = vectors
    greedy, exact = (
        select_group(target, sources, solver, consistency_weight=weight) for solver in SOLVERS
    )

    assert exact.objective(weight) >= greedy.objective(weight)


def test_exact_can_be_better_than_greedy() -> None:
    # Greedy stops at the consistent pair; the third source adds more similarity than it costs.
    target = torch.tensor([[2.0, 1.0]])
    sources = torch.tensor([[[2.0, 0.0]], [[2.0, 0.0]], [[0.0, 3.0]]])

    greedy, exact = (select_group(target, sources, solver) for solver in SOLVERS)

    assert greedy.members == [0, 1]
    assert exact.members == [0, 1, 2]
    # Similarities 4, 4, 3; consistency 4 of the pair, 4/3 of all three.
    assert greedy.objective().item() == pytest.approx(4 + 4 + 4)
    assert exact.objective().item() == pytest.approx(4 + 4 + 3 + 4 / 3)


@settings(deadline=None)
@given(task_vectors())
def test_consistency_alone_searches_all_subsets(vectors: tuple[Tensor, Tensor]) -> None:
    target, sources = vectors
    everyone = range(len(sources))
    best = max(consistency(sources, chosen) for chosen in subsets(everyone))

    members = select_group(target, sources, grouping="consistency").members

    assert float(consistency(sources, members)) == pytest.approx(float(best))
    assert best > 0 or not members


@settings(deadline=None)
@given(task_vectors(), st.sampled_from(SOLVERS), st.sampled_from(GROUPINGS), st.data())
def test_permuting_the_sources_permutes_the_group(
    vectors: tuple[Tensor, Tensor], solver: Solver, grouping: Grouping, data: st.DataObject
) -> None:
    target, sources = vectors
    values = [similarity(target, source) for source in sources]
    assume(len(set(values)) == len(values))  # ties go by position
    order = data.draw(st.permutations(range(len(sources))))

    group = select_group(target, sources, solver, grouping=grouping)
    permuted = select_group(target, sources[list(order)], solver, grouping=grouping)

    assert [order[member] for member in permuted.members] == group.members
    assert torch.equal(permuted.similarities, group.similarities[list(order)])
    assert torch.equal(permuted.consistencies, group.consistencies)


@settings(deadline=None)
@given(task_vectors(), st.sampled_from(SOLVERS), st.sampled_from([2.0**-7, 0.5, 8.0, 2.0**10]))
def test_scaling_all_vectors_leaves_the_group(
    vectors: tuple[Tensor, Tensor], solver: Solver, scale: float
) -> None:
    target, sources = vectors

    scaled = select_group(scale * target, scale * sources, solver)

    assert scaled.members == select_group(target, sources, solver).members


@settings(deadline=None)
@given(task_vectors(), st.sampled_from(SOLVERS), st.integers(1, 5))
def test_opposed_source_never_enters(
    vectors: tuple[Tensor, Tensor], solver: Solver, strength: int
) -> None:
    target, sources = vectors
    assume(similarity(target, target) > 0)
    # Several opposed sources agree with each other, which must not let them in.
    opposed = torch.stack([-strength * target, -strength * target])

    members = select_group(target, torch.cat([sources, opposed]), solver).members

    assert all(similarity(target, sources[i]) >= 0 for i in members if i < len(sources))
    assert not {len(sources), len(sources) + 1} & set(members)


@settings(deadline=None)
@given(task_vectors())
def test_cosine_ignores_the_length_of_each_vector(vectors: tuple[Tensor, Tensor]) -> None:
    target, sources = vectors
    factors = 2.0 ** torch.arange(len(sources)).reshape(-1, 1, 1)

    group = select_group(target, sources, similarity="cosine")
    stretched = select_group(target, factors * sources, similarity="cosine")

    means = sources.mean(dim=1)
    expected = torch.cosine_similarity(means, target.mean(dim=0).expand_as(means))
    torch.testing.assert_close(group.similarities, expected)
    torch.testing.assert_close(stretched.similarities, expected)


@pytest.mark.parametrize(
    ("grouping", "members"),
    [
        ("full", [1]),
        ("similarity", [1, 2]),
        ("consistency", [3, 0]),
        ("all", [1, 2, 3, 0]),
        ("target-only", []),
        ("fixed-first-step", [1]),
    ],
)
def test_groupings(grouping: Grouping, members: list[int]) -> None:
    # Similarities -2, 2, 0, -1; the kept pair (1, 2) disagrees, the opposed pair (0, 3) agrees.
    target = torch.tensor([[1.0, 0.0]])
    sources = torch.tensor([[[-2.0, 1.0]], [[2.0, 1.0]], [[0.0, -1.0]], [[-1.0, 1.0]]])

    assert select_group(target, sources, grouping=grouping).members == members


def test_equal_similarities_keep_their_order_and_equal_consistencies_the_shorter_prefix() -> None:
    target = torch.tensor([[1.0, 0.0, 0.0]])
    first, second = [[1.0, 1.0, 0.0]], [[1.0, -1.0, 0.0]]  # similarity 1 each, consistency 0

    group = select_group(target, torch.tensor([first, second]))

    assert group.order.tolist() == [0, 1]
    assert group.consistencies.tolist() == [0.0, 0.0]
    assert group.members == [0]


def test_no_gradient_through_the_choice() -> None:
    target = torch.ones(2, 3, requires_grad=True)

    group = select_group(target, torch.ones(2, 2, 3, requires_grad=True))

    assert not group.similarities.requires_grad
    assert not group.objective().requires_grad


@pytest.mark.parametrize("choice", [{"solver": "exact"}, {"grouping": "consistency"}])
def test_all_subsets_of_sixteen_sources_but_not_of_more(choice: dict[str, str]) -> None:
    target = torch.ones(1, 2)
    assert len(select_group(target, torch.ones(MOST_SOURCES, 1, 2), **choice).members) > 1  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"all subsets of 17 sources .* use solver=greedy"):
        select_group(target, torch.ones(MOST_SOURCES + 1, 1, 2), **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "choice", [{"solver": "exakt"}, {"grouping": "none"}, {"similarity": "euclid"}]
)
def test_unknown_choice_is_refused(choice: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match=next(iter(choice))):
        select_group(torch.ones(1, 2), torch.ones(2, 1, 2), **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 1, 3), (3, 2, 2), (1, 2), (0, 1, 2)])
def test_sources_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PromptError):
        select_group(torch.ones(1, 2), torch.ones(shape))
