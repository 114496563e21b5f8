"""The models that come with the package: small enough for a test run, never for a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bench.models.info import Architecture, digest_of

MODELS = Path(str(resources.files("bench.models")))
"""Where the bundled models lie, one folder each."""


@dataclass(frozen=True)
class BundledModel:
    """A model inside the package.

    Attributes:
        folder: below ``bench/models``, with ``config.json``, ``model.safetensors``, and the
            tokenizer if ``words`` names no other.
        architecture: which adapter runs it.
        note: what every caption says of it.
        words: folder of the tokenizer's files, if it is that of another model.
    """

    folder: str
    architecture: Architecture
    note: str
    words: str | None = None

    @property
    def path(self) -> Path:
        """The folder on disk."""
        return MODELS / self.folder

    @property
    def words_path(self) -> Path:
        """The folder of the tokenizer."""
        return MODELS / (self.words or self.folder)

    def digest(self) -> str:
        """Digest of all files of the model."""
        files = [path for path in self.path.iterdir() if path.is_file()]
        if self.words is not None:
            files += self.words_path.glob("*token*.json")
        return digest_of([(path.name, path.read_bytes()) for path in files])

    def load(self) -> tuple[Any, Any]:
        """The model and its tokenizer."""
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        module = auto_class(self.architecture).from_pretrained(self.path, use_safetensors=True)
        return module, AutoTokenizer.from_pretrained(self.words_path)


def auto_class(architecture: Architecture) -> Any:
    """The class of transformers that loads models of an architecture."""
    import transformers

    if architecture == "decoder-only":
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForSeq2SeqLM


BUNDLED: Mapping[str, BundledModel] = {
    "tiny": BundledModel(
        folder="tiny",
        architecture="encoder-decoder",
        note="tiny T5 pretrained on the sample world",
    ),
    "tiny-llama": BundledModel(
        folder="tiny-llama",
        architecture="decoder-only",
        note="tiny Llama pretrained on the sample world",
        words="tiny",
    ),
}
