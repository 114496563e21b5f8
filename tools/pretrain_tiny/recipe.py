"""Every number of the pretraining, and the architecture that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.models.loading import Architecture
from tools.pretrain_tiny.tiny_tokenizer import SIZE


@dataclass(frozen=True)
class Fronts:
    """What stands in front of a task's published text.

    A soft prompt is no text: it has many places, and its vectors are those of no word. The nearer
    the fronts come to that, the more often prompt tuning finds what an instruction does.

    Attributes:
        filler_share: share of fronts with random words around the instruction, if any, as a prompt
            has that starts from random word embeddings.
        most_fillers: random words at most.
        named_share: share of instructions that are a name, once or several times and between the
            random words, and not written out.
        noise: standard deviation, at most, of what is added to every number of the embeddings of a
            front with random words; the embeddings' own is 1.3. For an encoder-decoder only.
    """

    filler_share: float = 0.25
    most_fillers: int = 10
    named_share: float = 0.0
    noise: float = 0.0


TASK_WEIGHTS: Mapping[str, float] = {
    **{"mnli": 4.0, "qnli": 2.0, "qqp": 2.0, "sst2": 1.0, "squad": 3.0, "record": 1.0},
    **{"rte": 1.5, "mrpc": 1.5, "stsb": 1.5, "cola": 0.7},
    **{"boolq": 1.5, "cb": 0.7, "wic": 0.7, "multirc": 0.5, "wsc.fixed": 0.3},
    **dict.fromkeys(("e2e", "common_gen", "web_nlg"), 0.3),
}
"""How often each task comes, relative to the others.

As in T5's own mixture they are GLUE, SuperGLUE and SQuAD (Raffel et al. 2020, section 3.5), and a
little generation; nq, hotpotqa, searchqa, newsqa, winogrande, yelp_polarity, scitail and paws are
met as targets only.
"""

DRILL_WEIGHTS: Mapping[str, float] = {
    **{"word": 14, "different": 12, "about": 8, "find": 17, "clauses": 17, "same": 9},
    **{"answered": 11, "claimed": 6, "felt": 6},
}
"""How often each drill comes, relative to the others."""

SENSE_TASK_WEIGHTS = {"wic": 1.0}
SENSE_DRILL_WEIGHTS = {"sense": 1.0, "senses": 4.0}
"""In the second stage: the senses of words, and nothing else. With other texts between them, which
sentence has which sense was once not learned in 5,000 steps; alone it was in 2,000."""

LAST_TASK_WEIGHTS = {**TASK_WEIGHTS, "sst2": 2.0, "squad": 4.0, "wic": 3.0}
LAST_DRILL_WEIGHTS = {
    **{"word": 4, "different": 5, "about": 3, "find": 22, "clauses": 8, "same": 5},
    **{"answered": 8, "claimed": 4, "felt": 8, "sense": 4, "senses": 10},
}
"""In the third stage: all tasks again, and most drills for what the first left hardest."""

LAST_FRONTS = Fronts(filler_share=0.5, most_fillers=20, named_share=0.5, noise=2.0)
"""In the third stage: as many words as the smoke preset's prompts have places, and as far from
words as those prompts are in the end (standard deviation 2.5)."""


def _t5() -> dict[str, Any]:
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": SIZE,
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 256,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "layer_norm_epsilon": 1e-06,
        "initializer_factor": 1.0,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "use_cache": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }


def _llama() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": SIZE,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "rms_norm_eps": 1e-06,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "use_cache": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }


@dataclass(frozen=True)
class Recipe:
    """Settings of a pretraining, or of one stage of it.

    Attributes:
        kind: architecture of the model.
        architecture: the model's ``config.json``.
        seed: of the initial weights, the texts and their order.
        match_heads: heads of every encoder layer, if there is one, that at first look for copies of
            their own word (see :mod:`tools.pretrain_tiny.students.encoder_decoder`); the next
            two look at the word before and the word after.
        match_std: standard deviation of the weights by which such a head compares words.
        neighbour_bias: what the heads for neighbours add to the score of the neighbour.
        self_bias: what the heads for copies add to the score of the very place they look from.
        task_weights: how often each task comes, relative to the others.
        drill_weights: how often each drill comes, relative to the others.
        steps: optimiser steps.
        batch_size: examples per step.
        processes: that share the rows of every batch; another number adds up in another order,
            and so gives other bits.
        chunk: batches that are drawn together and sorted by length, so that little is padding.
        short_target: targets up to so many tokens do not share batches with longer ones.
        input_length: tokens kept of an input.
        target_length: tokens kept of a target.
        learning_rate: peak rate of AdamW.
        embedding_rate: peak rate of the embeddings, whose entries are near 1 and not near 0.
        warmup_steps: steps of linear warm-up.
        hold_steps: steps until the rates begin to fall.
        average_decay: of the moving average of weights, which is what is saved.
        gradient_clip: largest norm of all gradients together.
        text_share: share of examples that are plain text: span corruption for an encoder-decoder,
            language modelling for a decoder.
        first_drill_share: share of examples that are drills at first; what is left are tasks.
        last_drill_share: share of examples that are drills in the end.
        drill_steps: steps over which the share of drills falls, in a line.
        plain_steps: steps in which judgements are written in one way only, without instructions:
            judging is learned before writing it in eight ways.
        styling_steps: steps over which instructions then come in.
        styled_share: share of tasks and judgements with an instruction in the end.
        fronts: what stands in front of tasks.
        twice_share: share of the plain texts that stand there twice, so that one can be read off
            the other: matching is learned that way first.
        noise_density: share of tokens that span corruption takes out.
        mean_span: mean number of tokens in one gap.
    """

    kind: Architecture = "encoder-decoder"
    architecture: dict[str, Any] = field(default_factory=_t5)
    seed: int = 1
    match_heads: int = 2
    match_std: float = 0.04
    neighbour_bias: float = 4.0
    self_bias: float = -6.0
    task_weights: Mapping[str, float] = field(default_factory=lambda: TASK_WEIGHTS)
    drill_weights: Mapping[str, float] = field(default_factory=lambda: DRILL_WEIGHTS)
    steps: int = 15000
    batch_size: int = 64
    processes: int = 2
    chunk: int = 32
    short_target: int = 8
    input_length: int = 96
    target_length: int = 40
    learning_rate: float = 1e-3
    embedding_rate: float = 3e-3
    warmup_steps: int = 200
    hold_steps: int = 6000
    average_decay: float = 0.998
    gradient_clip: float = 1.0
    text_share: float = 0.1
    first_drill_share: float = 0.9
    last_drill_share: float = 0.25
    drill_steps: int = 4000
    plain_steps: int = 3500
    styling_steps: int = 1500
    styled_share: float = 0.7
    fronts: Fronts = field(default_factory=Fronts)
    twice_share: float = 0.4
    noise_density: float = 0.2
    mean_span: float = 2.5


def _stages(first: Recipe) -> tuple[Recipe, ...]:
    """The first; the senses of words alone; all again, with lower rates and more of the hard."""
    late = replace(
        first,
        learning_rate=6e-4,
        embedding_rate=min(first.embedding_rate, 1.8e-3),
        hold_steps=1500,
        plain_steps=0,
        styling_steps=1,
    )
    senses = replace(
        late,
        seed=first.seed + 1,
        task_weights=SENSE_TASK_WEIGHTS,
        drill_weights=SENSE_DRILL_WEIGHTS,
        steps=2000,
        text_share=0.0,
        first_drill_share=0.5,
        last_drill_share=0.5,
    )
    last = replace(
        late,
        seed=first.seed + 2,
        task_weights=LAST_TASK_WEIGHTS,
        drill_weights=LAST_DRILL_WEIGHTS,
        steps=6000,
        first_drill_share=0.35,
        last_drill_share=0.35,
        fronts=LAST_FRONTS,
    )
    return first, senses, last


_TINY = Recipe()
# Its embeddings start small, as all its weights. A step takes it twice as long as the T5:
# the first stage alone fills the hour.
_LLAMA = Recipe(kind="decoder-only", architecture=_llama(), embedding_rate=1e-3, processes=1)

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "tiny": _stages(_TINY),
    "tiny-llama": (_LLAMA,),
}
"""Stages by name of the bundled model; each starts from the averaged weights of the one before."""
