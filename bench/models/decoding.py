"""Greedy decoding that does no work for answers that have ended.

``generate`` of transformers computes every row of a batch until the last answer has ended. Here
the rows whose answers have ended leave the batch, and what is cached of them goes with them. All
that comes before the first token (encoder, masks, positions, cache, the model's own rules for its
scores) is left to ``generate``, so that the tokens are those it would give.
"""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import torch
from torch import Tensor

LEAVING = 4
"""Rows leave as soon as one in so many has ended: it copies what is cached of the others."""

ROW_TENSORS = frozenset(
    {"attention_mask", "decoder_attention_mask", "inputs_embeds", "position_ids", "token_type_ids"}
)
"""What ``generate`` keeps for each row, besides the cache and what the encoder gave."""

SETTINGS = frozenset({"logits_to_keep", "use_cache"})

ROW_BY_ROW = frozenset(
    {
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "NoBadWordsLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "SuppressTokensAtBeginLogitsProcessor",
        "SuppressTokensLogitsProcessor",
    }
)
"""Rules for scores that look at one row's tokens alone, whatever its place in the batch."""


def greedy_loop(model: Any) -> Any:
    """What ``generate(custom_generate=...)`` is to run for greedy answers; None: its own loop.

    A model may ask for another kind of search in its generation settings; that is left to it.
    """
    from transformers.generation import GenerationMode

    settings = copy.deepcopy(model.generation_config)
    settings.update(num_beams=1, do_sample=False)
    return greedy if settings.get_generation_mode() == GenerationMode.GREEDY_SEARCH else None


def greedy(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **state: Any,
) -> Tensor:
    """The likeliest token after the other, until every answer has ended.

    Args:
        model: of transformers.
        input_ids: ``(B, t)`` what answers begin with; ``t`` is 0 behind embedded inputs.
        logits_processor: the model's own rules for its scores.
        stopping_criteria: tells which rows have ended.
        generation_config: has the padding token.
        **state: what else the model reads, one entry per row in each: masks, cache, encoder output.

    Returns:
        ``(B, t+T)`` token ids, ``T`` the longest answer; padding behind the end of an answer.
    """
    pad = generation_config.pad_token_id
    pad = 0 if pad is None else pad  # Never read: without an end of text all rows end together.
    ids, written = input_ids, []
    rows = torch.arange(len(ids), device=ids.device)  # Those that are still in the batch.
    ended = torch.zeros_like(rows, dtype=torch.bool)
    left, first = len(rows), True
    while left:
        # As generate does: behind the first pass, only the newest token is read.
        new = 1 if state["use_cache"] and not first else None
        inputs = model.prepare_inputs_for_generation(
            ids, next_sequence_length=new, is_first_iteration=first, **state
        )
        output = model(**inputs, return_dict=True)
        state = model._update_model_kwargs_for_generation(
            output, state, is_encoder_decoder=model.config.is_encoder_decoder
        )
        scores = logits_processor(ids, output.logits[:, -1].to(ids.device, torch.float32))
        del output  # Holds the scores of every position, which may be many in the first pass.
        tokens = scores.argmax(dim=-1).masked_fill(ended, pad)  # (rows in the batch,)
        written.append(input_ids.new_full((len(input_ids),), pad).index_copy(0, rows, tokens))
        ids = torch.cat([ids, tokens.unsqueeze(1)], dim=1)
        ended |= stopping_criteria(ids, None)
        left, first = int((~ended).sum()), False
        if 0 < left <= len(rows) * (LEAVING - 1) / LEAVING and _can_leave(
            state, logits_processor, len(rows)
        ):
            kept = (~ended).nonzero().squeeze(1)
            state = _select(state, kept)
            ids, rows, ended = ids[kept], rows[kept], ended[kept]
    return torch.cat([input_ids, torch.stack(written, dim=1)], dim=1)


def _can_leave(state: dict[str, Any], processors: Any, rows: int) -> bool:
    """Whether all that a model reads is known well enough to take rows out of it."""
    if any(type(processor).__name__ not in ROW_BY_ROW for processor in processors):
        return False
    for name, value in state.items():
        if name in SETTINGS or value is None:
            continue
        if name in ROW_TENSORS:
            known = _has_rows(value, rows)
        elif name == "encoder_outputs":
            known = all(_has_rows(part, rows) for part in value.values())
        else:
            known = name == "past_key_values" and _is_dynamic(value)
        if not known:
            return False
    return True


def _has_rows(value: object, rows: int) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == rows


def _is_dynamic(cache: Any) -> bool:
    """Whether a cache is of the usual kind: keys and values of attention, one row each."""
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(cache) is EncoderDecoderCache:
        return _is_dynamic(cache.self_attention_cache) and _is_dynamic(cache.cross_attention_cache)
    kinds = (DynamicLayer, DynamicSlidingWindowLayer)
    return type(cache) is DynamicCache and all(type(layer) in kinds for layer in cache.layers)


def _select(state: dict[str, Any], kept: Tensor) -> dict[str, Any]:
    """What a model reads of the kept rows alone; the cache changes in place."""
    chosen = dict(state)
    for name, value in state.items():
        if name in ROW_TENSORS and value is not None:
            chosen[name] = value[kept]
        elif name == "encoder_outputs" and value is not None:
            chosen[name] = type(value)(**{key: part[kept] for key, part in value.items()})
        elif name == "past_key_values" and value is not None:
            value.batch_select_indices(kept)
    return chosen
