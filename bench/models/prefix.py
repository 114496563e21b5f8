"""Shared prefix: a causal model reads a prompt once, and all rows continue from its cache.

Keys and values of a prompt do not depend on what follows it. One pass over the prompt, with
gradients, serves a batch: ``r + B L`` positions instead of ``B (r + L)`` (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
"""Configuration fields with the attention window of a layer."""


class _Entry(NamedTuple):
    prompts: Tensor
    roots: list[Tensor]  # States as computed.
    leaves: list[Tensor]  # States as used: detached roots if gradients are recorded, or the roots.


class SharedPrefixes:
    """Caches of prompts, computed with a transformers model; within :meth:`kept`, once each."""

    def __init__(self, model: Any, empty_cache: Callable[[], Any], options: dict[str, Any]) -> None:
        self._model, self._empty_cache, self._options = model, empty_cache, options
        self._entries: list[_Entry] | None = None
        self._random = is_random(model)
        config = model.config.get_text_config(decoder=True)
        sizes = (getattr(config, name, None) for name in WINDOWS)
        self._windows = [size for size in sizes if isinstance(size, int)]

    def obstacle(self, length: int) -> str:
        """Reason why rows of ``length`` tokens cannot share a prompt; empty if they can."""
        if self._random and self._model.training:
            return "its dropout is active in training"
        # Padding between prompt and input would count towards the window.
        if any(length >= size for size in self._windows):
            return f"a layer sees a window of {min(self._windows)} tokens"
        return ""

    def rows(self, prompts: Tensor, count: int, prompt_index: Tensor | None) -> tuple[Tensor, Any]:
        """Last hidden states ``(count, r, d)`` and cache of ``count`` rows with a prompt each.

        ``prompts`` is ``(1, r, d)``, or ``(K, r, d)`` with a ``prompt_index`` ``(count,)``.
        """
        states = self._states(prompts)
        if prompt_index is None:
            states = [state.expand(count, *state.shape[1:]) for state in states]
        else:
            states = [select_rows(state, prompt_index) for state in states]
        cache = self._empty_cache()
        for layer, (keys, values) in enumerate(zip(states[1::2], states[2::2], strict=True)):
            cache.update(keys, values, layer)
        return states[0], cache

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Context that computes a prompt once, and propagates its summed gradient at the end."""
        if self._entries is not None:  # Nested contexts belong to the outermost one.
            yield
            return
        self._entries = []
        try:
            yield
            roots, gradients = list[Tensor](), list[Tensor]()
            for entry in self._entries:
                for root, leaf in zip(entry.roots, entry.leaves, strict=True):
                    if leaf.grad is not None:
                        roots.append(root)
                        gradients.append(leaf.grad)
            if roots:
                torch.autograd.backward(roots, gradients)
        finally:
            self._entries = None

    def _states(self, prompts: Tensor) -> list[Tensor]:
        if self._entries is None:
            return self._compute(prompts)
        recorded = torch.is_grad_enabled() and prompts.requires_grad
        for entry in self._entries:
            usable = entry.leaves[0].requires_grad or not recorded
            if usable and torch.equal(entry.prompts, prompts):
                return entry.leaves
        roots = leaves = self._compute(prompts)
        if recorded:
            leaves = [root.detach().requires_grad_() for root in roots]
        else:  # Keeps the last one only, as each row of a split may have another.
            self._entries = [entry for entry in self._entries if entry.leaves[0].requires_grad]
        self._entries.append(_Entry(prompts.detach().clone(), roots, leaves))
        return leaves

    def _compute(self, prompts: Tensor) -> list[Tensor]:
        """Last hidden states ``(K, r, d)``, then keys and values of each layer, ``(K, ...)``."""
        cache = self._empty_cache()
        options = {"past_key_values": cache, "use_cache": True, "output_hidden_states": True}
        output = self._model(inputs_embeds=prompts, **self._options, **options)
        states = [output.hidden_states[-1]]
        for layer in cache.layers:
            states += [layer.keys, layer.values]
        return states


def is_random(model: nn.Module) -> bool:
    """Whether a pass in training mode is random, by dropout or noise in routers."""
    return any(
        isinstance(rate, float) and rate > 0
        for module in model.modules()
        for name, rate in vars(module).items()
        if any(part in name for part in ("drop", "jitter", "noise"))
        or (name == "p" and isinstance(module, nn.Dropout))
    )


def select_rows(states: Tensor, index: Tensor) -> Tensor:
    """``states[index]``, ``(B, ...)`` of states ``(K, ...)`` and index ``(B,)``, as a product.

    The gradient of an index is summed in no fixed order.
    """
    one_hot = F.one_hot(index, len(states)).to(states.dtype)  # (B, K)
    rows: Tensor = torch.tensordot(one_hot, states, dims=1)
    return rows
