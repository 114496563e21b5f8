"""Finding and describing models: what is refused, and what a digest depends on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.errors import ConfigError, ModelError
from bench.models.loading import BUNDLED, architecture_of, describe, load, usable_device

SMALL: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}


@pytest.fixture
def words() -> Any:
    return AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)


@pytest.fixture
def folder(words: Any, tmp_path: Path) -> Path:
    """A T5 of a few thousand weights with the tokenizer of ``tiny``."""
    config = T5Config(vocab_size=len(words), decoder_start_token_id=0, **SMALL)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(name: str | Path, match: str = "model") -> None:
    with pytest.raises(ModelError, match=match) as caught:
        load(str(name))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_are_small_and_frozen(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    lm, info = load(name), describe(name)
    assert torch.equal(torch.rand(3), expected)
    assert lm.architecture == info.architecture == architecture_of(name)
    assert info.bundled
    assert "sample world" in info.note
    again = load(name).model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in lm.model.state_dict().items())
    assert sum(path.stat().st_size for path in BUNDLED[name].path.iterdir()) <= 12e6
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert not lm.model.training


def test_the_digest_follows_what_decides_the_answers(folder: Path, monkeypatch: Any) -> None:
    digests = [describe(str(folder)).digest]
    monkeypatch.chdir(folder.parent)
    assert (describe("model").name, describe("model").digest) == ("./model", digests[0])
    (folder / "README.md").write_text("anything")
    assert describe(str(folder)).digest == digests[0]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dropout_rate": 0.5}))
    digests.append(describe(str(folder)).digest)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    digests.append(describe(str(folder)).digest)
    assert len(set(digests)) == 3


@pytest.mark.parametrize("name", ["./no-such-folder", "/no/such/folder", "a/b/c", "a/b/c@main"])
def test_a_missing_folder_is_one_line(name: str) -> None:
    refused(name, f"no model folder at '{name}'")


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 64, None], ids=["0", "open", "null", "-"])
def test_damaged_files_are_one_line(folder: Path, damage: str, content: bytes | None) -> None:
    (folder / damage).unlink()
    if content is not None:
        (folder / damage).write_bytes(content)
    refused(folder)


def test_weights_are_never_unpickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    refused(folder, "its weights cannot be read")


def test_a_causal_model_comes_from_a_folder(words: Any, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=len(words), num_attention_heads=2, dtype="bfloat16", **sizes)
    module = LlamaForCausalLM(config)
    module.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert architecture_of(str(tmp_path)) == describe(str(tmp_path)).architecture == "decoder-only"
    loaded = load(str(tmp_path))
    for name, parameter in loaded.model.state_dict().items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, module.state_dict()[name])


@pytest.mark.parametrize(
    ("kind", "own"), [("bert", "MaskedLM"), ("llama", "SequenceClassification"), ("vit", "x")]
)
def test_a_model_that_writes_no_text_is_refused(kind: str, own: str, tmp_path: Path) -> None:
    config = {"model_type": kind, "architectures": [f"{kind.title()}For{own}"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "no language model that writes text")


def test_a_vocabulary_larger_than_the_embeddings_is_refused(folder: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=32, **SMALL)).save_pretrained(folder)
    refused(folder, "its tokenizer has 4096 entries, its embeddings only 32")


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_a_folder_without_a_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    """For these transformers makes a tokenizer without words."""
    if kind == "t5":
        T5ForConditionalGeneration(T5Config(**SMALL)).save_pretrained(tmp_path)
    else:
        GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    refused(tmp_path, "its tokenizer cannot write '0 1'")


def test_code_of_a_repository_is_not_run(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "y")
    trace = tmp_path / "trace"
    (folder / "theirs.py").write_text(
        "from transformers import PretrainedConfig\n"
        f"open({str(trace)!r}, 'w').close()\n"
        "class Own(PretrainedConfig): ...\n"
    )
    own = {"AutoConfig": "theirs.Own", "AutoModelForSeq2SeqLM": "theirs.Own"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own-kind", "auto_map": own}))
    refused(folder, "configuration cannot be read")
    assert not trace.exists()
    assert questions == []


def test_devices() -> None:
    assert usable_device("auto") in ("cpu", "cuda")
    assert usable_device("cpu") == "cpu"
    for name in ("meta", "no-such-device", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device: '{name}' cannot be used here") as caught:
            usable_device(name)
        assert "\n" not in str(caught.value)
