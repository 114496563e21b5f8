"""Files of others that are damaged or hostile: refused with one kind of error, and harmless."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bench.errors import PromptError
from bench.interchange.importing import read_prompt
from bench.models.base import FrozenLM

LENGTH, WIDTH = 6, 32


# PyTorch files


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("legacy", [False, True])
def test_plain_tensors_are_read(
    suffix: str, legacy: bool, frozen: FrozenLM, tmp_path: Path
) -> None:
    matrix = torch.randn(LENGTH, WIDTH)
    contents = {
        "bare": (matrix, "tensor"),
        "parameter": (nn.Parameter(matrix), "tensor"),
        "state": ({"prompt_embeddings": matrix, "step": 7}, "prompt_embeddings"),
    }
    for name, (content, tensor) in contents.items():
        path = tmp_path / f"{name}{suffix}"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)

        prompt = read_prompt(path, frozen)

        assert prompt.tensor == tensor
        assert torch.equal(prompt.matrix, matrix)
        assert not prompt.matrix.requires_grad


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_pickle_is_refused_and_does_nothing(
    legacy: bool, frozen: FrozenLM, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    content = {"prompt_embeddings": torch.randn(LENGTH, WIDTH), "extra": Attack(witness)}
    path = tmp_path / "prompt.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Attack(witness)))

    for file in (path, plain):
        with pytest.raises(PromptError, match=r"never unpickled; save the prompt as \.saf"):
            read_prompt(file, frozen)
    assert not witness.exists()
    pickle.loads(plain.read_bytes())
    assert witness.exists()  # The attack would have worked.


def test_archive_that_unpacks_to_more_than_itself_is_refused(
    frozen: FrozenLM, tmp_path: Path
) -> None:
    torch.save(torch.zeros(5000, WIDTH), tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as stored,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))

    assert read_prompt(tmp_path / "stored.pt", frozen).matrix.shape == (5000, WIDTH)
    with pytest.raises(PromptError, match="damaged, or holds more than tensors"):
        read_prompt(tmp_path / "packed.pt", frozen)


def test_hostile_names_stay_on_one_line(frozen: FrozenLM, tmp_path: Path) -> None:
    tensors = {f"a\n\x1b[31m{k}": torch.ones(3, 3) for k in range(9)}
    safetensors.torch.save_file(tensors, tmp_path / "p.safetensors")

    with pytest.raises(PromptError) as caught:
        read_prompt(tmp_path / "p.safetensors", frozen)

    assert str(caught.value).isprintable()
    assert "3 more" in str(caught.value)


def test_module_is_refused(frozen: FrozenLM, tmp_path: Path) -> None:
    torch.save(nn.Embedding(LENGTH, WIDTH), tmp_path / "module.pt")

    with pytest.raises(PromptError, match="holds more than tensors"):
        read_prompt(tmp_path / "module.pt", frozen)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (torch.zeros(1, WIDTH).expand(10**9, WIDTH), "more values than the file holds"),
        (torch.eye(WIDTH).to_sparse(), "no dense tensor"),
        (torch.ones(LENGTH, WIDTH, device="meta"), "no dense tensor"),
        ([torch.ones(LENGTH, WIDTH)], "no tensor in it"),
        ({"prompt_embeddings": [1.0]}, "no tensor in it"),
        ("text", "no tensor in it"),
    ],
    ids=["expanded", "sparse", "meta", "list", "no tensor", "text"],
)
def test_what_only_looks_like_a_prompt_is_refused(
    content: Any, fault: str, frozen: FrozenLM, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "prompt.pt")

    with pytest.raises(PromptError, match=fault):
        read_prompt(tmp_path / "prompt.pt", frozen)


# Damaged files

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def must_be_refused_or_fit(path: Path, model: FrozenLM) -> None:
    """Reading gives a finite prompt of the model's width or a one-line :class:`PromptError`."""
    message = ""
    try:
        matrix = read_prompt(path, model).matrix
    except PromptError as error:
        message = str(error)
    assert "\n" not in message
    assert message or (matrix.shape[1] == model.width and matrix.isfinite().all())


def header(values: Any, length: int | None = None, body: bytes = b"\0" * 768) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F8_E4M3", "F4", "I64", "BOOL", "X", ""])
        | JSON,
        "shape": st.lists(st.sampled_from([0, 1, 2, 6, 32, -1, 2**40, 2**63]), max_size=3) | JSON,
        "data_offsets": st.tuples(st.integers(-1, 800), st.integers(-1, 800)) | JSON,
    }
)


@FUZZ
@given(
    values=st.dictionaries(st.sampled_from(["prompt_embeddings", "b", "__metadata__"]), ENTRY)
    | JSON,
    length=st.none() | st.integers(0, 2**64 - 1),
)
def test_fuzzed_headers_give_one_kind_of_error(
    values: Any, length: int | None, frozen: FrozenLM, tmp_path: Path
) -> None:
    path = tmp_path / "fuzzed.safetensors"
    path.write_bytes(header(values, length))

    must_be_refused_or_fit(path, frozen)


@FUZZ
@given(data=st.data(), suffix=st.sampled_from([".safetensors", ".pt"]))
def test_flipped_and_missing_bytes_give_one_kind_of_error(
    data: st.DataObject, suffix: str, frozen: FrozenLM, tmp_path: Path
) -> None:
    whole = tmp_path / f"whole{suffix}"
    tensors = {"prompt_embeddings": torch.ones(2, WIDTH)}
    if suffix == ".pt":
        torch.save(tensors, whole)
    else:
        safetensors.torch.save_file(tensors, whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])

    must_be_refused_or_fit(path, frozen)


@FUZZ
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "peft_type",
                "task_type",
                "num_virtual_tokens",
                "num_transformer_submodules",
                "base_model_name_or_path",
            ]
        ),
        JSON,
    )
)
def test_fuzzed_adapter_configurations_give_one_kind_of_error(
    changes: dict[str, Any],
    frozen: FrozenLM,
    write_adapter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    must_be_refused_or_fit(write_adapter(tmp_path / "adapter", **changes), frozen)
