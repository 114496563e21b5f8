"""Finding and describing models: what is refused, and what a digest depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from bench.errors import ModelError
from bench.models.catalog import BUNDLED
from bench.models.loading import architecture_of, describe, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A T5 of a few thousand weights with the tokenizer of ``tiny``."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    config = T5Config(
        vocab_size=len(words),
        d_model=8,
        d_kv=4,
        d_ff=8,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    place = tmp_path / "model"
    T5ForConditionalGeneration(config).save_pretrained(place)
    words.save_pretrained(place)
    return place


def test_bundled_weights_are_the_same_in_every_process() -> None:
    first, second = load("tiny"), load("tiny")
    torch.manual_seed(1)
    third = load("tiny")
    for one, two, three in zip(
        first.model.parameters(),
        second.model.parameters(),
        third.model.parameters(),
        strict=True,
    ):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
        assert not one.requires_grad


def test_loading_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load("tiny")
    assert torch.equal(torch.rand(3), expected)


def test_the_digest_follows_what_decides_the_answers(folder: Path) -> None:
    before = describe(str(folder)).digest
    (folder / "README.md").write_text("anything")
    assert describe(str(folder)).digest == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dropout_rate": 0.5}))
    changed = describe(str(folder)).digest
    assert changed != before
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert describe(str(folder)).digest != changed


def test_another_tokenizer_counts_and_is_named(folder: Path) -> None:
    own = describe(str(folder))
    other = describe(str(folder), str(BUNDLED["tiny"].path))
    assert other.digest != own.digest
    assert str(BUNDLED["tiny"].path) in other.note


@pytest.mark.parametrize("tokenizer", ["google-t5/t5-base", "google-t5/t5-base@main"])
def test_a_hub_tokenizer_needs_its_commit(folder: Path, tokenizer: str) -> None:
    with pytest.raises(ModelError, match="with its commit"):
        describe(str(folder), tokenizer)


def test_a_bundled_model_keeps_its_tokenizer(folder: Path) -> None:
    with pytest.raises(ModelError, match="its own tokenizer"):
        describe("tiny", str(folder))


@pytest.mark.parametrize("name", ["./no-such-folder", "/no/such/folder", "a/b/c"])
def test_a_missing_folder_is_one_line(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        describe(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 64, None])
def test_damaged_files_are_one_line(folder: Path, damage: str, content: bytes | None) -> None:
    if content is None:
        (folder / damage).unlink()
    else:
        (folder / damage).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_are_never_unpickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load(str(folder))


def test_a_causal_model_comes_from_a_folder(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=len(words), num_attention_heads=2, dtype="bfloat16", **sizes)
    module = LlamaForCausalLM(config)
    module.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert architecture_of(str(tmp_path)) == describe(str(tmp_path)).architecture == "decoder-only"
    loaded = load(str(tmp_path))
    assert loaded.architecture == "decoder-only"
    for name, parameter in loaded.model.state_dict().items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, module.state_dict()[name])


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
        {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]},
        {"model_type": "vit"},
    ],
)
def test_a_model_that_writes_no_text_is_refused(config: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for use in (architecture_of, describe, load):
        with pytest.raises(ModelError, match="no language model that writes text") as caught:
            use(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_a_vocabulary_larger_than_the_embeddings_is_refused(folder: Path) -> None:
    config = T5Config(vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    with pytest.raises(ModelError, match="embeddings only 32"):
        load(str(folder))


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_a_folder_without_a_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    """For these transformers makes a tokenizer without words."""
    from transformers import GPT2Config, GPT2LMHeadModel

    if kind == "t5":
        module = T5ForConditionalGeneration(T5Config(d_model=8, d_ff=8, num_layers=1, num_heads=2))
    else:
        module = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2))
    module.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="its tokenizer cannot write") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)
    # With another tokenizer the same folder is complete.
    assert load(str(tmp_path), tokenizer=str(BUNDLED["tiny"].path)).width == 8


def test_a_tokenizer_in_plain_python_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import CTRLTokenizer

    words = tmp_path / "words"
    words.mkdir()
    (words / "vocab.json").write_text(json.dumps({"<unk>": 0, "0</w>": 1, "1</w>": 2}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    CTRLTokenizer(words / "vocab.json", words / "merges.txt").save_pretrained(words)
    with pytest.raises(ModelError, match=r"no fast tokenizer for it \(CTRLTokenizer\)") as caught:
        load(str(folder), tokenizer=str(words))
    assert "\n" not in str(caught.value)


def test_code_of_a_repository_is_neither_run_nor_asked_about(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []

    def agree(question: str) -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", agree)
    trace = tmp_path / "trace"
    (folder / "theirs.py").write_text(
        "from transformers import PretrainedConfig\n"
        f"open({str(trace)!r}, 'w').close()\n"
        "class Own(PretrainedConfig): ...\n"
    )
    own = {"AutoConfig": "theirs.Own", "AutoModelForSeq2SeqLM": "theirs.Own"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own-kind", "auto_map": own}))
    with pytest.raises(ModelError, match="configuration cannot be read") as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    assert questions == []
