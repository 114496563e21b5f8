"""Finding and describing models: what is refused, and what a digest depends on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel

from bench.errors import ConfigError, ModelError
from bench.models.loading import BUNDLED, architecture_of, describe, load, usable_device
from tests.models.conftest import known, make_model


def save(module: PreTrainedModel, folder: Path, **options: Any) -> Path:
    """Save a model with the tokenizer of the bundled ones."""
    module.save_pretrained(folder, **options)
    known("tiny").tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(known("t5").model, tmp_path / "model")


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
    assert lm.architecture == info.kind == architecture_of(name)
    assert info.bundled
    assert "sample world" in info.note
    again = load(name).model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in lm.model.state_dict().items())
    assert sum(path.stat().st_size for path in BUNDLED[name].path.iterdir()) <= 12e6
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert not lm.model.training


READ = (
    *("config.json", "model.safetensors", "generation_config.json", "pytorch_model.bin"),
    *("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "source.spm"),
    *("special_tokens_map.json", "vocab.txt", "dict.txt", "bpe.codes", "tekken.json"),
    *("sentencepiece.bpe.model", "tokenizer.5.0.0.json", "prophetnet.tokenizer"),
    *("tokenizer.model.v3", "tiktoken.model", "model.safetensors.index.json"),
)
NOT_READ = ("README.md", ".gitattributes", "LICENSE", "optimizer.pt", "training_args.bin")


def test_the_digest_follows_every_file_that_transformers_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest_with_more_in(name: str) -> str:
        with (folder / name).open("a") as file:
            file.write(" ")
        return describe(str(folder)).digest

    digests = [describe(str(folder)).digest]
    digests += [digest_with_more_in(name) for name in READ for _ in range(2)]
    assert len(set(digests)) == 1 + 2 * len(READ)
    assert {digest_with_more_in(name) for name in NOT_READ} == {digests[-1]}
    monkeypatch.chdir(folder.parent)
    assert (describe("model").name, describe("model").digest) == ("./model", digests[-1])


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


NORM = "decoder.final_layer_norm.weight"


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (
            lambda tensors: [tensors.pop(key) for key in [*tensors] if key.startswith("decoder.")],
            "lack decoder.block.0.* and .* more",
        ),
        (lambda tensors: tensors.pop(NORM), f"lack {NORM}"),
        (lambda tensors: tensors.update(other=torch.ones(2)), "hold other"),
        (lambda tensors: tensors.update({NORM: torch.ones(5)}), f"do not fit {NORM}"),
        (lambda tensors: tensors[NORM].fill_(float("nan")), f"NaN or infinite numbers in {NORM}"),
        (lambda tensors: tensors[NORM].fill_(float("-inf")), f"NaN or infinite numbers in {NORM}"),
        # A constant of old files is left out.
        (lambda tensors: tensors.update({"h.0.attn.masked_bias": torch.ones(1)}), None),
    ],
)
def test_weights_must_be_those_of_the_whole_model(
    folder: Path, edit: Any, named: str | None
) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if named is None:
        assert load(str(folder)).parameter_count() > 0
    else:
        refused(folder, named)


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_an_untied_model_without_head_is_refused(kind: str, tmp_path: Path) -> None:
    """T5 of transformers 5 ties its head whenever there is none, whatever its file says."""
    module = known(kind).model
    tensors = {key: value for key, value in module.state_dict().items() if key != "lm_head.weight"}
    save(module, tmp_path, state_dict=tensors)
    rewrite(tmp_path / "config.json", tie_word_embeddings=False)
    refused(tmp_path, "lack lm_head.weight")


def test_a_shard_that_is_missing_is_refused(tmp_path: Path) -> None:
    load(str(save(known("t5").model, tmp_path, max_shard_size="20KB")))
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


def test_an_added_pad_token_needs_an_embedding(folder: Path) -> None:
    """Marks of images beyond the embeddings, as in Gemma 3, are no obstacle."""
    words = AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    words.save_pretrained(folder)
    load(str(folder))
    words.add_special_tokens({"pad_token": "[PAD]"})
    words.save_pretrained(folder)
    refused(folder, r"none for '\[PAD\]'.*resize_token_embeddings\(4098\)")


def test_a_vocabulary_of_sentencepiece(shared: Path, tmp_path: Path) -> None:
    """It needs packages which are named as an extra, or is damaged."""
    make_model("t5", vocab_size=32128).model.save_pretrained(tmp_path)
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
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1}
SIGHT = {**TEXT, "depth": 1, "image_size": 16, "patch_size": 8}
QWEN = {"layer_types": ["linear_attention", "full_attention"], "tie_word_embeddings": False}


@pytest.mark.parametrize(
    ("kind", "text", "sight"),
    [
        ("gemma3", {}, {}),
        ("mistral3", {"model_type": "mistral"}, {"model_type": "pixtral"}),
        ("qwen3_5", QWEN, {"out_hidden_size": 16}),
    ],
)
def test_the_text_part_of_a_multimodal_model(
    kind: str, text: dict[str, Any], sight: dict[str, Any], tmp_path: Path
) -> None:
    words = {"vocab_size": len(known("tiny").tokenizer), "pad_token_id": 0}
    parts = {"text_config": {**TEXT, **words, **text}, "vision_config": {**SIGHT, **sight}}
    torch.manual_seed(0)
    whole = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **parts))
    save(whole, tmp_path)
    assert describe(str(tmp_path)).kind == "decoder-only"
    lm = load(str(tmp_path))
    assert lm.parameter_count() < whole.num_parameters()
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected, found = again(input_ids=ids).logits, lm.model(input_ids=ids).logits
    torch.testing.assert_close(found, expected)
    assert "vision" not in str(lm.model).lower()


def test_a_causal_model_comes_from_a_folder(tmp_path: Path) -> None:
    module = make_model("llama").model.bfloat16()
    save(module, tmp_path)
    assert architecture_of(str(tmp_path)) == describe(str(tmp_path)).kind == "decoder-only"
    for name, parameter in load(str(tmp_path)).model.state_dict().items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, module.state_dict()[name].float())


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


def test_a_vocabulary_larger_than_the_embeddings_is_refused(tmp_path: Path) -> None:
    module = make_model("t5").model
    module.resize_token_embeddings(32)
    refused(save(module, tmp_path), "its tokenizer has 4096 entries, its embeddings only 32")


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_a_folder_without_a_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    """For these transformers makes a tokenizer without words."""
    known(kind).model.save_pretrained(tmp_path)
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
