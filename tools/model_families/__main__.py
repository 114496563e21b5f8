"""Print which model families of transformers agree with plain transformers, as a Markdown table.

Each family is a tiny model with random weights: saved, loaded by ``bench.models.loading.load``, and
compared with transformers row by row and without padding: scores from token ids and from
embeddings, one training step with a prompt that is no token's embedding, and greedy answers.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers import logging as theirs
from transformers.models.auto import modeling_auto

from bench.data.encoding import collate
from bench.errors import BenchError, one_line
from bench.models.base import FrozenLM
from bench.models.loading import BUNDLED, load

KINDS = {
    "encoder-decoder": (
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        AutoModelForSeq2SeqLM,
    ),
    "decoder-only": (modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, AutoModelForCausalLM),
}
SIZES = """
32 hidden_size d_model n_embd dim emb_dim embed_dim model_dim hidden_dim embedding_size
48 intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim moe_intermediate_size n_inner
48 ffn_hidden_size expert_ffn_hidden_size shared_expert_intermediate_size
2 num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers num_decoder_layers
2 num_encoder_layers num_experts_per_tok top_k_experts moe_topk moe_k num_hash_layers
4 num_attention_heads num_heads n_head n_heads encoder_attention_heads decoder_attention_heads
4 num_key_value_heads num_encoder_attention_heads num_decoder_attention_heads mamba_n_heads
4 num_experts num_local_experts n_routed_experts moe_num_experts rotary_dim qk_rope_head_dim
4 qk_nope_head_dim v_head_dim index_n_heads
8 d_kv head_dim global_head_dim q_lora_rank kv_lora_rank index_head_dim hidden_size_per_layer_input
16 mamba_d_head state_size mamba_d_state
1 n_group topk_group num_nextn_predict_layers
96 max_position_embeddings sliding_window
"""
SMALL = {
    key: int(size) for size, *keys in map(str.split, SIZES.strip().splitlines()) for key in keys
}
TEXTS = ["cola sentence: The dogs sleep .", "a", "rte sentence1: She sees . sentence2: No ."]
PROMPT, MOST = [17, 205, 40], 6


def small_config(kind: str, words: Any) -> Any:
    """Configuration with tiny sizes, wherever a family has them; text part included."""
    config = AutoConfig.for_model(kind)
    parts = [config, config.get_text_config(), config.get_text_config(decoder=True)]
    parts += [getattr(config, name) for name in config.sub_configs]
    for part in filter(None, parts):
        known, layers = part.to_dict(), getattr(part, "num_hidden_layers", None)
        for key, value in known.items():  # One entry a layer; first those of other kinds.
            if isinstance(value, list) and len(value) == layers:
                kinds = sorted(range(layers), key=lambda at: value.index(value[at]) != at)
                setattr(part, key, [value[at] for at in sorted(kinds[:2])])
        for key, value in SMALL.items():
            if isinstance(known.get(key), int):
                setattr(part, key, value)
        for key in ("vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input"):
            if key in known:
                setattr(part, key, len(words))
        for key, value in {"eos": words.eos_token_id, "pad": 0, "bos": 2}.items():
            setattr(part, f"{key}_token_id", value)
        if config.is_encoder_decoder:
            part.decoder_start_token_id = 2
        for key in ("dropout", "forced_eos_token_id", "forced_bos_token_id"):
            if isinstance(known.get(key), float | int):
                setattr(part, key, 0.0 if key == "dropout" else None)
    return config


def ids_of(plain: Any, read: list[int], written: list[int]) -> dict[str, torch.Tensor]:
    """One row as transformers takes it."""
    if plain.config.is_encoder_decoder:
        return {"input_ids": torch.tensor([read]), "labels": torch.tensor([written])}
    return {"input_ids": torch.tensor([read + written])}


def agrees(lm: FrozenLM, plain: Any) -> str:
    """Empty, or what differs from transformers."""
    rows = lm.encoder.encode(TEXTS, ["1", "a b", "no"], 64, 16)
    examples = [dict(zip(rows, pair, strict=True)) for pair in zip(*rows.values(), strict=True)]
    batch = collate(examples, lm.encoder.pad_id)
    with lm.inference():
        ours = lm.run(lm.embed(torch.tensor([PROMPT])), batch)
        answers = lm.answer(lm.embed(torch.tensor([PROMPT])), batch, MOST)
    for at, row in enumerate(examples):
        read, written = [*PROMPT, *row["input_ids"]], row["labels"]
        first = 0 if plain.config.is_encoder_decoder else len(read) - 1
        with torch.no_grad():
            scores = plain(**ids_of(plain, read, written)).logits[0, first : first + len(written)]
        if (scores - ours.logits[at, : len(written)]).abs().max() > 1e-3 * scores.abs().max():
            return "other scores than from token ids"
        made = plain.generate(
            torch.tensor([read]), max_new_tokens=MOST, do_sample=False, num_beams=1
        )[0]
        if not plain.config.is_encoder_decoder:
            made = made[len(read) :]
        if lm.decode(made.unsqueeze(0)) != [answers[at]]:
            return "other answers"
    return ""


def verdict(kind: str, loader: Any, words: Any, folder: Path) -> str:
    """``agrees``, or why a family does not."""
    try:
        config = small_config(kind, words)
        with torch.device("meta"):
            size = sum(p.numel() for p in loader.from_config(config).parameters())
        if size > 2e7:
            return f"not tried: no tiny model ({size / 1e6:.0f} million weights)"
        torch.manual_seed(0)
        module = loader.from_config(config).eval()
        for parameter in module.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        module.save_pretrained(folder)
        words.save_pretrained(folder)
        plain = loader.from_pretrained(folder)
        with torch.no_grad():
            plain(**ids_of(plain, PROMPT, PROMPT))
    except Exception as error:  # Of any family's own code.
        return f"not tried: {one_line(error)[:150]}"
    try:
        lm = load(str(folder))
    except BenchError as error:
        # Behind the name of the model and its class.
        return "refused: " + re.sub(r"^model '.*?':? (\w+For\w+ |\w+Model )?", "", str(error))
    except Exception as error:  # Of any family's own code.
        return f"FAILS: {one_line(error)[:150]}"
    try:
        return agrees(lm, plain) or "agrees"
    except Exception as error:  # Of any family's own code.
        return f"FAILS: {one_line(error)[:150]}"


def main() -> None:
    """Try all families, or those named on the command line."""
    warnings.simplefilter("ignore")
    theirs.set_verbosity_error()
    logging.disable()
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    print("| kind | result | model types |\n|---|---|---|")
    for kind, (names, loader) in KINDS.items():
        found = defaultdict[str, list[str]](list)
        for name in sys.argv[1:] or names:
            if name in names:
                with tempfile.TemporaryDirectory() as folder:
                    result = verdict(name, loader, words, Path(folder))
                found[re.sub(r" \(.*|: choose another.*", "", result)].append(name)
                print(kind, name, result, file=sys.stderr, flush=True)
        for result, members in found.items():
            if not result.startswith("not tried"):
                print(f"| {kind} | {result} | {', '.join(members)} |")


if __name__ == "__main__":
    main()
