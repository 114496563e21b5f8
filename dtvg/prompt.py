"""DTVG: dynamic task vector grouping (Zhang et al. 2025, arXiv:2503.18063, stage 2).

Trainable are the target prompt ``P_t``, which starts from PT's prompt of the target, and one scale
per token for the target and for each source, which start from 1. Every forward pass selects a group
of sources from the scaled task vectors (:mod:`dtvg.grouping`) and merges it:

    T_t   = P_t - P_init                                     T_s = P_s - P_init, fixed
    P_mix = P_init + diag(alpha_t) T_t + sum over s in group of diag(alpha_s) T_s

No gradient flows through the selection; through the merge it flows to ``P_t``, ``alpha_t`` and the
``alpha_s`` of the group. After training, ``P_mix`` is one matrix and is used like PT's prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.method import Needs, ParameterGroup, PromptMethod, StartPrompts, require_same_initial
from dtvg.grouping import Group, GroupSettings, group_from_means
from dtvg.task_vectors import task_vectors


@dataclass(frozen=True)
class DTVGSettings(GroupSettings):
    """Settings of DTVG; all but the optimiser's settings define ablations."""

    scales: Literal["on", "off"] = "on"  # off fixes all scales at 1 and trains P_t alone
    learning_rate: PositiveFloat = 1e-3  # peak rate of P_t
    target_scale_learning_rate: PositiveFloat | None = None  # of alpha_t; None: that of P_t
    source_scale_learning_rate: PositiveFloat = 1e-3  # of the alpha_s
    weight_decay: NonNegativeFloat = 0.0  # decoupled (AdamW); the published stage 2 has none
    eps: PositiveFloat = 1e-6  # of AdamW, as in the published stage 2


class DTVGPrompt(PromptMethod[DTVGSettings]):
    """Target task vector, merged with the task vectors of the group.

    ``initial`` is ``P_init`` ``(r, d)``, ``target`` ``(r, d)`` initialises ``P_t``. ``sources``
    ``(S, r, d)`` may be empty if ``grouping`` is ``target-only``. Trainable are ``target``,
    ``target_scale`` ``(r,)`` and ``source_scales`` ``(S, r)``.
    """

    Settings: ClassVar[type[Any]] = DTVGSettings
    version: ClassVar[int] = 3
    initial: Tensor
    source_vectors: Tensor
    first_group: Tensor
    has_first_group: Tensor

    def __init__(
        self,
        initial: Tensor,
        target: Tensor,
        sources: Tensor,
        source_names: Sequence[str] = (),
        **settings: Any,  # fields of DTVGSettings
    ) -> None:
        super().__init__()
        self.settings = DTVGSettings(**settings)
        vectors = task_vectors(sources, initial).detach()
        # Not persistent: a checkpoint holds only what training changes.
        self.register_buffer("initial", initial.detach().clone(), persistent=False)
        self.register_buffer("source_vectors", vectors, persistent=False)
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
            # Part of the state, so that a resumed run keeps the group of its first step.
            self.register_buffer("first_group", torch.zeros(number, dtype=torch.bool))
            self.register_buffer("has_first_group", torch.zeros((), dtype=torch.bool))
        self.group()  # Impossible settings fail here, before the first training step.

    @classmethod
    def needs(cls, settings: DTVGSettings) -> Needs:
        sources = settings.grouping != "target-only"
        return Needs(sources=sources, target=True, same_initial=True)

    @classmethod
    def build(cls, settings: DTVGSettings, start: StartPrompts) -> DTVGPrompt:
        """Method that starts from PT's prompt of the target; all prompts must share ``P_init``."""
        initial, target, prompts = start.initial, start.target, start.sources
        assert target is not None
        require_same_initial(initial, [target, *prompts])
        matrices = [prompt.matrix for prompt in prompts]
        sources = torch.stack(matrices) if matrices else initial.new_empty(0, *initial.shape)
        names = [prompt.task for prompt in prompts]
        return cls(initial, target.matrix, sources, names, **vars(settings))

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P_t``, ``alpha_t`` and the ``alpha_s``: ``r*d + r + S*r`` scalars."""
        settings, rate = self.settings, self.settings.learning_rate
        groups = (
            ("target", self.target, rate),
            ("target scale", self.target_scale, settings.target_scale_learning_rate or rate),
            ("source scales", self.source_scales, settings.source_scale_learning_rate),
        )
        return [
            ParameterGroup(name, [tensor], peak, settings.weight_decay, settings.eps)
            for name, tensor, peak in groups
            if tensor.requires_grad
        ]

    @torch.no_grad()
    def group(self) -> Group:
        """Group for the current prompt and scales."""
        # The mean over tokens of diag(alpha) T without the scaled vectors themselves.
        target = self.target_scale @ task_vectors(self.target, self.initial)  # (d,)
        sources = torch.einsum("sr,srd->sd", self.source_scales, self.source_vectors)
        means = torch.cat([target.unsqueeze(0), sources]) / len(self.target_scale)
        group = group_from_means(means, self.settings)
        if self.settings.grouping == "fixed-first-step":
            mask = torch.where(self.has_first_group, self.first_group, group.mask)
            group = dataclasses.replace(group, mask=mask)
        return group

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``P_mix`` as ``(1, r, d)``; selects the group again."""
        members = self.group().mask
        if self.settings.grouping == "fixed-first-step":
            self.first_group.copy_(members)
            self.has_first_group.fill_(True)
        return self._mix(members).unsqueeze(0)

    @torch.no_grad()
    def merged_prompt(self) -> Tensor:
        """``P_mix`` ``(r, d)`` for the current group, detached; does not count as a step."""
        return self._mix(self.group().mask)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Any]:
        """Current group, similarities, consistencies, scales and cosines.

        ``group`` names the members by target similarity, ``scales`` are means over tokens.
        ``cosines`` compare the target with each source by the means over tokens of their prompts,
        as SPoT does, and of their unscaled task vectors.
        """

        def by_name(values: Tensor) -> dict[str, float]:
            return dict(zip(self.source_names, values.tolist(), strict=True))

        group = self.group()
        members = [self.source_names[member] for member in group.members]
        initial = self.initial.mean(dim=0)  # (d,)
        target = task_vectors(self.target, self.initial).mean(dim=0)  # (d,)
        sources = self.source_vectors.mean(dim=1)  # (S, d)
        prompts = F.cosine_similarity(target + initial, sources + initial, dim=-1)
        vectors = F.cosine_similarity(target, sources, dim=-1)
        scales = by_name(self.source_scales.mean(dim=1))
        return {
            "group": members,
            "group_size": len(members),
            "similarities": by_name(group.similarities),
            "consistencies": group.consistencies.tolist(),
            "scales": {"target": self.target_scale.mean().item(), "sources": scales},
            "cosines": {"prompts": by_name(prompts), "task_vectors": by_name(vectors)},
        }

    @torch.no_grad()
    def trace(self) -> list[dict[str, Any]]:
        """For each source and the target: membership, mean scale and similarity."""
        group, scales = self.group(), self.source_scales.mean(dim=1)
        columns = (tensor.tolist() for tensor in (group.mask, scales, group.similarities))
        rows = list(zip(self.source_names, *columns, strict=True))
        rows.append(("target", True, self.target_scale.mean().item(), None))
        names = ("source", "member", "scale", "similarity")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _mix(self, members: Tensor) -> Tensor:
        """``P_mix`` ``(r, d)`` with the sources in the mask ``members`` ``(S,)``."""
        weights = self.source_scales * members.unsqueeze(1)  # (S, r), 0 outside the group
        sources = torch.einsum("sr,srd->rd", weights, self.source_vectors)
        target = self.target_scale.unsqueeze(1) * task_vectors(self.target, self.initial)
        return self.initial + target + sources
