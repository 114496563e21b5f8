"""Find, describe and load a frozen language model: bundled, in a local folder, or on the hub."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import ConfigError, ModelError, one_line
from bench.files import file_digest

if TYPE_CHECKING:
    from bench.models.base import FrozenLM

Architecture = Literal["encoder-decoder", "decoder-only"]
Precision = Literal["float32", "bf16"]
"""Type of the frozen weights; what is trained is float32 in any case."""

HERE = Path(__file__).parent
FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("spiece.model", "tokenizer.model"),
)
"""Files that decide what a model computes; others may change freely."""


@dataclass(frozen=True)
class ModelInfo:
    """What records and captions say of a model."""

    name: str  # Of a folder: see folder_name.
    digest: str  # Of configuration, weights and tokenizer, or of the hub commit.
    architecture: Architecture
    bundled: bool  # Too small for comparisons.
    note: str


@dataclass(frozen=True)
class BundledModel:
    """Model in the package; all of them use the tokenizer of ``tiny``."""

    path: Path
    architecture: Architecture
    note: str


_WORLD = "pretrained on the sample world"
BUNDLED = {
    "tiny": BundledModel(HERE / "tiny", "encoder-decoder", f"tiny T5 {_WORLD}"),
    "tiny-llama": BundledModel(HERE / "tiny-llama", "decoder-only", f"tiny Llama {_WORLD}"),
}


def describe(name: str) -> ModelInfo:
    """What a bundled model, folder or hub id (``id@revision``) is, without loading its weights."""
    architecture = architecture_of(name)
    if bundled := BUNDLED.get(name):
        files = {*bundled.path.iterdir(), *(HERE / "tiny").glob("*token*.json")}
        digest = _digest((path.name, path.read_bytes()) for path in files)
        return ModelInfo(name, digest, architecture, True, bundled.note)
    source, commit = _locate(name)
    if commit is not None:
        digest = _digest([("hub", source.encode()), ("commit", commit.encode())])
        return ModelInfo(name, digest, architecture, False, "")
    found = [path for pattern in FILES for path in Path(source).glob(pattern)]
    digest = _digest((path.name, bytes.fromhex(file_digest(path))) for path in found)
    return ModelInfo(folder_name(name), digest, architecture, False, "")


def architecture_of(name: str) -> Architecture:
    """Which adapter runs a model; reads no more than its configuration."""
    if name in BUNDLED:
        return BUNDLED[name].architecture
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    source, commit = _locate(name)
    if commit is None and not (Path(source) / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: the folder has no config.json; save it there by save_pretrained"
        )
    with _reading(name, "configuration"):
        config = AutoConfig.from_pretrained(source, revision=commit, trust_remote_code=False)
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    # Encoders such as BERT have a causal class too, but weights for it only if they say so.
    stated = getattr(config, "architectures", None) or [causal]
    if causal is None or causal not in stated:
        raise ModelError(
            f"model {name!r} is no language model that writes text "
            f"({', '.join(filter(None, stated)) or config.model_type}): give one as T5 or Llama"
        )
    return "decoder-only"


def load(name: str, device: str = "cpu", precision: Precision = "float32") -> FrozenLM:
    """Load a frozen model in evaluation mode; its weights are read in float32 and then rounded."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    from bench.models.decoder_only import DecoderOnlyLM
    from bench.models.encoder_decoder import EncoderDecoderLM

    logging.disable_progress_bar()
    causal = architecture_of(name) == "decoder-only"
    source, commit = _locate(name)
    # Left open, transformers asks the user whether to run code of the model.
    options: dict[str, Any] = {"revision": commit, "trust_remote_code": False}
    with _reading(name, "weights"):
        module = (AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM).from_pretrained(
            source, use_safetensors=True, dtype=torch.float32, **options
        )
    with _reading(name, "tokenizer"):
        folder = HERE / "tiny" if name in BUNDLED else source
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **options)
    _require_words(name, tokenizer, module.get_input_embeddings().num_embeddings)
    adapter = DecoderOnlyLM if causal else EncoderDecoderLM
    model = adapter(module, tokenizer, torch.device(device))
    model.store_weights_in(precision)
    return model


def usable_device(name: str) -> str:
    """Device as torch names it; for ``auto`` a GPU, or the CPU where there is none."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device: {name!r} cannot be used here "
            f"({str(error).splitlines()[0].partition('.')[0]}); choose auto, cpu or cuda"
        ) from error
    return name


def folder_name(folder: str) -> str:
    """Folder as the user named it, so that it cannot be taken for a hub id."""
    return folder if is_folder_name(folder) else f"./{folder}"


def is_folder_name(name: str) -> bool:
    """Whether this can only be a path: no hub id begins so."""
    return name.startswith((".", "/", "~"))


def _locate(name: str) -> tuple[str, str | None]:
    """Folder and None, or hub id and commit; what looks like a path must exist."""
    path = BUNDLED[name].path if name in BUNDLED else Path(name).expanduser()
    if path.is_dir():
        return str(path), None
    source, _, revision = name.partition("@")  # A revision may have slashes, as refs/pr/2.
    if is_folder_name(name) or source.count("/") > 1 or path.is_file():
        raise ModelError(
            f"no model folder at {name!r}: give a folder with config.json and safetensors weights, "
            f"a hub id such as google-t5/t5-base, or one of {', '.join(sorted(BUNDLED))}"
        )
    with _reading(name, "commit"):
        return source, _commit(source, revision or "main")


@functools.cache
def _commit(source: str, revision: str) -> str:
    """Commit of a hub revision, asked for once, so that a process describes and loads one."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import hf_hub_download

    # Fetched by revision, so that the cache knows it: as .../snapshots/<commit>/<file>.
    return Path(hf_hub_download(source, "config.json", revision=revision)).parent.name


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over named byte strings, independent of their order."""
    total = sha256()
    for name, data in sorted(parts):
        total.update(name.encode() + b"\0" + sha256(data).digest())
    return total.hexdigest()


def _require_words(name: str, tokenizer: Any, embeddings: int) -> None:
    """Refuse a tokenizer that is of no use; without its files transformers makes an empty one."""
    ids = tokenizer("0 1", add_special_tokens=False)["input_ids"]
    fault = ""
    if not tokenizer.is_fast:
        fault = f"transformers has no fast tokenizer for it ({type(tokenizer).__name__})"
    elif not ids or tokenizer.unk_token_id in ids:
        fault = "its tokenizer cannot write '0 1'; the folder seems to lack tokenizer.json"
    elif len(tokenizer) > embeddings:
        fault = f"its tokenizer has {len(tokenizer)} entries, its embeddings only {embeddings}"
    if fault:
        raise ModelError(f"model {name!r}: {fault}; save its tokenizer there by save_pretrained")


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Turn whatever a loader throws at unreadable files into one line."""
    import huggingface_hub.utils.logging as hub_logging
    from safetensors import SafetensorError

    hub_logging.set_verbosity_error()
    files = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)
    try:
        yield
    except files as error:
        raise ModelError(
            f"model {name!r}: its {part} cannot be read ({one_line(error)[:200]}); give a complete "
            f"folder, a hub id that is cached or reachable, or one of {', '.join(sorted(BUNDLED))}"
        ) from error
