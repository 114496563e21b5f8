"""Finding and describing models: what is refused, and what a digest depends on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.errors import ConfigError, ModelError
from bench.models.loading import BUNDLED, architecture_of, describe, load, usable_device

SMALL: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}


@pytest.fixture
def words() -> Any:
    return AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)


def save_t5(folder: Path, words: Any = None, **options: Any) -> Path:
    """Save a T5 of a few thousand weights, with this tokenizer."""
    config = T5Config(vocab_size=len(words or range(32128)), decoder_start_token_id=0, **SMALL)
    T5ForConditionalGeneration(config).save_pretrained(folder, **options)
    if words is not None:
        words.save_pretrained(folder)
    return folder


def save_llama(folder: Path, words: Any, **options: Any) -> LlamaForCausalLM:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=len(words), num_attention_heads=2, **sizes, **options)
    module = LlamaForCausalLM(config)
    module.save_pretrained(folder)
    words.save_pretrained(folder)
    return module


@pytest.fixture
def folder(words: Any, tmp_path: Path) -> Path:
    return save_t5(tmp_path / "model", words)


def refused(name: str | Path, match: str = "model", **options: Any) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        load(str(name), **options)
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


def test_a_file_that_cannot_be_read_is_one_line(folder: Path) -> None:
    (folder / "merges.txt").symlink_to("/proc/self/mem")
    with pytest.raises(ModelError, match=r"its folder cannot be read \(OSError: .*output error"):
        describe(str(folder))


def test_weights_are_never_unpickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    refused(folder, "its weights cannot be read")


@pytest.mark.parametrize(
    "file",
    [
        *("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "source.spm"),
        *("special_tokens_map.json", "vocab.txt", "dict.txt", "bpe.codes", "tekken.json"),
        *("sentencepiece.bpe.model", "tokenizer.5.0.0.json", "prophetnet.tokenizer"),
        *("tokenizer.model.v3", "tiktoken.model", "generation_config.json", "pytorch_model.bin"),
        "model.safetensors.index.json",
    ],
)
def test_every_file_that_transformers_reads_is_in_the_digest(folder: Path, file: str) -> None:
    before = describe(str(folder)).digest
    (folder / file).write_text("{}")
    after = describe(str(folder)).digest
    (folder / file).write_text("[]")
    assert len({before, after, describe(str(folder)).digest}) == 3


@pytest.mark.parametrize("file", [".gitattributes", "LICENSE", "optimizer.pt", "training_args.bin"])
def test_other_files_are_not_in_the_digest(folder: Path, file: str) -> None:
    before = describe(str(folder)).digest
    (folder / file).write_text("{}")
    assert describe(str(folder)).digest == before


def change(folder: Path, edit: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def rename(tensors: dict[str, Tensor]) -> None:
    for key in [*tensors]:
        tensors[f"module.{key}"] = tensors.pop(key)


def drop_decoder(tensors: dict[str, Tensor]) -> None:
    for key in [key for key in tensors if key.startswith("decoder.")]:
        del tensors[key]


NORM = "decoder.final_layer_norm.weight"


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (drop_decoder, "lack decoder.block.0"),
        (rename, "lack decoder.block.0"),
        (lambda tensors: tensors.pop(NORM), f"lack {NORM}"),
        (lambda tensors: tensors.update(other=torch.ones(2)), "hold other"),
        (lambda tensors: tensors.update({NORM: torch.ones(5)}), f"misfit {NORM}"),
        (lambda tensors: tensors[NORM].fill_(float("nan")), f"NaN or infinite numbers in {NORM}"),
        (lambda tensors: tensors[NORM].fill_(float("-inf")), f"NaN or infinite numbers in {NORM}"),
    ],
)
def test_weights_that_are_not_the_whole_model_are_refused(
    folder: Path, edit: Any, named: str
) -> None:
    change(folder, edit)
    refused(folder, named)


def test_a_constant_of_old_files_is_left_out(folder: Path) -> None:
    change(folder, lambda tensors: tensors.update({"h.0.attn.masked_bias": torch.ones(1)}))
    assert load(str(folder)).parameter_count() > 0


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_an_untied_model_without_head_is_refused(kind: str, words: Any, tmp_path: Path) -> None:
    """T5 of transformers 5 ties its head whenever there is none, whatever its file says."""
    if kind == "t5":
        save_t5(tmp_path, words)
        rewrite(tmp_path / "config.json", tie_word_embeddings=False)
    else:
        save_llama(tmp_path, words)
        change(tmp_path, lambda tensors: tensors.pop("lm_head.weight"))
    refused(tmp_path, "lack lm_head.weight")


def test_a_shard_that_is_missing_is_refused(words: Any, tmp_path: Path) -> None:
    load(str(save_t5(tmp_path, words, max_shard_size="20KB")))
    first = min(tmp_path.glob("model-*.safetensors"))
    first.unlink()
    refused(tmp_path, first.name)


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("key", ["decoder_start_token_id", "pad_token_id"])
def test_a_key_without_which_no_prompt_trains_is_named(folder: Path, key: str) -> None:
    (folder / "generation_config.json").unlink()
    rewrite(folder / "config.json", **{key: None})
    refused(folder, f"needs {key}: set it in its config.json")


def test_the_start_of_answers_comes_from_either_file(folder: Path) -> None:
    rewrite(folder / "generation_config.json", decoder_start_token_id=None)
    assert load(str(folder)).start_token == 0


def test_an_adapter_beside_a_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    for use in (load, describe):
        with pytest.raises(ModelError, match=r"adapter_config\.json"):
            use(str(folder))


def test_an_added_pad_token_needs_an_embedding(words: Any, folder: Path) -> None:
    """Marks of images beyond the embeddings, as in Gemma 3, are no obstacle."""
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    words.save_pretrained(folder)
    load(str(folder))
    words.add_special_tokens({"pad_token": "[PAD]"})
    words.save_pretrained(folder)
    refused(folder, r"none for '\[PAD\]'.*resize_token_embeddings\(4098\)")


def test_a_vocabulary_of_sentencepiece(shared: Path, tmp_path: Path) -> None:
    """It needs packages which are named as an extra, or is damaged."""
    save_t5(tmp_path)
    shutil.copyfile(shared / "tokenizers" / "t5" / "spiece.model", tmp_path / "spiece.model")
    assert load(str(tmp_path)).tokenizer("Paris")["input_ids"] == [1919, 1]
    (tmp_path / "spiece.model").write_bytes(b"{")
    refused(tmp_path, r"pip install 'dtvg-bench\[sentencepiece\]', or .* fetch spiece.model again")


def test_pickled_weights_are_read_when_asked_for_and_run_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors: dict[str, Any] = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    refused(folder, "--set bin_weights=true")
    read = load(str(folder), bin_weights=True).model.state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in tensors.items())
    torch.save({**tensors, "other": Printing()}, folder / "pytorch_model.bin")
    refused(folder, "holds more than tensors", bin_weights=True)
    assert "run" not in capsys.readouterr().out


class Printing:
    def __reduce__(self) -> Any:
        return print, ("run",)


TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "head_dim": 8}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
SIGHT = {**TEXT, "num_attention_heads": 2, "depth": 1, "image_size": 16, "patch_size": 8}
MULTIMODAL: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gemma3": (Gemma3Config, Gemma3ForConditionalGeneration, {}),
    "mistral3": (Mistral3Config, Mistral3ForConditionalGeneration, {"model_type": "mistral"}),
    "qwen3_5": (
        *(Qwen3_5Config, Qwen3_5ForConditionalGeneration),
        {"layer_types": ["linear_attention", "full_attention"], "tie_word_embeddings": False},
    ),
}


@pytest.mark.parametrize("kind", MULTIMODAL)
def test_the_text_part_of_a_multimodal_model(kind: str, words: Any, tmp_path: Path) -> None:
    configuration, model, options = MULTIMODAL[kind]
    text = {**TEXT, **HEADS, "vocab_size": len(words), "pad_token_id": 0, **options}
    sight = {**SIGHT, "model_type": "pixtral"} if kind == "mistral3" else dict(SIGHT)
    if kind == "qwen3_5":
        sight["out_hidden_size"] = 16
    torch.manual_seed(0)
    whole = model(configuration(text_config=text, vision_config=sight)).eval()
    whole.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert describe(str(tmp_path)).architecture == "decoder-only"
    lm = load(str(tmp_path))
    assert lm.parameter_count() < whole.num_parameters()
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected, found = again(input_ids=ids).logits, lm.model(input_ids=ids).logits
    torch.testing.assert_close(found, expected)
    assert "vision" not in str(lm.model).lower()


def test_a_causal_model_comes_from_a_folder(words: Any, tmp_path: Path) -> None:
    module = save_llama(tmp_path, words, dtype="bfloat16")
    assert architecture_of(str(tmp_path)) == describe(str(tmp_path)).architecture == "decoder-only"
    loaded = load(str(tmp_path))
    for name, parameter in loaded.model.state_dict().items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, module.state_dict()[name])


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("bert", ["BertForMaskedLM"], "no language model that writes text"),
        ("llama", ["LlamaForSequenceClassification"], "no language model that writes text"),
        ("vit", ["ViTModel"], "no language model that writes text"),
        ("vit", None, r"no language model that writes text \(vit\)"),
        ("mllama", ["MllamaForConditionalGeneration"], "no class for the text part of MllamaForC"),
    ],
)
def test_a_model_that_writes_no_text_is_refused(
    kind: str, classes: list[str] | None, message: str, tmp_path: Path
) -> None:
    config = {"model_type": kind, "architectures": classes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, message)


def test_a_vocabulary_larger_than_the_embeddings_is_refused(folder: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=32, **SMALL)).save_pretrained(folder)
    refused(folder, "its tokenizer has 4096 entries, its embeddings only 32")


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_a_folder_without_a_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    """For these transformers makes a tokenizer without words."""
    if kind == "t5":
        save_t5(tmp_path)
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
