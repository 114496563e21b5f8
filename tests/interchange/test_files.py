"""Files of others: which hold a prompt, and why the others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench.errors import PromptError
from bench.interchange.importing import read_prompt
from bench.interchange.tensors import read_tensors
from bench.models.base import FrozenLM
from bench.models.loading import load

LENGTH, WIDTH = 6, 32

SHARED = {
    "dept/cola": {
        "lora_embedding_A": (256, 15),
        "lora_embedding_B": (15, 768),
        "prompt_embeddings": (80, 768),
    },
    "dept/sst2": {
        "lora_embedding_A": (256, 30),
        "lora_embedding_B": (30, 768),
        "prompt_embeddings": (60, 768),
    },
    "dept/wic": {"prompt_embeddings": (60, 768)},
    "dept/nq": {"prompt_embeddings": (60, 768)},
    "dept/hotpotqa": {"prompt_embeddings": (60, 768)},
    "attempt/record": {"prompt_embeddings": (100, 768)},
    "attempt/record_width1024": {"prompt_embeddings": (100, 1024)},
}
"""Prompts that others trained and published: tensors with their shapes, from their README."""


@pytest.fixture(scope="module")
def wide(make_model: Callable[..., Path]) -> dict[int, FrozenLM]:
    """Models of the widths of T5-base and of T5-large, by width."""
    return {width: load(str(make_model(width))) for width in (768, 1024)}


# Published prompts


@pytest.mark.parametrize("name", SHARED)
def test_published_prompt_fits_models_of_its_width_alone(
    name: str, shared: Path, wide: dict[int, FrozenLM]
) -> None:
    path = shared / "prompts" / f"{name}.safetensors"
    tensors = read_tensors(path)
    assert {key: tuple(value.shape) for key, value in tensors.items()} == SHARED[name]
    rows, width = SHARED[name]["prompt_embeddings"]
    other = 768 + 1024 - width

    prompt = read_prompt(path, wide[width])

    assert prompt.tensor == "prompt_embeddings"
    assert torch.equal(prompt.matrix, tensors["prompt_embeddings"])
    pair = "the file also holds lora_embedding_A {}x{}, lora_embedding_B {}x{}; left out"
    shapes = [size for key, shape in SHARED[name].items() if "lora" in key for size in shape]
    assert prompt.notes == ((pair.format(*shapes),) if shapes else ())
    fault = f"'prompt_embeddings' is {rows}x{width}, but the model's width is {other}"
    with pytest.raises(PromptError, match=fault):
        read_prompt(path, wide[other])


def test_every_published_prompt_is_known(shared: Path) -> None:
    manifest = json.loads((shared / "prompts" / "manifest.json").read_text(encoding="utf-8"))

    assert {name.removesuffix(".safetensors") for name in manifest} == set(SHARED)


@pytest.mark.parametrize("name", ["dept/cola", "dept/sst2"])
def test_low_rank_pair_is_no_prompt(
    name: str, shared: Path, wide: dict[int, FrozenLM], tmp_path: Path
) -> None:
    tensors = read_tensors(shared / "prompts" / f"{name}.safetensors")
    path = tmp_path / "pair.safetensors"
    pair = {key: value for key, value in tensors.items() if key.startswith("lora")}
    safetensors.torch.save_file(pair, path)

    with pytest.raises(PromptError, match="holds only a low-rank pair"):
        read_prompt(path, wide[768])
    with pytest.raises(PromptError, match="no prompt is named 'lora_embedding_B'"):
        read_prompt(shared / "prompts" / f"{name}.safetensors", wide[768], "lora_embedding_B")


# Which tensor


@pytest.mark.parametrize(
    ("shapes", "wanted", "chosen"),
    [
        ({"a": (LENGTH, WIDTH), "b": (LENGTH, 9)}, None, "a"),
        ({"a": (LENGTH, WIDTH), "prompt_embeddings": (4, WIDTH)}, None, "prompt_embeddings"),
        ({"a": (LENGTH, WIDTH), "b": (4, WIDTH)}, "b", "b"),
        ({"a": (LENGTH, WIDTH), "prompt_embeddings": (4, WIDTH)}, "a", "a"),
    ],
)
def test_choice_of_the_tensor(
    shapes: dict[str, tuple[int, ...]],
    wanted: str | None,
    chosen: str,
    frozen: FrozenLM,
    tmp_path: Path,
) -> None:
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    safetensors.torch.save_file(tensors, tmp_path / "p.safetensors")

    prompt = read_prompt(tmp_path / "p.safetensors", frozen, wanted)

    assert prompt.tensor == chosen
    assert torch.equal(prompt.matrix, tensors[chosen])


@pytest.mark.parametrize(
    ("tensors", "wanted", "fault"),
    [
        ({"a": torch.ones(4, WIDTH), "b": torch.ones(5, WIDTH)}, None, "2 matrices .* by --tensor"),
        ({"a": torch.ones(4, 9), "b": torch.ones(5)}, None, r"no matrix .* \(a 4x9, b 5\)"),
        ({"a": torch.ones(4, WIDTH)}, "b", "no prompt is named 'b'; it has a 4x32"),
        ({"a": torch.ones(4, 9)}, None, "'a' is 4x9, but the model's width is 32"),
        ({"a": torch.ones(WIDTH)}, None, "'a' is 32 of float32: expected tokens x width"),
        ({"a": torch.ones(2, 4, WIDTH)}, None, "'a' is 2x4x32 of float32: expected"),
        ({"a": torch.ones(0, WIDTH)}, None, "'a' is 0x32"),
        ({"a": torch.ones(4, WIDTH).long()}, None, "of int64: expected .* of a float type"),
        ({"a": torch.ones(())}, None, "'a' is a single number"),
        ({"a": torch.full((4, WIDTH), torch.nan)}, None, "holds NaN or infinite values"),
        ({"a": torch.full((4, WIDTH), torch.inf)}, None, "holds NaN or infinite values"),
        ({"a": torch.full((4, WIDTH), 1e300, dtype=torch.float64)}, None, "NaN or infinite"),
        ({}, None, "there is no tensor in it"),
    ],
)
def test_what_is_no_prompt_for_the_model_is_refused(
    tensors: dict[str, torch.Tensor],
    wanted: str | None,
    fault: str,
    frozen: FrozenLM,
    tmp_path: Path,
) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "p.safetensors")

    with pytest.raises(PromptError, match=fault):
        read_prompt(tmp_path / "p.safetensors", frozen, wanted)


def test_missing_file_and_unknown_kind_are_refused(frozen: FrozenLM, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="No such file"):
        read_prompt(tmp_path / "none.safetensors", frozen)
    with pytest.raises(PromptError, match=r"ends with \.safetensors, \.pt, \.pth, \.bin"):
        read_prompt(tmp_path / "prompt.npz", frozen)


def test_large_file_is_not_read(
    frozen: FrozenLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.truncate((1 << 28) + 1)  # Sparse: takes no space on disk.

    with pytest.raises(PromptError, match="more than 268,435,456 bytes"):
        read_prompt(path, frozen)


# PEFT adapters


@pytest.mark.parametrize(
    ("rows", "changes", "fault"),
    [
        (LENGTH, {"peft_type": "LORA"}, "its peft_type is 'LORA'; only PROMPT_TUNING"),
        (LENGTH, {"peft_type": "MULTITASK_PROMPT_TUNING"}, "only PROMPT_TUNING"),
        (LENGTH, {"task_type": "CAUSAL_LM"}, "is for 'CAUSAL_LM', but the model is enc"),
        (LENGTH, {"num_virtual_tokens": 0}, "num_virtual_tokens of at least 1"),
        (LENGTH, {"num_virtual_tokens": True}, "num_virtual_tokens of at least 1"),
        (LENGTH, {"num_transformer_submodules": 3}, "num_transformer_submodules 1 or 2"),
        (LENGTH, {"num_transformer_submodules": 2}, "6 rows, .* 6 virtual tokens x 2"),
        (LENGTH, {"num_transformer_submodules": None}, "6 rows, .* 6 virtual tokens x 2"),
        (2 * LENGTH, {}, "12 rows, .* 6 virtual tokens x 1 submodules"),
    ],
)
def test_other_adapters_are_refused(
    rows: int,
    changes: dict[str, Any],
    fault: str,
    frozen: FrozenLM,
    write_adapter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = write_adapter(tmp_path / "adapter", rows, **changes)

    with pytest.raises(PromptError, match=fault):
        read_prompt(folder, frozen)


def test_doubled_prompt_is_cut_to_the_half_that_peft_uses(
    frozen: FrozenLM, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter", 2 * LENGTH, num_transformer_submodules=2)
    stored = safetensors.torch.load_file(folder / "adapter_model.safetensors")

    prompt = read_prompt(folder, frozen)

    assert torch.equal(prompt.matrix, stored["prompt_embeddings"][:LENGTH])
    assert prompt.notes == ("the second of two allocated prompts, which PEFT never uses, left out",)


def test_adapter_saved_as_pytorch_file_is_read(
    frozen: FrozenLM, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(PromptError, match=r"neither adapter_model.safetensors nor adapter_model"):
        read_prompt(folder, frozen)
    torch.save(tensors, folder / "adapter_model.bin")

    assert torch.equal(read_prompt(folder, frozen).matrix, tensors["prompt_embeddings"])


@pytest.mark.parametrize("text", ["", "[]", "{", '"PROMPT_TUNING"', "[" * 100_000, "\xff"])
def test_broken_configuration_is_refused(
    text: str, frozen: FrozenLM, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(text, encoding="latin-1")

    with pytest.raises(PromptError, match=r"adapter_config.json: (no valid|expected a) JSON"):
        read_prompt(folder, frozen)


def test_folder_without_adapter_is_refused(frozen: FrozenLM, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"adapter_config.json: No such file"):
        read_prompt(tmp_path, frozen)
