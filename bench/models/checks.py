"""Checks of a frozen model at load, so that unsuitable models fail before any run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from bench.errors import BenchError, ModelError, one_line
from bench.method import IGNORED_LABEL, Batch

if TYPE_CHECKING:
    from bench.models.base import FrozenLM

TOLERANCE = 1e-3  # Largest difference of equal scores, relative to the largest score.


def check(model: FrozenLM) -> None:
    """Raise ModelError if a model cannot train a prompt; restores the random states.

    Token ids and their embeddings must give equal scores, alone and beside padding. Then one step
    and one answer are computed with a random prompt, as trained prompts are no token embeddings.
    Rows share a prompt only if that leaves their scores unchanged.
    """
    name, weights = type(model.model).__name__, model.model.named_parameters()
    damaged = [key for key, weight in weights if not _finite(weight.detach())]
    if damaged:
        raise ModelError(
            f"{name} has NaN or infinite numbers in {some(damaged)}: download or save it again"
        )
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        with _few_layers(model.model):
            obstacle = _obstacle(model)
        if obstacle and (obstacle := _obstacle(model)):  # Of all layers too.
            raise ModelError(f"{name} {obstacle}")
        if model.prefixes is not None and not _shares(model):
            model.prefixes = None


def some(names: list[str]) -> str:
    """First three names, and the number of others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextmanager
def _few_layers(module: Any) -> Iterator[None]:
    """Context in which each stack has one layer of each kind, to save time."""
    stacks = [
        (parent, name, layers)
        for parent in module.modules()
        for name, layers in parent.named_children()
        if isinstance(layers, nn.ModuleList)
        and not hasattr(module.config, "attention_type")  # BigBird changes its layers as it reads.
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in layers)
    ]
    for parent, name, layers in stacks:
        kinds = {tuple(map(type, layer.modules())): layer for layer in reversed(layers)}
        setattr(parent, name, nn.ModuleList(reversed(kinds.values())))
    try:
        yield
    finally:
        for parent, name, layers in stacks:
            setattr(parent, name, layers)


def _obstacle(model: FrozenLM) -> str:
    """Reason, with advice, why a model cannot train prompts; empty if it can."""
    try:
        reason = _unsuitable(model)
    except (BenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # Model code may raise anything.
        config = model.model.config
        keys = ("decoder_start_token_id", "pad_token_id") if config.is_encoder_decoder else ()
        if missing := [key for key in keys if getattr(config, key, None) is None]:
            return f"needs {' and '.join(missing)}: set it in its config.json"
        reason = f"fails in a tiny step with a prompt ({one_line(error)[:200]})"
    return f"{reason}: choose another model" if reason else ""


def _finite(weight: Tensor) -> bool:
    # The sum needs no memory, but may overflow; then all elements are checked.
    return bool(weight.sum().isfinite() or weight.isfinite().all())


def _unsuitable(model: FrozenLM) -> str:
    """Reason why a model cannot train prompts; empty if it can."""
    batch, no_prompt = _rows(model, 5), torch.empty(1, 0, model.width, device=model.device)
    alone = Batch(batch.input_ids[1:, :3], batch.mask[1:, :3], batch.labels[1:, :2])
    with model.inference():
        expected = _from_ids(model, alone)
        if not _equal(_of_last(model, no_prompt, batch), expected):
            # Pegasus, Marian and MVP scale embeddings only if they look them up themselves.
            model.scale = getattr(model.model.get_encoder(), "embed_scale", 1.0)
            if not _equal(_of_last(model, no_prompt, alone), expected):
                return "computes other scores from embeddings than from token ids"
            if not _equal(_of_last(model, no_prompt, batch), expected):
                return "attends to padding or later tokens: rows would depend on their batch"
        std = model.embed(batch.input_ids).std()
    noise = torch.randn(2, 2, model.width, generator=torch.Generator().manual_seed(0))
    prompt = (noise.to(model.device) * std).requires_grad_()  # One for each row.
    with model.training(), torch.enable_grad():
        loss = model.run(prompt, batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
    if prompt.grad is None or not prompt.grad.any() or not _finite(prompt.grad):
        return f"gives a prompt no gradient (loss {float(loss.detach()):.3g})"
    model.answer(prompt.detach(), batch, 2)
    return ""


def _shares(model: FrozenLM) -> bool:
    """Whether the scores of rows stay equal if the rows share a prompt."""
    batch = _rows(model, 9)
    prompts = model.embed(batch.input_ids[:1, :2]).expand(2, -1, -1)
    with suppress(Exception), model.inference():  # Model code may raise anything.
        return _equal(_of_last(model, prompts[:1], batch), _of_last(model, prompts, batch))
    return False


def _rows(model: FrozenLM, width: int) -> Batch:
    """Two rows, the last with three tokens and padding."""
    words = model.tokenizer("0 1 a b c", add_special_tokens=False)["input_ids"]
    ids, padding, end = (words * width)[:width], width - 3, model.encoder.end_id
    input_ids = torch.tensor([ids, ids[:3] + [model.encoder.pad_id] * padding])
    mask = torch.tensor([[1] * width, [1] * 3 + [0] * padding])
    labels = torch.tensor([[ids[1], ids[2], end], [ids[1], end, IGNORED_LABEL]])
    return Batch(input_ids, mask, labels).to(model.device)


def _from_ids(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores and states of one row without padding, from token ids by transformers."""
    if model.architecture == "encoder-decoder":
        answer = model.decoder_inputs(batch.labels)
        output = model.model(input_ids=batch.input_ids, decoder_input_ids=answer, use_cache=False)
        return output.logits, output.encoder_last_hidden_state
    # Without the last token, so that a model that attends ahead is detected.
    ids = torch.cat([batch.input_ids, batch.labels[:, :-1]], dim=1)
    output = model.model(input_ids=ids, use_cache=False, output_hidden_states=True)
    length = batch.input_ids.shape[1]
    return output.logits[:, length - 1 :], output.hidden_states[-1][:, :length]


def _of_last(model: FrozenLM, prompt: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores and states of the last row of a batch, from embeddings."""
    output = model.run(prompt, batch)
    target_mask = batch.labels[-1] != IGNORED_LABEL
    return output.logits[-1:, target_mask], output.hidden[-1:, output.hidden_mask[-1].bool()]


def _equal(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    for tensor, reference in zip(actual, expected, strict=True):
        bound = TOLERANCE * reference.float().nan_to_num(0, 0, 0).abs().max()
        if not torch.allclose(tensor.float(), reference.float(), rtol=0, atol=float(bound)):
            return False
    return True
