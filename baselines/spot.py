"""Soft prompt transfer (SPoT).

Vu et al. 2022, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer"
(arXiv:2110.07904). The prompt of one source task initialises the target's prompt, which is then
trained as in PT. In the retrieval form the source is the one whose prompt is most similar to the
prompt that PT trained on the target itself, by the cosine similarity of average tokens (section
"Defining task similarity through prompts"):

    sim(t, s) = cos(1/r sum_i P_t[i], 1/r sum_i P_s[i])

These are the prompts themselves, not their differences to ``P_init``: a source may have started
anywhere. In the fixed form the user names the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.pt import PromptTuning, PTSettings
from bench.errors import UnknownNameError
from bench.protocol import Ingredients, Needs, PromptError, SoftPrompt, require_same_shape


@dataclass(frozen=True)
class SPoTSettings(PTSettings):
    """Settings of SPoT: those of PT, and the source.

    Attributes:
        source: name of the source task to start from; None: the most similar one.
    """

    source: str | None = None


def similarity(target: Tensor, sources: Tensor) -> Tensor:
    """Cosine similarity of average tokens, ``cos(mean_i P_t[i], mean_i P_s[i])``.

    Args:
        target: ``(r, d)`` prompt of the target task.
        sources: ``(S, r, d)`` prompts of the source tasks.

    Returns:
        ``(S,)``.
    """
    return F.cosine_similarity(target.mean(dim=0).unsqueeze(0), sources.mean(dim=1), dim=-1)


class SPoT(PromptTuning[SPoTSettings]):
    """PT that starts from the prompt of a source task.

    Args:
        source: the source task's prompt.
        similarities: of all sources by name; None in the fixed form, which compares nothing.
        settings: of the method.
    """

    Settings: ClassVar[type[Any]] = SPoTSettings

    def __init__(
        self,
        source: SoftPrompt,
        similarities: Mapping[str, float] | None,
        settings: SPoTSettings,
    ) -> None:
        super().__init__(source.matrix, settings)
        self.source = source.task
        self.similarities = similarities

    @classmethod
    def needs(cls, settings: SPoTSettings) -> Needs:
        """The sources and, to compare them with, the target's own prompt."""
        named = () if settings.source is None else (settings.source,)
        return Needs(sources=True, target=not named, named_sources=named)

    @classmethod
    def build(cls, settings: SPoTSettings, ingredients: Ingredients) -> SPoT:
        """Choose the source and start from its prompt.

        Raises:
            UnknownNameError: the named source is not among the sources.
            PromptError: shapes do not fit, or the target's own prompt is missing.
        """
        sources = {prompt.task: prompt for prompt in ingredients.sources}
        require_same_shape(ingredients.initial, ingredients.sources)
        if settings.source is not None:
            if settings.source not in sources:
                raise UnknownNameError("source task", settings.source, sources)
            return cls(sources[settings.source], None, settings)
        target = ingredients.target
        if target is None or not sources:
            raise PromptError("SPoT compares source prompts with the target's own: one is missing")
        require_same_shape(ingredients.initial, [target])
        values = similarity(target.matrix, torch.stack([p.matrix for p in ingredients.sources]))
        similarities = dict(zip(sources, values.tolist(), strict=True))
        best = max(similarities, key=similarities.__getitem__)
        return cls(sources[best], similarities, settings)

    def diagnostics(self) -> dict[str, Any]:
        """The source chosen and, in the retrieval form, the similarity of each source."""
        found: dict[str, Any] = {"source": self.source}
        if self.similarities is not None:
            found["similarities"] = dict(self.similarities)
        return found
