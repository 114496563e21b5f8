"""Soft prompt transfer (SPoT).

Vu et al. 2022, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer"
(arXiv:2110.07904). The prompt of one source task initialises the target's prompt, which is then
trained as in PT. The source is named by the user, or is the task whose prompt (not its difference
to ``P_init``) is most similar to PT's prompt of the target:

    sim(t, s) = cos(1/r sum_i P_t[i], 1/r sum_i P_s[i])

Alternatively, PT trains the prompt on a mixture of sources, in proportion to their examples.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from baselines.pt import PromptTuning, PTSettings
from bench.method import Needs, StartPrompts


@dataclass(frozen=True)
class SPoTSettings(PTSettings):
    """Settings of SPoT: those of PT, and the source."""

    weight_decay: NonNegativeFloat = 0.0  # as in the published code
    eps: PositiveFloat = 1e-6  # of AdamW, as in the published code
    source: str | None = None  # source task; ``a+b``, ``all``: a mixture; None: the most similar


def similarity(target: Tensor, sources: Tensor) -> Tensor:
    """Cosine similarity ``(S,)`` of the mean tokens of ``(r, d)`` and of each ``(S, r, d)``."""
    return F.cosine_similarity(target.mean(dim=0).unsqueeze(0), sources.mean(dim=1), dim=-1)


class SPoT(PromptTuning):
    """PT from a source prompt; ``choice`` names the source, and the similarities of all."""

    Settings: ClassVar[type[Any]] = SPoTSettings
    version: ClassVar[int] = 2

    def __init__(self, start: Tensor, choice: dict[str, Any], settings: SPoTSettings) -> None:
        super().__init__(start, settings)
        self.choice = choice

    @classmethod
    def needs(cls, settings: SPoTSettings) -> Needs:
        if settings.source is None:
            return Needs(sources=True, target=True)
        names = () if settings.source == "all" else tuple(settings.source.split("+"))
        mixture = len(names) != 1
        return Needs(sources=not mixture, named_sources=names, mixture=mixture)

    @classmethod
    def build(cls, settings: SPoTSettings, start: StartPrompts) -> SPoT:
        sources = {prompt.task: prompt.matrix for prompt in start.sources}
        source, target = settings.source, start.target
        if cls.needs(settings).mixture:
            assert start.source_state is not None
            return cls(start.source_state["prompt"], {"source": source}, settings)
        if source is not None:
            return cls(sources[source], {"source": source}, settings)
        assert target is not None
        cosines = similarity(target.matrix, torch.stack(list(sources.values())))
        similarities = dict(zip(sources, cosines.tolist(), strict=True))
        best = max(similarities, key=similarities.__getitem__)
        return cls(sources[best], {"source": best, "similarities": similarities}, settings)

    def diagnostics(self) -> dict[str, Any]:
        """Source task and, if it was chosen by similarity, the similarity of each source."""
        return self.choice
