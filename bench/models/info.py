"""What is said of a model before it is loaded; free of torch, so that listings are quick."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Architecture = Literal["encoder-decoder", "decoder-only"]
Precision = Literal["float32", "bf16"]
"""In what the frozen weights are stored and used; what is trained is float32 in any case."""


@dataclass(frozen=True)
class ModelInfo:
    """What records and captions say of a model.

    Attributes:
        name: bundled name, hub id (``id`` or ``id@revision``), or folder; a folder so that
            :func:`is_folder_name` holds.
        digest: of configuration, weights and tokenizer, or the hub commit.
        architecture: which adapter runs it.
        bundled: whether it comes with the package (and is too small to be compared with papers).
        note: what a reader must know, such as what it was pretrained on, or the tokenizer if it is
            not the model's own.
    """

    name: str
    digest: str
    architecture: Architecture
    bundled: bool
    note: str


def folder_name(folder: str) -> str:
    """A folder as the user named it, so that it cannot be taken for a hub id."""
    return folder if is_folder_name(folder) else f"./{folder}"


def is_folder_name(name: str) -> bool:
    """Whether this can only be a path: no hub id begins so."""
    return name.startswith((".", "/", "~"))


def digest_of(parts: Sequence[tuple[str, bytes]]) -> str:
    """SHA-256 over named byte strings, independent of their order."""
    total = hashlib.sha256()
    for name, data in sorted(parts):
        total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return total.hexdigest()
