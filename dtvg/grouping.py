"""Which source tasks go together with the target (Zhang et al. 2025, arXiv:2503.18063, stage 2).

Similarity of two task vectors with token rows ``v_i``, the dot product of their means over tokens:

    sim(T_1, T_2) = 1/r^2 (sum_i v_i^1)^T (sum_j v_j^2)

Target similarity and knowledge consistency of a group ``G`` of sources:

    TS(G) = sum over s in G of sim(T_t, T_s)
    KC(G) = mean over ordered pairs i != j in G of sim(T_i, T_j);  0 if G has less than two

The objective is ``TS(G) + lambda KC(G)``. Solvers, both over the sources with
``sim(T_t, T_s) >= 0`` only, so that a source opposed to the target never enters:

* ``greedy``, as published: those sources sorted by target similarity, highest first; the first
  ``m`` of them with the highest consistency, the smallest such ``m`` on a tie.
* ``exact``: the subset of them with the highest objective, out of all.

``TS`` is a sum because that is what makes the published first step greedy: keeping every source
with similarity >= 0 maximises the sum, while a mean would be maximised by the best source alone.

All of it is computed on the device of the vectors without waiting for it: groups are masks, and
subsets are rows of 0/1 matrices that matrix products evaluate at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import ConfigError, UnknownNameError
from bench.protocol import PromptError

Grouping = Literal["full", "similarity", "consistency", "all", "target-only", "fixed-first-step"]
"""Which steps choose the group.

``full``: similarity, then consistency. ``similarity``: every source with target similarity >= 0.
``consistency``: of all subsets of all sources the most consistent; none if no consistency is
above 0 [published code]. ``all``: every source. ``target-only``: none. ``fixed-first-step``: as
``full``, and who computes it anew in every step keeps the first.
"""

Similarity = Literal["dot", "cosine"]
"""Of the means over tokens: the paper's dot product, or its cosine."""

Solver = Literal["greedy", "exact"]

MOST_SOURCES = 16
"""Above so many sources not all subsets are tried (2^16 of them are)."""


@dataclass(frozen=True, eq=False)
class Group:
    """The sources chosen, as tensors on the device; lists are read from it only when asked for.

    Attributes:
        mask: ``(S,)`` bool, true for members.
        similarities: ``(S,)``, target similarity of every source.
        order: ``(S,)``, sources by falling target similarity.
        pairwise: ``(S, S)``, similarity of every two sources.
    """

    mask: Tensor
    similarities: Tensor
    order: Tensor
    pairwise: Tensor

    @property
    def members(self) -> list[int]:
        """The sources in the group by falling target similarity (waits for the device)."""
        chosen = self.mask.tolist()
        return [source for source in self.order.tolist() if chosen[source]]

    @property
    def kept(self) -> int:
        """How many sources have target similarity >= 0 (waits for the device)."""
        return int((self.similarities >= 0).sum())

    @property
    def consistencies(self) -> Tensor:
        """Knowledge consistency of the first 1, 2, ... kept sources in order.

        The first is 0 by definition and is there even if no source is kept, as in the published
        code (waits for the device).
        """
        ranked = self.pairwise[self.order][:, self.order]
        return knowledge_consistency(_prefixes(self.order), ranked)[: max(1, self.kept)]

    def objective(self, consistency_weight: float = 1.0) -> Tensor:
        """``TS + lambda KC`` of the group, a scalar tensor."""
        subset = self.mask.unsqueeze(0)
        return objective(subset, self.similarities, self.pairwise, consistency_weight).squeeze(0)


def pairwise_similarity(vectors: Tensor, similarity: Similarity = "dot") -> Tensor:
    """Similarity of every two task vectors.

    Args:
        vectors: ``(N, r, d)``.
        similarity: of the means over tokens.

    Returns:
        ``(N, N)``.
    """
    return _gram(vectors.mean(dim=1), similarity)


def knowledge_consistency(subsets: Tensor, pairwise: Tensor) -> Tensor:
    """``KC`` of subsets: mean similarity of their ordered pairs ``i != j``; 0 below two members.

    Args:
        subsets: ``(K, S)``, 1 for members.
        pairwise: ``(S, S)``, similarity of every two sources.

    Returns:
        ``(K,)``.
    """
    members = subsets.to(pairwise.dtype)
    others = pairwise - torch.diag(pairwise.diagonal())
    total = ((members @ others) * members).sum(dim=-1)
    size = members.sum(dim=-1)
    return total / (size * (size - 1)).clamp(min=1)


def objective(
    subsets: Tensor, similarities: Tensor, pairwise: Tensor, consistency_weight: float
) -> Tensor:
    """``TS + lambda KC`` of subsets ``(K, S)`` as ``(K,)``."""
    target_similarity = subsets.to(similarities.dtype) @ similarities
    return target_similarity + consistency_weight * knowledge_consistency(subsets, pairwise)


@torch.no_grad()
def select_group(
    target_vector: Tensor,
    source_vectors: Tensor,
    solver: Solver = "greedy",
    *,
    grouping: Grouping = "full",
    similarity: Similarity = "dot",
    consistency_weight: float = 1.0,
) -> Group:
    """Choose the sources to merge with the target; no gradient flows through the choice.

    Args:
        target_vector: ``(r, d)``, ``diag(alpha_t) T_t``.
        source_vectors: ``(S, r, d)``, ``diag(alpha_s) T_s``.
        solver: how the group is searched.
        grouping: which steps choose it.
        similarity: of two vectors.
        consistency_weight: ``lambda`` of the objective; only for ``exact``.

    Raises:
        PromptError: the shapes do not fit, or there is no source to choose.
        ConfigError: too many sources to try all subsets.
        UnknownNameError: no such solver, grouping or similarity.
    """
    if source_vectors.dim() != 3 or source_vectors.shape[1:] != target_vector.shape:
        raise PromptError(
            f"source vectors have shape {tuple(source_vectors.shape)}, the target vector "
            f"{tuple(target_vector.shape)}: expected (S, r, d) and (r, d)"
        )
    means = torch.cat([target_vector.unsqueeze(0), source_vectors]).mean(dim=1)
    return group_means(
        means,
        solver,
        grouping=grouping,
        similarity=similarity,
        consistency_weight=consistency_weight,
    )


@torch.no_grad()
def group_means(
    means: Tensor,
    solver: Solver,
    *,
    grouping: Grouping,
    similarity: Similarity,
    consistency_weight: float,
) -> Group:
    """:func:`select_group` from the means over tokens ``(S+1, d)``, target first."""
    require_known("solver", solver, get_args(Solver))
    require_known("grouping", grouping, get_args(Grouping))
    require_known("similarity", similarity, get_args(Similarity))
    gram = _gram(means, similarity)
    similarities, pairwise = gram[0, 1:], gram[1:, 1:]
    kept = similarities >= 0
    order = similarities.argsort(descending=True, stable=True)
    if not len(order) and grouping != "target-only":
        raise PromptError(f"grouping={grouping} chooses among source prompts, but there are none")
    if grouping == "target-only":
        mask = torch.zeros_like(kept)
    elif grouping == "all":
        mask = torch.ones_like(kept)
    elif grouping == "similarity":
        mask = kept
    else:
        ranked = pairwise[order][:, order]
        if grouping == "consistency":
            subsets = _all_subsets(order)
            values = knowledge_consistency(subsets, ranked)
        elif solver == "exact":
            subsets = _all_subsets(order) & kept[order]
            values = objective(subsets, similarities[order], ranked, consistency_weight)
        else:
            subsets = _prefixes(order) & kept[order]
            values = _prefix_consistency(subsets, ranked)
        # The first of equal values wins: the shortest prefix, or the subset of higher ranks.
        best = subsets[values.argmax(dim=0, keepdim=True)].squeeze(0)
        mask = torch.zeros_like(kept).scatter(0, order, best)
    return Group(mask, similarities, order, pairwise)


def require_known(kind: str, name: str, choices: Iterable[str]) -> None:
    """Check the value of a setting.

    Raises:
        UnknownNameError: it is none of the choices.
    """
    if name not in choices:
        raise UnknownNameError(kind, name, choices)


def _gram(means: Tensor, similarity: Similarity) -> Tensor:
    """Similarities ``(N, N)`` of mean vectors ``(N, d)``."""
    if similarity == "cosine":
        means = F.normalize(means, dim=-1)
    return means @ means.T


def _prefixes(order: Tensor) -> Tensor:
    """``(S, S)`` bool: row ``m`` holds the first ``m + 1`` ranks."""
    number = len(order)
    return torch.ones(number, number, dtype=torch.bool, device=order.device).tril()


def _prefix_consistency(prefixes: Tensor, ranked: Tensor) -> Tensor:
    """:func:`knowledge_consistency` of prefixes ``(S, S)``, the first 1, 2, ... ranks or fewer.

    Each rank adds its similarities to those before it, so ``S`` prefixes cost ``S^2``, not the
    ``S^3`` of as many arbitrary subsets.
    """
    added = 2 * ranked.tril(diagonal=-1).sum(dim=1)
    size = prefixes.sum(dim=1)
    return (prefixes.to(added.dtype) @ added) / (size * (size - 1)).clamp(min=1)


def _all_subsets(order: Tensor) -> Tensor:
    """``(2^S, S)`` bool: row ``k`` holds the ranks whose bits are set in ``k``; row 0 is empty."""
    number = len(order)
    if number > MOST_SOURCES:
        raise ConfigError(
            f"all subsets of {number} sources are too many to try (at most {MOST_SOURCES} "
            "sources); use solver=greedy or fewer sources"
        )
    ranks = torch.arange(number, device=order.device)
    codes = torch.arange(2**number, device=order.device)
    return (codes.unsqueeze(1) >> ranks).bitwise_and(1).bool()
