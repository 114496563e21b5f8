"""Find, describe and load a frozen language model: bundled, in a local folder, or on the hub."""

from __future__ import annotations

import functools
import os
import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, ModelError, one_line
from bench.files import file_digest, home_path, read_yaml
from bench.models import gguf
from bench.record import Architecture, ModelBlock, Precision

if TYPE_CHECKING:
    from bench.models.base import FrozenLM


HERE = Path(__file__).parent
IDLE_FILES = re.compile(
    r"\..*|LICENSE.*|NOTICE.*|.*\.(md|py|png|jpg|pdf|log|pt|pth|h5|ot|msgpack|onnx|gguf)"
    r"|(?!pytorch_model).*\.bin",
    re.IGNORECASE,
)
"""Names of files that no model here reads; all other files, such as the many kinds of vocabulary
files, are part of a model's digest."""


@dataclass(frozen=True)
class BundledModel:
    """Model in the package; all bundled models use the tokenizer of ``tiny``."""

    path: Path
    architecture: Architecture
    note: str


_WORLD = "pretrained on the sample world"
BUNDLED = {
    "tiny": BundledModel(HERE / "tiny", "encoder-decoder", f"tiny T5 {_WORLD}"),
    "tiny-llama": BundledModel(HERE / "tiny-llama", "decoder-only", f"tiny Llama {_WORLD}"),
}

KNOWN: dict[str, tuple[Architecture, int, int]] = read_yaml(HERE / "known.yaml")
"""Architecture, number of parameters and width of well-known models on the hub."""

UNCHECKED = "not checked against the hub"  # Note of a known model that was not looked up.


def describe(name: str, offline: bool = False) -> ModelBlock:
    """Describe a bundled model, folder or hub id (``id@revision``) without loading weights.

    ``parameters`` is 0. With ``offline``, a well-known model may be unavailable; its digest is then
    one of its name.
    """
    kind = architecture_of(name)
    block = functools.partial(ModelBlock, kind=kind, bundled=False, parameters=0, note="")
    if file := gguf.find_file(name):
        folder = gguf.folder_of(name, file)
        with _reading(name, "copy"):
            note = f"GGUF file {file.name}, {(folder / gguf.QUANTISATION_FILE).read_text()}"
        name = name if name in gguf.PACKAGES else folder_name(name)
        return block(name=name, digest=folder.name, note=note)
    if bundled := BUNDLED.get(name):
        files = {*bundled.path.iterdir(), *(HERE / "tiny").glob("*token*.json")}
        digest = _digest((path.name, path.read_bytes()) for path in files)
        return block(name=name, digest=digest, bundled=True, note=bundled.note)
    try:
        source, commit = _locate(name)
    except ModelError:
        if not offline or name not in KNOWN:
            raise
        return block(name=name, digest=_digest([("hub", name.encode())]), note=UNCHECKED)
    if commit is not None:
        parts = [("hub", source.encode()), ("commit", commit.encode())]
        return block(name=name, digest=_digest(parts))
    with _reading(name, "folder"):
        paths = [path for path in Path(source).iterdir() if not IDLE_FILES.fullmatch(path.name)]
        parts = [(path.name, bytes.fromhex(file_digest(path))) for path in paths if path.is_file()]
    return block(name=folder_name(name), digest=_digest(parts))


def architecture_of(name: str) -> Architecture:
    """Architecture of a model, from its configuration; ModelError if it cannot be found."""
    if name in KNOWN:
        return KNOWN[name][0]
    return "encoder-decoder" if _reader(name) == "AutoModelForSeq2SeqLM" else "decoder-only"


def _reader(name: str) -> str:
    """Transformers class that reads a model's weights; ModelError if it generates no text."""
    if name in BUNDLED:
        causal = BUNDLED[name].architecture == "decoder-only"
        return "AutoModelForCausalLM" if causal else "AutoModelForSeq2SeqLM"
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto
    from transformers.utils import find_adapter_config_file

    source, commit = _locate(name)
    with _reading(name, "configuration"):
        if find_adapter_config_file(source, revision=commit):
            raise ModelError(
                f"model {name!r}: an adapter lies beside it (adapter_config.json), which would be "
                "read with some installations only: merge it into the weights, or remove it"
            )
        config = AutoConfig.from_pretrained(source, revision=commit, trust_remote_code=False)
    if getattr(config, "is_encoder_decoder", False):
        return "AutoModelForSeq2SeqLM"
    causal_classes = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    causal = causal_classes.get(config.model_type)
    multimodal = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(config.model_type)
    # Encoders such as BERT have a causal class too, but weights for it only if they say so.
    classes = getattr(config, "architectures", None) or [causal]
    if multimodal is not None and multimodal in classes:
        if config.get_text_config().model_type in causal_classes:
            return "AutoModelForImageTextToText"
        reason = f"transformers has no class for the text part of {multimodal}"
    elif causal is not None and causal in classes:
        return "AutoModelForCausalLM"
    else:
        names = ", ".join(filter(None, classes)) or config.model_type
        reason = f"is no language model that writes text ({names})"
    raise ModelError(f"model {name!r} {reason}: give one as T5 or Llama")


def load(
    name: str, device: str = "cpu", precision: Precision = "float32", bin_weights: bool = False
) -> FrozenLM:
    """Load a frozen model in evaluation mode; its weights are read in float32 and then rounded.

    ModelError if it cannot be used.
    """
    import torch
    import transformers

    from bench.models.decoder_only import DecoderOnlyLM
    from bench.models.encoder_decoder import EncoderDecoderLM

    transformers.utils.logging.disable_progress_bar()
    reader = _reader(name)
    source, commit = _locate(name)
    # If not given, transformers asks the user whether to run code of the model.
    options: dict[str, Any] = {"revision": commit, "trust_remote_code": False}
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # On the hub.
    with _reading(name, "weights"):
        module, report = getattr(transformers, reader).from_pretrained(
            source,
            use_safetensors=None if bin_weights else True,  # None: or pytorch_model.bin.
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # Reported below by name.
            **options,
        )
    config, _ = type(module.config).get_config_dict(source, revision=commit)
    head, embedding = module.get_output_embeddings(), module.get_input_embeddings()
    untied = reader == "AutoModelForSeq2SeqLM" and config.get("tie_word_embeddings") is False
    if untied and head and head.weight is embedding.weight:
        report["missing_keys"].add("lm_head.weight")  # T5 ignores this key and ties the head.
    _require_all_weights(name, module, report)
    if reader == "AutoModelForImageTextToText":
        module = _text_part(module)
    with _reading(name, "tokenizer"):
        folder = HERE / "tiny" if name in BUNDLED else source
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, **options)
    _require_vocabulary(name, tokenizer, module.get_input_embeddings().num_embeddings)
    adapter = EncoderDecoderLM if reader == "AutoModelForSeq2SeqLM" else DecoderOnlyLM
    try:
        model = adapter(module, tokenizer, torch.device(device))
    except ModelError as error:
        raise ModelError(f"model {name!r}: {error}") from error
    model.store_weights_in(precision)
    return model


def _text_part(module: Any) -> Any:
    """Text part of a multimodal model as a causal language model of transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        text = AutoModelForCausalLM.from_config(module.config.get_text_config())
    setattr(text, text.base_model_prefix, module.get_decoder())
    text.set_output_embeddings(module.get_output_embeddings())
    return text


def _require_all_weights(name: str, module: Any, report: dict[str, Any]) -> None:
    """Raise ModelError for weights that transformers would initialise randomly or ignore."""
    from bench.models.checks import some

    for kind, verb in (("missing", "lack"), ("unexpected", "hold"), ("mismatched", "do not fit")):
        keys = report[f"{kind}_keys"]  # Mismatched keys come with both shapes.
        names = {key if isinstance(key, str) else key[0] for key in keys}
        # Old files of GPT-2 and similar models hold this constant.
        names = {key for key in names if not key.endswith(".attn.masked_bias")}
        if names:
            raise ModelError(
                f"model {name!r}: its weights {verb} {some(sorted(names))}, {kind} for "
                f"{type(module).__name__}: save the whole model by save_pretrained"
            )


def usable_device(name: str) -> str:
    """Check a torch device name; ``auto`` becomes a GPU, or the CPU if there is none."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(".")[0]
        message = f"device: {name!r} cannot be used here ({reason}); choose auto, cpu or cuda"
        raise ConfigError(message) from error
    return name


def folder_name(folder: str) -> str:
    """Folder name, with ``./`` in front if it could be read as a hub id."""
    return folder if is_folder_name(folder) else f"./{folder}"


def is_folder_name(name: str) -> bool:
    """Whether a name can only be a path, as no hub id begins with its first character."""
    return name.startswith((".", "/", "~"))


def _locate(name: str) -> tuple[str, str | None]:
    """Folder and None, or hub id and commit; ModelError for paths that do not exist."""
    path = BUNDLED[name].path if name in BUNDLED else home_path(name)
    if file := gguf.find_file(name):
        path = gguf.folder_of(name, file)
    if path.is_dir():
        return str(path), None
    source, _, revision = name.partition("@")  # A revision may have slashes, as refs/pr/2.
    if is_folder_name(name) or source.count("/") > 1 or path.is_file():
        names = ", ".join(sorted([*BUNDLED, *gguf.PACKAGES]))
        raise ModelError(
            f"no model folder at {name!r}: give a folder with config.json and safetensors weights, "
            f"a GGUF file, a hub id such as google-t5/t5-base, or one of {names}"
        )
    with _reading(name, "commit"):
        return source, _commit(source, revision or "main")


@functools.cache
def _commit(source: str, revision: str) -> str:
    """Commit of a hub revision, looked up once per process so that it cannot change."""
    from huggingface_hub import HfApi

    return str(HfApi().resolve_revision(source, revision=revision).resolved)


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over named byte strings, independent of their order."""
    total = sha256()
    for name, data in sorted(parts):
        total.update(name.encode() + b"\0" + sha256(data).digest())
    return total.hexdigest()


def _require_vocabulary(name: str, tokenizer: Any, embeddings: int) -> None:
    """Raise ModelError for an unusable tokenizer, such as the empty one made without files."""
    ids = tokenizer("0 1", add_special_tokens=False)["input_ids"]
    if not tokenizer.is_fast or not ids or tokenizer.unk_token_id in ids:
        reason = "its tokenizer cannot write '0 1'; the folder seems to lack its vocabulary"
        if not tokenizer.is_fast:
            reason = f"transformers has no fast tokenizer for it ({type(tokenizer).__name__})"
        raise ModelError(f"model {name!r}: {reason}; save its tokenizer there by save_pretrained")
    # Special tokens such as those of images are never used, and may have no embedding.
    unused = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    unused -= {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
    for token, id in tokenizer.get_vocab().items():
        if id >= embeddings and id not in unused:
            raise ModelError(
                f"model {name!r}: its tokenizer has {len(tokenizer)} entries, its embeddings only "
                f"{embeddings}, none for {token!r}; if tokens were added, save the model again "
                f"after resize_token_embeddings({len(tokenizer)})"
            )


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Convert exceptions of loaders to a ModelError of one line."""
    import huggingface_hub.utils.logging as hub_logging
    from huggingface_hub.constants import HF_HOME

    hub_logging.set_verbosity_error()
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # The libraries' errors have no common base.
        reason, bundled = one_line(error), ", ".join(sorted(BUNDLED))
        advice = f"give a whole folder, a hub id that is cached or reachable, or one of {bundled}"
        if isinstance(error, pickle.UnpicklingError):
            reason = "its pickle holds more than tensors, which is never read"
        elif part == "weights" and "named model.safetensors" in reason:
            advice = (
                "save it as safetensors, or read its pytorch_model.bin with --set bin_weights=true "
                "(not the default, as a pickle from elsewhere can run code where torch has a fault)"
            )
        elif part == "tokenizer" and re.search("(?i)sentencepiece|tiktoken|protobuf", reason):
            advice = (
                "pip install 'dtvg-bench[sentencepiece]', or if that is installed, fetch "
                "spiece.model again, as it is damaged"
            )
        elif gguf.find_file(name):
            advice = f"remove its folder in {HF_HOME}/bench-gguf, which is made again"
        elif "gated repo" in reason.lower():
            advice = "ask for access on its page and log in by hf auth login"
        message = f"its {part} cannot be read ({reason[:200]}); {advice}"
        raise ModelError(f"model {name!r}: {message}") from error
