"""The prompt store: whole prompts or none, and the same bytes for the same tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.errors import PromptError
from bench.runs.prompts import Form, PromptCard, PromptStore

DIGEST, OTHER = "a" * 64, "b" * 64


def card(form: Form = "prompt", digest: str = DIGEST, **changes: Any) -> PromptCard:
    values: dict[str, Any] = {
        "training": {"task": "cb", "seed": 42},
        "initial_digest": "c" * 64,
        "trainable_parameters": 6,
        "rows": {"train": 4, "validation": 10, "few_shot": [3, 1]},
        "result": {"steps": 2, "best_score": 50.0},
        "timing": {"training_seconds": 1.5},
    }
    return PromptCard(digest, form, **{**values, **changes})


def matrix() -> Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path / "prompts")


def test_round_trip(store: PromptStore) -> None:
    assert not store.has(DIGEST)
    store.save(card(), {"prompt": matrix()})
    assert store.has(DIGEST)
    loaded = store.load(DIGEST)
    assert torch.equal(loaded.matrix, matrix())
    assert loaded.card == card(sha256=loaded.card.sha256)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        f"{DIGEST}.json",
        f"{DIGEST}.safetensors",
    ]


def test_modules_and_shared_prompts_have_no_matrix(store: PromptStore) -> None:
    tensors = {"down.weight": matrix(), "flag": torch.tensor(True)}
    store.save(card("module"), tensors)
    loaded = store.load(DIGEST)
    assert loaded.tensors.keys() == tensors.keys()
    assert all(torch.equal(loaded.tensors[name], tensors[name]) for name in tensors)
    with pytest.raises(PromptError, match="is a module, no matrix"):
        _ = loaded.matrix


def test_equal_tensors_give_equal_bytes(store: PromptStore) -> None:
    tensors = {"one": matrix(), "two": matrix() + 1, "three": matrix().to(torch.float64)}
    store.save(card(), tensors)
    parameters = {name: torch.nn.Parameter(tensors[name]) for name in reversed(tensors)}
    store.save(card(digest=OTHER, timing={"training_seconds": 9.0}), dict(parameters))
    first, second = (store.folder / f"{name}.safetensors" for name in (DIGEST, OTHER))
    assert first.read_bytes() == second.read_bytes()


def test_views_are_stored_as_they_look(store: PromptStore) -> None:
    wide = torch.arange(12.0).reshape(3, 4)
    store.save(card(), {"prompt": wide.T[1:3]})
    assert torch.equal(store.load(DIGEST).matrix, wide.T[1:3])


@pytest.mark.parametrize("position", [8, -1])
def test_a_flipped_bit_is_found(position: int, store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    path = store.folder / f"{DIGEST}.safetensors"
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(PromptError, match=f"prompt {path}: damaged"):
        store.load(DIGEST)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"digest": "a"}', "\udcff"])
def test_a_damaged_card_is_named(text: str, store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    path = store.folder / f"{DIGEST}.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PromptError, match=f"prompt {path}: cannot be read") as caught:
        store.load(DIGEST)
    assert "\n" not in str(caught.value)


def test_a_truncated_card_is_named(store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    path = store.folder / f"{DIGEST}.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(PromptError, match=f"prompt {path}: cannot be read"):
        store.load(DIGEST)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_missing_part_is_named(suffix: str, store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    (store.folder / f"{DIGEST}.{suffix}").unlink()
    assert store.has(DIGEST) == (suffix == "safetensors")
    with pytest.raises(PromptError, match=f"{DIGEST}.json: cannot be read"):
        store.load(DIGEST)


def test_saving_replaces_and_removing_forgets(store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    store.save(card(), {"prompt": matrix() + 1})
    assert torch.equal(store.load(DIGEST).matrix, matrix() + 1)
    store.remove(DIGEST)
    store.remove(DIGEST)
    assert not store.has(DIGEST)
    assert list(store.folder.iterdir()) == []


def test_a_card_is_plain_json(store: PromptStore) -> None:
    store.save(card(), {"prompt": matrix()})
    values = json.loads((store.folder / f"{DIGEST}.json").read_text())
    assert values["training"] == {"task": "cb", "seed": 42}
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.save(card(result={"best_score": float("nan")}), {"prompt": matrix()})
