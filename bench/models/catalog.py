"""The models that come with the package: small enough for a test run, never for a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bench.models.info import Architecture, digest_of


@dataclass(frozen=True)
class BundledModel:
    """A model inside the package.

    Attributes:
        folder: below ``bench/models``, with ``config.json``, tokenizer and perhaps weights.
        architecture: which adapter runs it.
        note: what every caption says of it.
        weight_seed: seed of random weights; None: the folder holds trained weights.
    """

    folder: str
    architecture: Architecture
    note: str
    weight_seed: int | None

    @property
    def path(self) -> Path:
        """The folder on disk."""
        return Path(str(resources.files("bench.models"))) / self.folder

    def digest(self) -> str:
        """Digest of all files of the model and of the seed of its weights."""
        parts = [(p.name, p.read_bytes()) for p in self.path.iterdir() if p.is_file()]
        return digest_of([*parts, ("seed", str(self.weight_seed).encode())])

    def load(self) -> tuple[Any, Any]:
        """The model and its tokenizer."""
        import torch
        from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

        words = AutoTokenizer.from_pretrained(self.path)
        if self.weight_seed is None:
            module = AutoModelForSeq2SeqLM.from_pretrained(self.path, use_safetensors=True)
            return module, words
        config = AutoConfig.from_pretrained(self.path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.weight_seed)
            module = AutoModelForSeq2SeqLM.from_config(config)
        return module, words


BUNDLED: Mapping[str, BundledModel] = {
    "tiny": BundledModel(
        folder="tiny",
        architecture="encoder-decoder",
        note="tiny T5 with seeded random weights",
        weight_seed=0,
    ),
}
