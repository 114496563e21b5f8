"""Dropout on a CPU that keeps less in memory for the backward pass.

For every number that goes through dropout, PyTorch keeps the factor by which it was multiplied, and
for attention also the probabilities before and after it. With frozen weights that is most of what a
training step holds. Here one byte a number says whether it was kept; the rest is computed again.

In float32 the masks are those that PyTorch would have drawn, bit by bit. In bfloat16, where drawing
them took a fifth of a step, each number costs 16 random bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "bench_frozen"
"""Name of the attention among those of transformers."""

_ALL_BITS = torch.iinfo(torch.int64).min
_LEVELS = 2**16


class FrozenDropout(nn.Dropout):
    """``nn.Dropout`` with the same results in float32."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        return _Dropout.apply(input, self.p)  # type: ignore[no-any-return, no-untyped-call]


def use_frozen_dropout(model: Any) -> None:
    """Replace the dropout of a frozen model on a CPU, that of T5's attention included."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, FrozenDropout(child.p).train(child.training))
    if model.config.is_encoder_decoder and model.config._attn_implementation == "sdpa":
        _register()
        model.set_attn_implementation(ATTENTION)


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """T5's attention with dropout; all other is left to ``sdpa``."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    causal = attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", True)
    if dropout == 0 or position_bias is None or position_bias.requires_grad or causal:
        if position_bias is not None:
            options["position_bias"] = position_bias
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
    bias = position_bias
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        bias = bias.masked_fill(~attention_mask, torch.finfo(bias.dtype).min)
    elif attention_mask is not None:
        bias = bias + attention_mask
    scaled = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    answer: Tensor = _Attention.apply(scaled, key, value, bias, dropout)  # type: ignore[no-untyped-call]
    return answer.transpose(1, 2).contiguous(), None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, share: float) -> Tensor:
        kept = _draw(values, share)
        ctx.save_for_backward(kept)
        ctx.share = share
        return _dropped(values, kept, share)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _dropped(gradient, kept, ctx.share), None


class _Attention(torch.autograd.Function):
    """``dropout(softmax(query @ key.T + bias)) @ value``; the bias has no gradient."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, share: float
    ) -> Tensor:
        scores = torch.matmul(query, key.transpose(-1, -2)).add_(bias)  # (B, heads, N, M)
        probabilities = torch.softmax(scores, dim=-1)
        kept = _draw(probabilities, share)
        ctx.save_for_backward(query, key, value, probabilities, kept)
        ctx.share = share
        return torch.matmul(_dropped(probabilities, kept, share), value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, probabilities, kept = ctx.saved_tensors
        dropped = _dropped(probabilities, kept, ctx.share)
        of_value = torch.matmul(dropped.transpose(-1, -2), gradient)
        of_dropped = torch.matmul(gradient, value.transpose(-1, -2))
        of_probabilities = _dropped(of_dropped, kept, ctx.share)
        del dropped, of_dropped
        of_scores = torch.ops.aten._softmax_backward_data(
            of_probabilities, probabilities, -1, probabilities.dtype
        )
        of_query = torch.matmul(of_scores, key)
        return of_query, torch.matmul(of_scores.transpose(-1, -2), query), of_value, None, None


def _draw(values: Tensor, share: float) -> Tensor:
    """Which numbers are kept, each with probability ``1 - share``."""
    if values.dtype != torch.bfloat16:
        return torch.empty_like(values, dtype=torch.bool).bernoulli_(1 - share)
    # Four numbers from one draw of 64 bits; the probability is right to within 2^-17.
    bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(_ALL_BITS, None)
    levels = bits.view(torch.int16)[: values.numel()].view(values.shape)
    return levels >= round(share * _LEVELS) - _LEVELS // 2


def _dropped(values: Tensor, kept: Tensor, share: float) -> Tensor:
    """Zero where a number is not kept, else what restores the mean."""
    factor = float(torch.ones((), dtype=values.dtype).div_(1 - share))
    # As bytes, since booleans are converted eight times as slowly.
    return (values * kept.view(torch.uint8)).mul_(factor)


__all__ = ["ATTENTION", "FrozenDropout", "use_frozen_dropout"]
