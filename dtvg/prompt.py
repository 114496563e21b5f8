"""DTVG: dynamic task vector grouping (Zhang et al. 2025, arXiv:2503.18063, stage 2).

Trained are the target prompt ``P_t`` (from where PT on the target left it), one scale per token
for the target and one per token for each source, all starting at 1. In every forward pass the
group of sources is chosen anew from the scaled task vectors (:mod:`dtvg.grouping`) and merged:

    T_t   = P_t - P_init                                     T_s = P_s - P_init, fixed
    P_mix = P_init + diag(alpha_t) T_t + sum over s in group of diag(alpha_s) T_s

The choice takes no gradient; through the merge it flows to ``P_t``, ``alpha_t`` and the
``alpha_s`` of the group. After training ``P_mix`` is one matrix, used as PT's prompt is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.protocol import Ingredients, Needs, ParameterGroup, PromptError, PromptMethod
from dtvg.grouping import Group, Grouping, Similarity, Solver, group_means, require_known
from dtvg.task_vectors import TaskVectors, stack_prompts

Scales = Literal["on", "off"]


@dataclass(frozen=True)
class DTVGSettings:
    """Settings of DTVG; all but the rates name the ablations.

    Attributes:
        grouping: which steps choose the group.
        similarity: of two task vectors.
        scales: ``off`` fixes all scales at 1 and trains ``P_t`` alone.
        solver: ``greedy`` as published, or ``exact``.
        consistency_weight: ``lambda`` of the objective; only for ``exact``.
        learning_rate: peak rate of ``P_t`` and ``alpha_t``.
        source_scale_learning_rate: peak rate of the ``alpha_s``.
        weight_decay: decoupled weight decay (AdamW); the published stage 2 has none.

    Raises:
        ValueError: a value is out of range.
    """

    grouping: Grouping = "full"
    similarity: Similarity = "dot"
    scales: Scales = "on"
    solver: Solver = "greedy"
    consistency_weight: float = 1.0
    learning_rate: float = 0.3
    source_scale_learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and self.source_scale_learning_rate > 0):
            raise ValueError("learning_rate and source_scale_learning_rate must be above 0")
        if not (self.weight_decay >= 0 and self.consistency_weight >= 0):
            raise ValueError("weight_decay and consistency_weight must be 0 or more")


class DTVGPrompt(PromptMethod[DTVGSettings]):
    """The target's task vector merged with those of the sources that go together with it.

    Args:
        initial: ``(r, d)``, ``P_init``.
        target: ``(r, d)``, where ``P_t`` starts.
        sources: ``(S, r, d)``, source prompts; may be empty if ``grouping`` is ``target-only``.
        source_names: for the diagnostics; None: their numbers.
        **settings: fields of :class:`DTVGSettings`.

    Attributes:
        target: ``(r, d)``, ``P_t``.
        target_scale: ``(r,)``, ``alpha_t``.
        source_scales: ``(S, r)``, the ``alpha_s``.

    Raises:
        PromptError: the shapes do not fit, or there is no source to choose.
        ConfigError: a setting is unknown, or the sources are too many for all subsets.
    """

    Settings: ClassVar[type[Any]] = DTVGSettings

    first_group: Tensor
    has_first_group: Tensor

    def __init__(
        self,
        initial: Tensor,
        target: Tensor,
        sources: Tensor,
        *,
        source_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = DTVGSettings(**settings)
        require_known("scales", self.settings.scales, get_args(Scales))
        self.vectors = TaskVectors(initial, sources)
        number, length = sources.shape[:2]
        self.source_names = tuple(source_names or map(str, range(number)))
        scaled = self.settings.scales == "on"
        self.target = nn.Parameter(target.detach().clone())
        self.target_scale = nn.Parameter(initial.new_ones(length), requires_grad=scaled)
        self.source_scales = nn.Parameter(
            initial.new_ones(number, length),
            requires_grad=scaled and self.settings.grouping != "target-only",
        )
        if self.settings.grouping == "fixed-first-step":
            # Part of the state: a resumed run goes on with the group of its first step.
            self.register_buffer("first_group", torch.zeros(number, dtype=torch.bool))
            self.register_buffer("has_first_group", torch.zeros((), dtype=torch.bool))
        self.group()  # An impossible choice shows now, not in the first training step.

    @classmethod
    def needs(cls, settings: DTVGSettings) -> Needs:
        """The target's own prompt and, unless it stays alone, the sources."""
        sources = settings.grouping != "target-only"
        return Needs(sources=sources, target=True, same_initial=True)

    @classmethod
    def build(cls, settings: DTVGSettings, ingredients: Ingredients) -> DTVGPrompt:
        """Start from the target's own prompt.

        Raises:
            InitialPromptMismatchError: a prompt belongs to another ``P_init``.
            PromptError: shapes do not fit, or a prompt is missing.
            ConfigError: too many sources to try all subsets.
        """
        if ingredients.target is None:
            raise PromptError("DTVG starts from the prompt that PT trained on the target: missing")
        initial, prompts = ingredients.initial, ingredients.sources
        return cls(
            initial,
            stack_prompts(initial, [ingredients.target]).squeeze(0),
            stack_prompts(initial, prompts),
            source_names=[prompt.task for prompt in prompts],
            **vars(settings),
        )

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained: ``r*d + r + S*r`` scalars with scales and sources."""
        settings = self.settings
        targets = [p for p in (self.target, self.target_scale) if p.requires_grad]
        groups = [ParameterGroup("target", targets, settings.learning_rate, settings.weight_decay)]
        if self.source_scales.requires_grad:
            rate = settings.source_scale_learning_rate
            scales = [self.source_scales]
            groups.append(ParameterGroup("source scales", scales, rate, settings.weight_decay))
        return groups

    @torch.no_grad()
    def group(self) -> Group:
        """The group under the present prompt and scales; changes nothing."""
        settings = self.settings
        # The mean over tokens of diag(alpha) T without the scaled vectors themselves.
        target = (self.target_scale @ self.vectors.of(self.target)).unsqueeze(0)  # (1, d)
        sources = torch.einsum("sr,srd->sd", self.source_scales, self.vectors.sources)
        group = group_means(
            torch.cat([target, sources]) / len(self.target_scale),
            settings.solver,
            grouping=settings.grouping,
            similarity=settings.similarity,
            consistency_weight=settings.consistency_weight,
        )
        if settings.grouping == "fixed-first-step":
            mask = torch.where(self.has_first_group, self.first_group, group.mask)
            group = dataclasses.replace(group, mask=mask)
        return group

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``P_mix`` as ``(1, r, d)``, whatever the input; the group is chosen anew."""
        members = self.group().mask
        if self.settings.grouping == "fixed-first-step":
            self.first_group.copy_(members)
            self.has_first_group.fill_(True)
        return self._mix(members).unsqueeze(0)

    @torch.no_grad()
    def merged_prompt(self) -> Tensor:
        """``P_mix`` ``(r, d)`` under the present group, detached."""
        return self._mix(self.group().mask)

    def diagnostics(self) -> dict[str, Any]:
        """Group, similarities, consistencies, scales and cosines as they are now.

        ``group`` names the members by falling target similarity, ``consistencies`` belong to the
        first 1, 2, ... sources with target similarity >= 0, ``scales`` are means over tokens.
        ``cosines`` compare the target with each source by the means over tokens, once of their
        prompts as SPoT does, once of their unscaled task vectors: what ``P_init`` hides.
        """
        group = self.group()
        members = group.members
        scales = self.source_scales.detach().mean(dim=1)
        return {
            "group": [self.source_names[member] for member in members],
            "group_size": len(members),
            "similarities": self._by_name(group.similarities),
            "consistencies": group.consistencies.tolist(),
            "scales": {
                "target": self.target_scale.detach().mean().item(),
                "sources": self._by_name(scales),
            },
            "cosines": self._cosines(),
        }

    @torch.no_grad()
    def _cosines(self) -> dict[str, dict[str, float]]:
        initial = self.vectors.initial.mean(dim=0)  # (d,)
        target = self.vectors.of(self.target).mean(dim=0)  # (d,)
        sources = self.vectors.sources.mean(dim=1)  # (S, d)
        prompts = F.cosine_similarity(target + initial, sources + initial, dim=-1)
        vectors = F.cosine_similarity(target, sources, dim=-1)
        return {"prompts": self._by_name(prompts), "task_vectors": self._by_name(vectors)}

    def _mix(self, members: Tensor) -> Tensor:
        """``P_mix`` ``(r, d)`` with the sources in the mask ``members`` ``(S,)``."""
        weights = self.source_scales * members.unsqueeze(1)  # (S, r), 0 outside the group
        sources = torch.einsum("sr,srd->rd", weights, self.vectors.sources)
        target = self.target_scale.unsqueeze(1) * self.vectors.of(self.target)
        return self.vectors.initial + target + sources

    def _by_name(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self.source_names, values.tolist(), strict=True))
