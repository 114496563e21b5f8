"""Find, describe and load a frozen language model: a bundled one, a local folder, or a hub id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import ModelError, one_line
from bench.models.base import FrozenLM
from bench.models.catalog import BUNDLED, auto_class
from bench.models.hub import COMMIT, commit_of
from bench.models.info import (
    Architecture,
    ModelInfo,
    Precision,
    digest_of,
    folder_name,
    is_folder_name,
)

T = TypeVar("T")

WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.model",
)


@dataclass(frozen=True)
class Location:
    """Where transformers shall load from: a folder, or a hub id with its revision."""

    source: str
    revision: str = "main"


def describe(name: str, tokenizer: str | None = None) -> ModelInfo:
    """Say what a model is, without loading its weights.

    Args:
        name: bundled name, folder, or hub id (``id`` or ``id@revision``).
        tokenizer: folder or hub id of another tokenizer; None: the model's own.

    Raises:
        ModelError: there is no such model, its configuration cannot be read, or the tokenizer
            is not pinned.
    """
    bundled = BUNDLED.get(name)
    if bundled is not None:
        if tokenizer is not None:
            raise ModelError(
                f"model {name!r} is bundled with its own tokenizer: leave out the other"
            )
        return ModelInfo(name, bundled.digest(), bundled.architecture, True, bundled.note)
    location = _pin(name, _locate(name))
    config = _config(name, location)
    digest = _digest(location)
    note = ""
    if tokenizer is not None:
        place = _locate(tokenizer)
        if _is_folder(place):
            other = _folder_digest(Path(place.source))
        elif COMMIT.fullmatch(place.revision):
            other = f"{place.source}@{place.revision}"
        else:
            raise ModelError(
                f"tokenizer {tokenizer!r}: give a folder, or a hub id with its commit as ID@COMMIT"
            )
        digest = digest_of([("model", digest.encode()), ("tokenizer", other.encode())])
        note = f"with the tokenizer {_clear_name(tokenizer, place)}"
    shown = _clear_name(name, location)
    return ModelInfo(shown, digest, _architecture(name, config), False, note)


def architecture_of(name: str) -> Architecture:
    """Which adapter runs a model; reads no more than its configuration.

    Args:
        name: as for :func:`describe`.

    Raises:
        ModelError: there is no such model, its configuration cannot be read, or no adapter runs it.
    """
    bundled = BUNDLED.get(name)
    if bundled is not None:
        return bundled.architecture
    return _architecture(name, _config(name, _pin(name, _locate(name))))


def load(
    name: str,
    device: str = "cpu",
    tokenizer: str | None = None,
    precision: Precision = "float32",
) -> FrozenLM:
    """Load a frozen model in evaluation mode.

    Args:
        name: as for :func:`describe`.
        device: as torch names it.
        tokenizer: as for :func:`describe`.
        precision: of the weights; they are read in float32 and then rounded.

    Raises:
        ModelError: it cannot be read, or its architecture is not supported.
    """
    import torch

    from bench.models.decoder_only import DecoderOnlyLM
    from bench.models.encoder_decoder import EncoderDecoderLM

    architecture = describe(name, tokenizer).architecture
    bundled = BUNDLED.get(name)
    if bundled is not None:
        module, words = bundled.load()
    else:
        module, words = _load_pretrained(name, _pin(name, _locate(name)), tokenizer, architecture)
    adapter = DecoderOnlyLM if architecture == "decoder-only" else EncoderDecoderLM
    model = adapter(module, words, torch.device(device))
    model.store_weights_in(precision)
    return model


def _load_pretrained(
    name: str, location: Location, tokenizer: str | None, architecture: Architecture
) -> tuple[Any, Any]:
    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    module = _reading(
        name,
        "weights",
        lambda: auto_class(architecture).from_pretrained(
            location.source,
            revision=location.revision,
            use_safetensors=True,
            trust_remote_code=False,  # Left open, transformers asks the user.
            dtype=torch.float32,
        ),
    )
    words_from = location if tokenizer is None else _locate(tokenizer)
    words = _reading(
        tokenizer or name,
        "tokenizer",
        lambda: AutoTokenizer.from_pretrained(
            words_from.source,
            revision=words_from.revision,
            use_fast=True,
            trust_remote_code=False,
        ),
    )
    _require_words(tokenizer or name, words)
    if len(words) > module.get_input_embeddings().num_embeddings:
        raise ModelError(
            f"model {name!r}: its tokenizer has {len(words)} entries, its embeddings only "
            f"{module.get_input_embeddings().num_embeddings}; give the model its own tokenizer"
        )
    return module, words


def _require_words(name: str, words: Any) -> None:
    """Refuse a tokenizer that is of no use; without its files transformers makes an empty one."""
    if not words.is_fast:
        raise ModelError(
            f"model {name!r}: transformers has no fast tokenizer for it ({type(words).__name__}); "
            "give a folder with a tokenizer.json by --tokenizer"
        )
    ids = words("0 1", add_special_tokens=False)["input_ids"]
    if not ids or words.unk_token_id in ids:
        raise ModelError(
            f"model {name!r}: its tokenizer cannot write '0 1'; the folder seems to lack "
            "tokenizer.json: save the tokenizer there with save_pretrained, or give one by "
            "--tokenizer"
        )


def _locate(name: str) -> Location:
    """Tell a folder from a hub id; anything that looks like a path must exist."""
    path = Path(name).expanduser()
    source, _, revision = name.partition("@")  # A revision may have slashes, as refs/pr/2.
    if path.is_dir():
        return Location(str(path))
    looks_like_path = is_folder_name(name) or source.count("/") > 1 or path.is_file()
    if looks_like_path:
        raise ModelError(
            f"no model folder at {name!r}: give a folder with config.json and safetensors weights, "
            f"a hub id such as google-t5/t5-base, or one of {', '.join(sorted(BUNDLED))}"
        )
    return Location(source, revision or "main")


def _pin(name: str, location: Location) -> Location:
    """The same place at the commit that a revision of the hub stands for."""
    if _is_folder(location):
        return location
    commit = _reading(name, "commit", lambda: commit_of(location.source, location.revision))
    return Location(location.source, commit)


def _clear_name(name: str, location: Location) -> str:
    """The name, which tells by itself whether it is a folder or a hub id."""
    return folder_name(name) if _is_folder(location) else name


def _is_folder(location: Location) -> bool:
    return Path(location.source).is_dir()


def _config(name: str, location: Location) -> Any:
    from transformers import AutoConfig

    if _is_folder(location) and not (Path(location.source) / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: the folder has no config.json; save the model there with "
            "save_pretrained"
        )
    return _reading(
        name,
        "configuration",
        lambda: AutoConfig.from_pretrained(
            location.source, revision=location.revision, trust_remote_code=False
        ),
    )


def _architecture(name: str, config: Any) -> Architecture:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    # Encoders such as BERT have a causal class too, but weights for it only if they say so.
    stated = getattr(config, "architectures", None) or [causal]
    if causal is None or causal not in stated:
        raise ModelError(
            f"model {name!r} is no language model that writes text "
            f"({', '.join(filter(None, stated)) or config.model_type}): give a T5-type model, or a "
            "causal one such as Llama"
        )
    return "decoder-only"


def _digest(location: Location) -> str:
    if _is_folder(location):
        return _folder_digest(Path(location.source))
    commit = location.revision
    return digest_of([("hub", location.source.encode()), ("commit", commit.encode())])


def _folder_digest(folder: Path) -> str:
    """Digest of the files that decide what a model computes; others may change freely."""
    parts = []
    for pattern in (*WEIGHT_FILES, *TEXT_FILES):
        for path in sorted(folder.glob(pattern)):
            parts.append((path.name, _file_digest(path)))
    return digest_of(parts)


def _file_digest(path: Path) -> bytes:
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            total.update(chunk)
    return total.digest()


def _reading(name: str, part: str, action: Callable[[], T]) -> T:
    """Turn whatever a loader throws at unreadable files into one line."""
    import huggingface_hub.utils.logging as hub_logging
    from huggingface_hub.errors import HfHubHTTPError
    from safetensors import SafetensorError

    expected = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)
    hub_logging.set_verbosity_error()
    try:
        return action()
    except (*expected, SafetensorError, HfHubHTTPError, json.JSONDecodeError) as error:
        reason = one_line(error)[:200]
        raise ModelError(
            f"model {name!r}: its {part} cannot be read ({reason}); give a complete local folder, "
            f"a hub id that is cached or reachable, or a bundled one ({', '.join(sorted(BUNDLED))})"
        ) from error
