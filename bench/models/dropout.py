"""CPU dropout that stores one byte per element for the backward pass (docs/cost.md).

In float32, masks equal those of PyTorch; in bfloat16, an element takes 16 random bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "bench_frozen"  # Name of the attention function in transformers.


class ByteMaskDropout(nn.Dropout):
    """``nn.Dropout`` with equal results in float32."""

    def forward(self, input: Tensor) -> Tensor:
        active = self.training and self.p > 0
        return _dropped(input, _draw(input, self.p), self.p) if active else input


def use_byte_mask_dropout(model: Any) -> None:
    """Replace the dropout of a model, including dropout in T5's attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, ByteMaskDropout(child.p).train(child.training))
    if model.config.is_encoder_decoder and model.get_correct_attn_implementation(None) == "sdpa":
        AttentionInterface.register(ATTENTION, _attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> Any:
    """Attention with dropout and a frozen position bias, as in T5; other calls go to ``sdpa``."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rate, bias, scaling = map(options.get, ("dropout", "position_bias", "scaling"))
    causal = mask is None and query.shape[2] > 1 and getattr(module, "is_causal", True)
    if not rate or bias is None or bias.requires_grad or causal:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    if mask is not None:
        bias = bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    # The softmax output is stored for the backward pass anyway.
    weights = torch.matmul(query, key.transpose(-1, -2)).add_(bias).softmax(dim=-1)
    output: Tensor = _DroppedProduct.apply(weights, value, rate)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2).contiguous(), None


class _DroppedProduct(torch.autograd.Function):
    """``dropout(weights) @ value``: weights ``(B, heads, N, M)``, value ``(B, heads, M, d)``."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, value: Tensor, rate: float) -> Tensor:
        mask = _draw(weights, rate)
        ctx.save_for_backward(weights, value, mask)
        ctx.rate = rate
        return torch.matmul(_dropped(weights, mask, rate), value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, value, mask = ctx.saved_tensors
        of_value = torch.matmul(_dropped(weights, mask, ctx.rate).transpose(-1, -2), gradient)
        of_weights = torch.matmul(gradient, value.transpose(-1, -2))
        return _dropped(of_weights, mask, ctx.rate), of_value, None


def _draw(values: Tensor, rate: float) -> Tensor:
    """Mask of kept elements, each kept with probability ``1 - rate``."""
    if values.dtype != torch.bfloat16:
        return torch.empty_like(values, dtype=torch.bool).bernoulli_(1 - rate)
    # Four elements per draw of 64 bits; the probability is exact to within 2^-17.
    least = torch.iinfo(torch.int64).min
    bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(least, None)
    levels = bits.view(torch.int16)[: values.numel()].view(values.shape)
    return levels >= round(rate * 2**16) - 2**15


def _dropped(values: Tensor, mask: Tensor, rate: float) -> Tensor:
    """Values that are zero outside the mask and scaled by ``1 / (1 - rate)`` inside."""
    factor = float(torch.ones((), dtype=values.dtype).div_(1 - rate))
    # As bytes, as booleans convert eight times as slowly. Autograd stores nothing else.
    return (values * mask.view(torch.uint8)).mul_(factor)
