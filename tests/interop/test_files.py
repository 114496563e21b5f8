"""Prompt files of others: which are read, what is said of them, and why others are refused."""

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
from torch import nn

from bench.errors import ConfigError, PromptError, UnknownNameError
from bench.interop import import_prompt, read_given
from bench.method import tensor_digest
from bench.models.loading import describe, load
from bench.record import ModelBlock, read_records
from bench.store import ResultStore

TASK, LENGTH, WIDTH = "rte", 6, 128

Save = Callable[..., Path]

PUBLISHED = {
    "dept/cola": (80, 768, "lora_embedding_A 256x15 float32, lora_embedding_B 15x768 float32"),
    "dept/sst2": (60, 768, "lora_embedding_A 256x30 float32, lora_embedding_B 30x768 float32"),
    "dept/wic": (60, 768, ""),
    "dept/nq": (60, 768, ""),
    "dept/hotpotqa": (60, 768, ""),
    "attempt/record": (100, 768, ""),
    "attempt/record_width1024": (100, 1024, ""),
}
"""Shapes of prompts that others trained, with what lies beside them, from their README."""


@pytest.fixture(scope="module")
def info() -> ModelBlock:
    return describe("tiny")


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "out")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes tensors into a file; the suffix decides the format."""

    def save(content: Any, name: str = "prompt.safetensors", **options: Any) -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path, **options)
        return path

    return save


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_prompts(name: str, shared: Path, info: ModelBlock, store: ResultStore) -> None:
    path = shared / "prompts" / f"{name}.safetensors"
    length, width, beside = PUBLISHED[name]
    stored = read_given(path, info, TASK)
    expected = safetensors.torch.load_file(path)["prompt_embeddings"]
    assert stored.matrix.shape == (length, width)
    assert torch.equal(stored.matrix, expected)
    assert stored.record.rows.notes == [f"the file also holds {beside}; left out"] * bool(beside)
    with pytest.raises(PromptError, match=f"tokens x {WIDTH} .* {length}x{width} float32"):
        import_prompt(store, path, TASK, "tiny")


def test_record_of_an_import(save: Save, store: ResultStore) -> None:
    frozen = load("tiny")
    matrix = torch.randn(LENGTH, WIDTH)
    path = save({"soft": matrix, "scale": torch.ones(LENGTH)})
    start = save(frozen.initial_prompt(LENGTH, 7), "start.pt")
    unknown = import_prompt(store, path, TASK, "tiny")
    again = import_prompt(store, path, TASK, "tiny")
    by_seed = import_prompt(store, path, TASK, "tiny", seed=7)
    by_file = import_prompt(store, path, TASK, "tiny", initial=start)
    other = import_prompt(store, path, "cb", "tiny", tensor="soft")
    assert unknown.id == again.id == read_given(path, describe("tiny"), TASK).record.id
    assert by_seed.id == by_file.id
    assert len({unknown.id, by_seed.id, other.id}) == 3
    assert {record.id for record in read_records(store.prompts)[0]} == {
        unknown.id,
        by_seed.id,
        other.id,
    }
    run = unknown.run
    assert by_seed.training.initial_digest == tensor_digest(frozen.initial_prompt(LENGTH, 7))
    assert (run.task, run.method, run.label, run.preset) == (TASK, *["imported"] * 3)
    assert run.model.parameters == frozen.parameter_count()
    assert (run.data.kind, run.data.name, run.prompt_length) == ("local", str(path), LENGTH)
    assert unknown.prompt.imported
    assert store.load_prompt(unknown.id).initial_digest is None


def test_faults_of_an_import_are_one_line(save: Save, store: ResultStore) -> None:
    path = save({"a": torch.randn(LENGTH, WIDTH)})
    short = save({"a": torch.randn(LENGTH + 1, WIDTH)}, "short.safetensors")
    with pytest.raises(UnknownNameError, match="unknown task 'rt'"):
        import_prompt(store, path, "rt", "tiny")
    with pytest.raises(ConfigError, match="--initial and --seed"):
        import_prompt(store, path, TASK, "tiny", initial=path, seed=1)
    with pytest.raises(PromptError, match="has 7 tokens, the prompt 6"):
        import_prompt(store, path, TASK, "tiny", initial=short)
    with pytest.raises(PromptError, match=r"expected b, .* it holds a 6x128 float32"):
        import_prompt(store, path, TASK, "tiny", tensor="b")
    assert read_records(store.prompts) == ([], [])


def test_given_file_leaves_no_trace(save: Save, info: ModelBlock, tmp_path: Path) -> None:
    path = save({"a": torch.randn(3, 9)})  # The width is checked with the model's weights.
    stored = read_given(path, info, "sources")
    assert stored.matrix.shape == (3, 9)
    assert (stored.record.run.task, stored.record.run.model.digest) == ("sources", info.digest)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("beside", ["lora_embedding_B", "prompt_embeddings"])
def test_choice_of_the_tensor(beside: str, save: Save, info: ModelBlock) -> None:
    values = {"a": torch.randn(LENGTH, WIDTH), beside: torch.randn(4, WIDTH)}
    chosen = beside if beside == "prompt_embeddings" else "a"
    assert torch.equal(read_given(save(values), info, TASK).matrix, values[chosen])


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"a": torch.ones(4, 9), "b": torch.ones(5, 9)}, "it holds a 4x9 float32, b 5x9 float32"),
        ({"lora_embedding_A": torch.ones(4, 9)}, "no low-rank pair; it holds lora_embedding_A"),
        ({"a": torch.ones(2, 4, WIDTH)}, "a 2x4x128 float32"),
        ({"a": torch.ones(0, WIDTH)}, "a 0x128 float32"),
        ({"a": torch.ones(4, WIDTH).long()}, "a 4x128 int64"),
        ({"a": torch.ones(())}, "it holds a  float32"),
        ({"a": torch.full((4, WIDTH), torch.nan)}, "a has NaN or infinite values"),
        ({"a": torch.full((4, WIDTH), 1e300, dtype=torch.float64)}, "a has NaN or infinite"),
        ({}, "it holds no dense tensor"),
        ({f"a\n\x1b[31m{k}": torch.ones(3) for k in range(9)}, "3 more"),
    ],
)
def test_no_prompt(tensors: Any, fault: str, save: Save, info: ModelBlock) -> None:
    with pytest.raises(PromptError, match=fault) as caught:
        read_given(save(tensors), info, TASK)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("legacy", [False, True])
def test_plain_tensors_of_pytorch(suffix: str, legacy: bool, save: Save, info: ModelBlock) -> None:
    matrix = torch.randn(LENGTH, WIDTH).to(torch.bfloat16)
    for content in (matrix, nn.Parameter(matrix), {"prompt_embeddings": matrix, "step": 7}):
        path = save(content, f"prompt{suffix}", _use_new_zipfile_serialization=not legacy)
        stored = read_given(path, info, TASK)
        assert torch.equal(stored.matrix, matrix.float())
        assert stored.matrix.dtype == torch.float32
        assert not stored.matrix.requires_grad
        assert stored.record.rows.notes == ["converted from bfloat16"]


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_pickle(legacy: bool, save: Save, info: ModelBlock, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    content = {"prompt_embeddings": torch.randn(LENGTH, WIDTH), "extra": Attack(witness)}
    path = save(content, "prompt.pt", _use_new_zipfile_serialization=not legacy)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Attack(witness)))
    for file in (path, plain):
        with pytest.raises(PromptError, match=r"never unpickled .*; save the prompt as \.saf"):
            read_given(file, info, TASK)
    assert not witness.exists()
    pickle.loads(plain.read_bytes())
    assert witness.exists()  # The attack would have worked.


def test_archive_that_unpacks_to_more_than_itself_is_refused(save: Save, info: ModelBlock) -> None:
    path = save(torch.zeros(5000, WIDTH), "prompt.pt")
    assert read_given(path, info, TASK).matrix.shape == (5000, WIDTH)
    with zipfile.ZipFile(path) as stored:
        parts = {entry.filename: stored.read(entry) for entry in stored.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    with pytest.raises(PromptError, match="unpacks to more than its size"):
        read_given(path, info, TASK)


def test_what_only_looks_like_a_prompt_is_refused(save: Save, info: ModelBlock) -> None:
    repeated, matrix = torch.zeros(1, WIDTH).expand(10**9, WIDTH), torch.ones(LENGTH, WIDTH)
    for content in (repeated, matrix.to_sparse(), matrix.to("meta"), [matrix], {"a": [1.0]}, "a"):
        with pytest.raises(PromptError, match="it holds no dense tensor"):
            read_given(save(content, "prompt.pt"), info, TASK)


def test_other_files_are_refused_unread(info: ModelBlock, tmp_path: Path) -> None:
    with (tmp_path / "weights.pt").open("wb") as file:
        file.truncate((1 << 28) + 1)  # Sparse: takes no space on disk.
    faults = {"none.safetensors": "No such file", "prompt.npz": r"or a file \.safetensors, .*\.pth"}
    (tmp_path / "prompt.npz").touch()
    faults["none"] = "No such file"
    for name, fault in (faults | {"weights.pt": "more than 268,435,456 bytes"}).items():
        with pytest.raises(PromptError, match=fault):
            read_given(tmp_path / name, info, TASK)


def save_adapter(folder: Path, rows: int, changes: dict[str, Any] | str) -> None:
    """As PEFT does, with changes of its configuration, or with another text in its place."""
    config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM"}
    config |= {"num_virtual_tokens": LENGTH, "num_transformer_submodules": 1}
    text = changes if isinstance(changes, str) else json.dumps(config | changes)
    (folder / "adapter_config.json").write_text(text)
    tensors = {"prompt_embeddings": torch.randn(rows, WIDTH)}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("rows", "changes", "fault"),
    [
        (LENGTH, {"peft_type": "LORA"}, "peft_type: Input should be 'PROMPT_TUNING'"),
        (LENGTH, {"peft_type": "MULTITASK_PROMPT_TUNING"}, "peft_type: Input should be"),
        (LENGTH, {"task_type": "CAUSAL_LM"}, "is for CAUSAL_LM, the model for SEQ_2_SEQ_LM"),
        (LENGTH, {"num_virtual_tokens": 0}, "num_virtual_tokens: Input should be greater than 0"),
        (LENGTH, {"num_virtual_tokens": True}, "num_virtual_tokens: "),
        (LENGTH, {"num_transformer_submodules": 3}, "num_transformer_submodules: Input should"),
        (LENGTH, {"num_transformer_submodules": None}, "has 6 rows, its .* states 12"),
        (2 * LENGTH, {}, "has 12 rows, its adapter_config.json states 6"),
        *((LENGTH, text, "is not of PEFT prompt tuning: JSON") for text in ("", "{", "[" * 10**5)),
        (LENGTH, "[]", "is not of PEFT prompt tuning: JSON"),
    ],
)
def test_other_adapters_are_refused(
    rows: int, changes: dict[str, Any] | str, fault: str, info: ModelBlock, tmp_path: Path
) -> None:
    save_adapter(tmp_path, rows, changes)
    with pytest.raises(PromptError, match=fault):
        read_given(tmp_path, info, TASK)


def test_adapter_saved_as_pytorch_file_is_read(info: ModelBlock, tmp_path: Path) -> None:
    save_adapter(tmp_path, LENGTH, {"base_model_name_or_path": "google-t5/t5-small@main"})
    weights = tmp_path / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(weights)
    torch.save(tensors, weights.with_suffix(".bin"))
    weights.unlink()
    stored = read_given(tmp_path, info, TASK)
    assert torch.equal(stored.matrix, tensors["prompt_embeddings"])
    assert stored.record.rows.notes == ["trained on google-t5/t5-small@main, but used with tiny"]


TENSOR = '{"a": {"dtype": "%s", "shape": %s, "data_offsets": %s}}'


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (TENSOR % ("F32", [2**63, 2**63], [0, 64]), None),
        (TENSOR % ("F32", [2, -8], [0, 64]), None),
        (TENSOR % ("F32", [2, 8], [64, 0]), None),
        (TENSOR % ("F32", [2, 8], [0, 2**40]), None),
        (TENSOR % ("F4", [2, 64], [0, 64]), None),
        (TENSOR % (r"\n\u001b", [], []), None),
        ("[[[]]]", None),
        ("{}", 2**64 - 1),
    ],
)
def test_hostile_header(header: str, length: int | None, info: ModelBlock, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(struct.pack("<Q", length or len(header)) + header.encode() + b"\0" * 64)
    with pytest.raises(PromptError, match="damaged, or holds more") as caught:
        read_given(path, info, TASK)
    assert str(caught.value).isprintable()
