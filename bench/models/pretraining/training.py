"""The pretraining loop, and the files it leaves."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from bench.models.pretraining.batches import PretrainingBatch, batches
from bench.models.pretraining.recipe import Recipe
from bench.protocol import IGNORED_LABEL

Report = Callable[[int, float, nn.Module], None]
"""Told the step, the mean loss since the last report, and the model."""


def pretrain(recipe: Recipe, tokenizer: Any, report: Report, every: int = 500) -> nn.Module:
    """Train the model of a recipe from random weights; returns the average of its last weights.

    The average of weights does what a rate that decays to zero would do, but at any time: the first
    ``n`` steps of a run are a run of ``n`` steps.

    Args:
        recipe: all settings.
        tokenizer: of ``tiny``.
        report: called after every ``every`` steps and after the last.
        every: steps between reports.
    """
    model = initial_model(recipe)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    optimiser = _optimiser(model, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: rate(done, recipe))
    total, since = 0.0, 0
    for step, batch in enumerate(islice(batches(recipe, tokenizer), recipe.steps), start=1):
        loss = batch_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        _follow(average, model, min(recipe.average_decay, step / (step + 9)))
        total += loss.item()
        if step % every == 0 or step == recipe.steps:
            report(step, total / (step - since), average)
            total, since = 0.0, step
    return average


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an exponential moving average of weights one step on."""
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def initial_model(recipe: Recipe) -> nn.Module:
    """The model with random weights of the recipe's seed, in training mode.

    Some heads start from a structure that training finds late: the same random weights make the
    queries and the keys, so that a word scores high where it stands again (mimetic initialisation,
    Trockman and Kolter 2023), except where it is looked from; two more start at the neighbours.
    docs/tiny-model.md says what that was worth.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model: Any = T5ForConditionalGeneration(T5Config(**recipe.architecture))
        for block in model.encoder.block:
            _start_matching(block.layer[0].SelfAttention, recipe)
    bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
    with torch.no_grad():
        # Buckets of a bidirectional table: 0 the place itself, 1 the one before; after: upper half.
        copies, before, after = (
            range(recipe.match_heads),
            recipe.match_heads,
            recipe.match_heads + 1,
        )
        bias.weight[0, list(copies)] += recipe.self_bias
        bias.weight[1, before] += recipe.neighbour_bias
        bias.weight[bias.num_embeddings // 2 + 1, after] += recipe.neighbour_bias
    return model.train()  # type: ignore[no-any-return]


@torch.no_grad()
def _start_matching(attention: Any, recipe: Recipe) -> None:
    """Give the first heads of a self-attention the same weights for queries and keys."""
    width = recipe.match_heads * recipe.architecture["d_kv"]
    attention.q.weight[:width].normal_(std=recipe.match_std)
    attention.k.weight[:width] = attention.q.weight[:width]


def rate(done: int, recipe: Recipe) -> float:
    """Share of the peak learning rates after ``done`` steps.

    Linear up, then constant, then the inverse square root of the step, as in T5's pretraining.
    """
    return min(1.0, (done + 1) / recipe.warmup_steps, math.sqrt(recipe.hold_steps / max(1, done)))


def batch_loss(model: Any, batch: PretrainingBatch) -> Tensor:
    """Cross-entropy with each target's tokens weighted by ``1 / sqrt(its length)``.

    Unweighted, the few long targets (gaps, sentences) would drown the many of one word. Scores over
    the vocabulary, most of the work of so small a model, are computed where targets are, not for
    padding.
    """
    counted = batch.labels != IGNORED_LABEL
    weights = counted / counted.sum(dim=1, keepdim=True).sqrt()
    encoded = model.encoder(input_ids=batch.input_ids, attention_mask=batch.mask).last_hidden_state
    decoded = model.decoder(
        input_ids=model.prepare_decoder_input_ids_from_labels(batch.labels),
        encoder_hidden_states=encoded,
        encoder_attention_mask=batch.mask,
        use_cache=False,
    ).last_hidden_state
    # T5 scales what it compares with tied embeddings.
    logits = model.lm_head(decoded[counted] * model.config.d_model**-0.5)
    losses = nn.functional.cross_entropy(logits, batch.labels[counted], reduction="none")
    return (losses * weights[counted]).sum() / weights.sum()


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    embeddings = model.get_input_embeddings().weight  # type: ignore[operator]
    others = [parameter for parameter in model.parameters() if parameter is not embeddings]
    return torch.optim.AdamW(
        [
            {"params": [embeddings], "lr": recipe.embedding_rate},
            {"params": others, "lr": recipe.learning_rate},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.0,
        fused=True,
    )


def save(model: nn.Module, recipe: Recipe, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` (each shared tensor once), byte for byte.

    Written beside and then renamed, so that a reader never finds half a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    files = {
        "config.json": (json.dumps(recipe.architecture, indent=2) + "\n").encode(),
        "model.safetensors": safetensors.torch.save(tensors, metadata={"format": "pt"}),
    }
    for name, data in files.items():
        beside = folder / f"{name}.part"
        beside.write_bytes(data)
        beside.replace(folder / name)
