"""The folders in which PEFT keeps a prompt: ``adapter_config.json`` and the tensor beside it.

``peft`` itself is not needed to read or write them. PEFT's prompt tuning of an encoder-decoder puts
the prompt before the encoder input only, as this harness does, but by default allocates it twice
(``num_transformer_submodules`` 2) and never uses the second half. In front of a decoder-only model
it puts prompt, padding and input in this order and counts positions over the padding: it gives what
this harness gives for rows without padding, one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.errors import PromptError
from bench.interchange.tensors import read_bytes
from bench.models.info import Architecture

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
OLD_WEIGHTS = "adapter_model.bin"
PROMPT = "prompt_embeddings"
"""PEFT's name of the prompt's tensor; other prompt files use it too."""

TASK_TYPES: Mapping[Architecture, str] = {
    "encoder-decoder": "SEQ_2_SEQ_LM",
    "decoder-only": "CAUSAL_LM",
}

LARGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class Adapter:
    """A prompt tuning adapter.

    Attributes:
        weights: the file with its tensor.
        tokens: prompt length.
        copies: how often the prompt is allocated, 1 or 2.
        task_type: PEFT's name of what the model is for; None if not stated.
        base_model: what it was trained on, as it states; None if it does not.
    """

    weights: Path
    tokens: int
    copies: int
    task_type: str | None
    base_model: str | None

    def used_rows(self, matrix: Tensor) -> Tensor:
        """The rows ``(r, d)`` of the stored tensor that PEFT puts in front of an input.

        Raises:
            PromptError: the tensor does not have the rows that the configuration states.
        """
        if matrix.shape[0] != self.tokens * self.copies:
            raise PromptError(
                f"adapter {self.weights.parent}: its tensor has {matrix.shape[0]} rows, but its "
                f"{CONFIG} states {self.tokens} virtual tokens x {self.copies} submodules"
            )
        return matrix[: self.tokens]


def read_adapter(folder: Path, architecture: Architecture) -> Adapter:
    """Read the configuration of an adapter and find its weights.

    Raises:
        PromptError: this is no prompt tuning adapter for such a model.
    """
    place = f"adapter {folder}"
    values = _read_config(folder / CONFIG)
    kind, task_type = values.get("peft_type"), values.get("task_type")
    if kind != "PROMPT_TUNING":
        raise PromptError(
            f"{place}: its peft_type is {kind!r:.40}; only PROMPT_TUNING holds one soft prompt in "
            "front of the input"
        )
    if task_type not in (None, TASK_TYPES[architecture]):
        raise PromptError(
            f"{place}: it is for {task_type!r:.40}, but the model is {architecture} "
            f"({TASK_TYPES[architecture]})"
        )
    tokens = values.get("num_virtual_tokens")
    copies = values.get("num_transformer_submodules")
    if copies is None:  # What PEFT assumes then.
        copies = 2 if task_type == "SEQ_2_SEQ_LM" else 1
    if type(tokens) is not int or tokens < 1 or type(copies) is not int or copies not in (1, 2):
        raise PromptError(
            f"{place}: {CONFIG} needs num_virtual_tokens of at least 1 and "
            f"num_transformer_submodules 1 or 2 (given: {tokens!r:.40} and {copies!r:.40})"
        )
    weights = [folder / name for name in (WEIGHTS, OLD_WEIGHTS) if (folder / name).is_file()]
    if not weights:
        raise PromptError(f"{place}: neither {WEIGHTS} nor {OLD_WEIGHTS} is in it")
    base_model = values.get("base_model_name_or_path")
    return Adapter(weights[0], tokens, copies, task_type, base_model and str(base_model))


def adapter_config(
    model: str | None, revision: str | None, architecture: Architecture, length: int, width: int
) -> dict[str, Any]:
    """The configuration of an adapter, for ``adapter_config.json``.

    Args:
        model: hub id or folder of the frozen model; None if ``transformers`` cannot find it.
        revision: of the model on the hub.
        architecture: of the model.
        length: ``r``.
        width: ``d``.
    """
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": TASK_TYPES[architecture],
        "base_model_name_or_path": model,
        "revision": revision,
        "inference_mode": True,
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_bytes(path, LARGEST_CONFIG))
    except (ValueError, RecursionError) as error:
        raise PromptError(f"prompt file {path}: no valid JSON; save the adapter anew") from error
    if not isinstance(values, dict):
        raise PromptError(f"prompt file {path}: expected a JSON object")
    return values
