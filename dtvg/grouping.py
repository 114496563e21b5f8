"""Selection of the sources to merge with the target (Zhang et al. 2025, arXiv:2503.18063, stage 2).

Similarity of two task vectors with token rows ``v_i``, the dot product of their means over tokens:

    sim(T_1, T_2) = 1/r^2 (sum_i v_i^1)^T (sum_j v_j^2)

Target similarity and knowledge consistency of a group ``G`` of sources:

    TS(G) = mean over s in G of sim(T_t, T_s);  0 if G is empty
    KC(G) = mean over ordered pairs i != j in G of sim(T_i, T_j);  0 if G has fewer than two

The objective is ``TS(G) + lambda KC(G)``:

* ``greedy``, as published: sources with ``sim(T_t, T_s) >= 0`` are sorted by decreasing similarity;
  of all prefixes, the one with the highest consistency, the shortest on a tie.
* ``exact``: of all subsets of the sources, the one with the highest objective.

TS is a mean as in the authors' figure; ``target_similarity="sum"`` uses the sum. All computation is
on the vectors' device without synchronisation; groups and subsets are masks.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.errors import ConfigError, PromptError

Grouping = Literal["full", "similarity", "consistency", "all", "target-only", "fixed-first-step"]
"""Which sources form the group.

``full``: as the solver does. ``similarity``: every source with target similarity >= 0.
``consistency``: the most consistent subset of all sources; none if no consistency is above 0
[published code]. ``all``, ``target-only``: every source, none. ``fixed-first-step``: ``full`` in
the first step, whose group is kept.
"""
Similarity = Literal["dot", "cosine"]
MAX_SOURCES = 16  # limit for trying all subsets (2^16 of them)


@dataclass(frozen=True)
class GroupSettings:
    """Settings of the group selection."""

    grouping: Grouping = "full"  # which sources form the group
    similarity: Similarity = "dot"  # of the means over tokens: the paper's dot product, or cosine
    solver: Literal["greedy", "exact"] = "greedy"  # greedy as published
    consistency_weight: NonNegativeFloat = 1.0  # lambda of the objective; only for exact
    target_similarity: Literal["mean", "sum"] = "mean"  # of a group; only for exact


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Selected sources as tensors on the device; reading ``members`` waits for the device."""

    mask: Tensor  # (S,) bool, true for members
    similarities: Tensor  # (S,) target similarity of every source
    order: Tensor  # (S,) sources by decreasing target similarity
    pairwise: Tensor  # (S, S) similarity of every two sources

    @property
    def members(self) -> list[int]:
        """Sources in the group by decreasing target similarity."""
        is_member = self.mask.tolist()
        return [source for source in self.order.tolist() if is_member[source]]

    @property
    def consistencies(self) -> Tensor:
        """Knowledge consistency of the first 1, 2, ... sources with target similarity >= 0.

        The first value, 0 by definition, is present even without such a source [published code].
        """
        ranked = self.pairwise[self.order][:, self.order]
        candidates = int((self.similarities >= 0).sum())
        return knowledge_consistency(_prefixes(self.order), ranked)[: max(1, candidates)]


def knowledge_consistency(subsets: Tensor, pairwise: Tensor) -> Tensor:
    """``KC`` ``(K,)`` of subsets ``(K, S)``, given the similarity ``(S, S)`` of every two."""
    members = subsets.to(pairwise.dtype)
    others = pairwise - torch.diag(pairwise.diagonal())
    total = ((members @ others) * members).sum(dim=-1)
    size = members.sum(dim=-1)
    return total / (size * (size - 1)).clamp(min=1)


def select_group(target_vector: Tensor, source_vectors: Tensor, **settings: Any) -> Group:
    """Select the sources to merge with the target; no gradient flows through the selection.

    ``target_vector`` is ``diag(alpha_t) T_t`` ``(r, d)``, ``source_vectors`` are the
    ``diag(alpha_s) T_s`` ``(S, r, d)``; ``settings`` are those of :class:`GroupSettings`. Raises
    PromptError for other shapes or no sources, ConfigError for too many sources to try all subsets.
    """
    if source_vectors.dim() != 3 or source_vectors.shape[1:] != target_vector.shape:
        shapes = f"{tuple(source_vectors.shape)} and {tuple(target_vector.shape)}"
        raise PromptError(f"source and target vectors: expected (S, r, d) and (r, d), got {shapes}")
    means = torch.cat([target_vector.unsqueeze(0), source_vectors]).mean(dim=1)
    return group_from_means(means, GroupSettings(**settings))


@torch.no_grad()
def group_from_means(means: Tensor, settings: GroupSettings) -> Group:
    """:func:`select_group` from the means over tokens ``(S+1, d)``, target first."""
    grouping, exact = settings.grouping, settings.solver == "exact"
    vectors = F.normalize(means, dim=-1) if settings.similarity == "cosine" else means
    gram = vectors @ vectors.T  # (S+1, S+1)
    similarities, pairwise = gram[0, 1:], gram[1:, 1:]
    candidates = similarities >= 0
    order = similarities.argsort(descending=True, stable=True)
    masks = {"target-only": torch.zeros_like, "all": torch.ones_like, "similarity": torch.clone}
    if not len(order) and grouping != "target-only":
        raise PromptError(f"grouping={grouping} chooses among source prompts, but there are none")
    if grouping in masks:
        return Group(masks[grouping](candidates), similarities, order, pairwise)
    if exact or grouping == "consistency":
        subsets = _all_subsets(order)
    else:
        subsets = _prefixes(order) & candidates[order]
    objective = knowledge_consistency(subsets, pairwise[order][:, order])
    if exact and grouping != "consistency":
        target_similarity = subsets.to(objective.dtype) @ similarities[order]
        if settings.target_similarity == "mean":
            target_similarity = target_similarity / subsets.sum(dim=-1).clamp(min=1)
        objective = target_similarity + settings.consistency_weight * objective
    # The first of equal values wins: the shortest prefix, or the subset of higher ranks.
    best = subsets[objective.argmax(dim=0, keepdim=True)].squeeze(0)
    mask = torch.zeros_like(candidates).scatter(0, order, best)
    return Group(mask, similarities, order, pairwise)


def _prefixes(order: Tensor) -> Tensor:
    """``(S, S)`` bool: row ``m`` holds the first ``m + 1`` ranks."""
    return torch.ones(len(order), len(order), dtype=torch.bool, device=order.device).tril()


def _all_subsets(order: Tensor) -> Tensor:
    """``(2^S, S)`` bool: row ``k`` holds the ranks whose bits are set in ``k``; row 0 is empty."""
    number = len(order)
    if number > MAX_SOURCES:
        raise ConfigError(
            f"all subsets of {number} sources are too many to try (at most {MAX_SOURCES} "
            "sources); use solver=greedy or fewer sources"
        )
    ranks, codes = (torch.arange(n, device=order.device) for n in (number, 2**number))
    return (codes.unsqueeze(1) >> ranks).bitwise_and(1).bool()
