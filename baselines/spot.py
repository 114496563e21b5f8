"""Soft prompt transfer (SPoT).

Vu et al. 2022, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer"
(arXiv:2110.07904). The prompt of one source task initialises the target's prompt, which is then
trained as in PT. The user names the source, or it is the one whose prompt (not its difference to
``P_init``) is most similar to the prompt that PT trained on the target itself:

    sim(t, s) = cos(1/r sum_i P_t[i], 1/r sum_i P_s[i])
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from baselines.pt import PromptTuning, PTSettings
from bench.errors import PromptError, UnknownNameError
from bench.method import Ingredients, Needs, require_same_shape


@dataclass(frozen=True)
class SPoTSettings(PTSettings):
    """Settings of SPoT: those of PT, and the source."""

    source: str | None = None  # source task to start from; None: the most similar one


def similarity(target: Tensor, sources: Tensor) -> Tensor:
    """Cosine similarity ``(S,)`` of the average tokens of ``(r, d)`` and of each ``(S, r, d)``."""
    return F.cosine_similarity(target.mean(dim=0).unsqueeze(0), sources.mean(dim=1), dim=-1)


class SPoT(PromptTuning):
    """PT from the prompt of a source task; ``choice`` says which, and how similar all are."""

    Settings: ClassVar[type[Any]] = SPoTSettings

    def __init__(self, start: Tensor, choice: dict[str, Any], settings: SPoTSettings) -> None:
        super().__init__(start, settings)
        self.choice = choice

    @classmethod
    def needs(cls, settings: SPoTSettings) -> Needs:
        named = () if settings.source is None else (settings.source,)
        return Needs(sources=True, target=not named, named_sources=named)

    @classmethod
    def build(cls, settings: SPoTSettings, ingredients: Ingredients) -> SPoT:
        require_same_shape(ingredients.initial, ingredients.sources)
        sources = {prompt.task: prompt.matrix for prompt in ingredients.sources}
        target, named = ingredients.target, settings.source
        if named is not None:
            if named not in sources:
                raise UnknownNameError("source task", named, sources)
            return cls(sources[named], {"source": named}, settings)
        if target is None or not sources:
            raise PromptError("SPoT compares source prompts with the target's own: one is missing")
        require_same_shape(ingredients.initial, [target])
        values = similarity(target.matrix, torch.stack(list(sources.values())))
        similarities = dict(zip(sources, values.tolist(), strict=True))
        best = max(similarities, key=similarities.__getitem__)
        return cls(sources[best], {"source": best, "similarities": similarities}, settings)

    def diagnostics(self) -> dict[str, Any]:
        """Source chosen and, in the retrieval form, the similarity of each source."""
        return self.choice
