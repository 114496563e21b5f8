"""Read the tensors of a file that somebody else wrote, without trusting it.

``.safetensors`` hold nothing but tensors. A PyTorch file is a pickle, which could run any code when
it is read: it is opened by PyTorch's restricted unpickler (``weights_only``), which makes tensors
and plain containers and refuses all else.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.errors import PromptError, one_line

LARGEST_FILE = 1 << 28
"""Bytes; a soft prompt takes a few million, so a larger file is something else."""

BARE = "tensor"
"""Name of a tensor that stands alone in its file."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, by name.

    Args:
        path: ``.safetensors``, or ``.pt``, ``.pth`` or ``.bin`` as PyTorch saves them.

    Raises:
        PromptError: the file cannot be read, is damaged, or holds other things than tensors.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PromptError(
            f"prompt file {path}: expected a name that ends with {', '.join(READERS)}"
        )
    data = read_bytes(path)
    tensors = reader(data, path)
    if not tensors:
        raise PromptError(f"prompt file {path}: there is no tensor in it")
    for name, tensor in tensors.items():
        _require_plain(tensor, f"prompt file {path}: tensor {name!r}", len(data))
    return tensors


def read_bytes(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """The content of a file of at most ``limit`` bytes.

    Raises:
        PromptError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise PromptError(f"prompt file {path}: {error.strerror}; check the path") from error
    if len(data) > limit:
        raise PromptError(f"prompt file {path}: more than {limit:,} bytes, too many for a prompt")
    return data


def _read_safetensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # What a damaged header leads to is left open by the library.
        reason = one_line(error)[:100]
        raise PromptError(
            f"prompt file {path}: no valid safetensors file ({reason}); fetch it anew"
        ) from error


def _read_pytorch(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        _require_uncompressed(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged or hostile pickle may raise anything.
        raise PromptError(
            f"prompt file {path}: damaged, or holds more than tensors, which is never unpickled; "
            "save the prompt as .safetensors"
        ) from error
    named = content if isinstance(content, Mapping) else {BARE: content}
    return {str(k): v for k, v in named.items() if type(v) in (Tensor, nn.Parameter)}


def _require_uncompressed(data: bytes) -> None:
    """Refuse an archive that unpacks to more than itself; PyTorch stores, it does not compress.

    Raises:
        ValueError: it does.
        zipfile.BadZipFile: the archive is damaged.
    """
    file = io.BytesIO(data)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(data):
                raise ValueError("unpacks to more than its size")


def _require_plain(tensor: Tensor, place: str, file_size: int) -> None:
    """Refuse what only looks like a matrix: without values, or with more than the file holds."""
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_nested
    if not dense or tensor.device.type != "cpu":
        raise PromptError(f"{place} is no dense tensor of numbers; save it as .safetensors")
    if tensor.numel() * tensor.element_size() > file_size:
        raise PromptError(f"{place} claims more values than the file holds")


READERS: Mapping[str, Callable[[bytes, Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_pytorch,
    ".pth": _read_pytorch,
    ".bin": _read_pytorch,
}
