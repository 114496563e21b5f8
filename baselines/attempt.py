"""ATTEMPT: attentional mixtures of soft prompts.

Asai et al. 2022, "ATTEMPT: Parameter-Efficient Multi-task Tuning via Attentional Mixtures of Soft
Prompts" (arXiv:2205.11961), section on target prompt training. Frozen source prompts
``P_1 .. P_S`` and a trained target prompt ``P_t`` are mixed for every input ``X``:

    x   = maxpool over tokens of X
    k_j = maxpool over tokens of P_j                        j = 1..S and t
    h   = LayerNorm(W_up SiLU(W_down x))
    a   = softmax over j of (k_j . h / T),                  T = e d
    P(x) = P_t + sum_j a_j P_j                              the target is one of the j as well

The published code takes the maximum over padding too, which makes a prediction depend on the rest
of the batch; here padding is masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from baselines.pt import PTSettings
from bench.method import Needs, ParameterGroup, PromptMethod, StartPrompts


@dataclass(frozen=True)
class AttemptSettings(PTSettings):
    """Settings of ATTEMPT: those of PT, and those of the attention network."""

    weight_decay: NonNegativeFloat = 0.0  # as in the published code
    hidden: PositiveInt = 100  # width of the bottleneck in the attention network
    temperature: PositiveFloat | None = None  # T of the softmax; None: e * d
    train_norm: bool = True  # as in the paper (232 K parameters); not in the published code


class AttemptPrompt(PromptMethod[AttemptSettings]):
    """A mixture of source prompts and target prompt, weighted by attention for each input.

    ``target`` ``(r, d)`` initialises ``P_t``, ``sources`` ``(S, r, d)`` stay fixed;
    ``settings`` are fields of :class:`AttemptSettings`. ``W_down`` and ``W_up`` are drawn from
    PyTorch's global random state.
    """

    Settings: ClassVar[type[Any]] = AttemptSettings
    version: ClassVar[int] = 2
    instance_dependent: ClassVar[bool] = True

    sources: Tensor
    attention_sum: Tensor

    def __init__(
        self, target: Tensor, sources: Tensor, source_names: Sequence[str] = (), **settings: Any
    ) -> None:
        super().__init__()
        self.settings = AttemptSettings(**settings)
        number, _, width = sources.shape
        self.source_names = tuple(source_names or map(str, range(number)))
        self.temperature = self.settings.temperature or math.e * width
        self.target = nn.Parameter(target.detach().clone())
        self.down = nn.Linear(width, self.settings.hidden, bias=False)
        self.up = nn.Linear(self.settings.hidden, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.norm.requires_grad_(self.settings.train_norm)
        # Not persistent: a checkpoint holds only what training changes.
        self.register_buffer("sources", sources.detach().clone(), persistent=False)
        self.register_buffer("attention_sum", sources.new_zeros(number + 1), persistent=False)
        self.attention_rows = 0

    @classmethod
    def needs(cls, settings: AttemptSettings) -> Needs:
        return Needs(sources=True)

    @classmethod
    def build(cls, settings: AttemptSettings, start: StartPrompts) -> AttemptPrompt:
        """Method whose ``P_t`` starts from the first source prompt [published code]."""
        matrices = torch.stack([prompt.matrix for prompt in start.sources])
        names = [prompt.task for prompt in start.sources]
        return cls(matrices[0], matrices, names, **vars(settings))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Trained scalars: ``r*d + 2*hidden*d``, and ``2*d`` more with ``train_norm``."""
        # The published code names another rate for the attention, but never applies it.
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [self.settings.group("target prompt and attention", parameters)]

    def attention(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights ``(B, S+1)`` of the prompts for inputs ``(B, L, d)``, the target's last."""
        pooled = max_pool(inputs, mask).to(self.down.weight.dtype)  # (B, d)
        query = self.norm(self.up(F.silu(self.down(pooled))))  # (B, d)
        keys = max_pool(self.prompts())  # (S+1, d)
        return torch.softmax(query @ keys.T / self.temperature, dim=-1)

    def prompts(self) -> Tensor:
        """Source prompts and target prompt, ``(S+1, r, d)``."""
        return torch.cat([self.sources, self.target.unsqueeze(0)])

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Prompt of each input, ``P(x) = P_t + sum_j a_j P_j``, as ``(B, r, d)``."""
        if inputs is None:
            raise ValueError("the prompt depends on the input: pass its embeddings")
        weights = self.attention(inputs, mask)
        if not torch.is_grad_enabled():  # Training is not counted, as it may be resumed anywhere.
            self.attention_sum += weights.sum(dim=0)
            self.attention_rows += len(weights)
        return self.target + torch.einsum("bj,jrd->brd", weights, self.prompts())

    def diagnostics(self) -> dict[str, Any]:
        """Mean attention per prompt over the inputs evaluated since the last call."""
        if not self.attention_rows:
            return {}
        *means, target = (self.attention_sum / self.attention_rows).tolist()
        self.attention_sum.zero_()
        self.attention_rows = 0
        sources = dict(zip(self.source_names, means, strict=True))
        return {"attention": {"sources": sources, "target": target}}


def max_pool(vectors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Maximum ``(B, d)`` over the tokens of ``(B, L, d)``; zeros for a row without tokens."""
    if mask is None:
        return vectors.max(dim=1).values
    tokens = mask.bool().unsqueeze(-1)
    highest = vectors.masked_fill(~tokens, -torch.inf).max(dim=1).values
    return highest.masked_fill(~tokens.any(dim=1), 0.0)
