"""Prompts that were trained elsewhere, brought into the prompt store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import PromptError
from bench.interchange.adapters import PROMPT, read_adapter
from bench.interchange.tensors import read_bytes, read_tensors
from bench.models.base import FrozenLM
from bench.models.info import ModelInfo, is_folder_name
from bench.protocol import tensor_digest
from bench.runs.prompts import MERGED, PromptCard, PromptStore, StoredPrompt
from bench.tasks import get_task

SHOWN = 6
"""So many tensors of a file are named in a message."""


@dataclass(frozen=True)
class ForeignPrompt:
    """A prompt as read from a file of another tool.

    Attributes:
        matrix: ``(r, d)`` float32.
        tensor: its name in the file.
        file: where it was.
        sha256: of that file.
        base_model: what it was trained on, as the file states; None if it does not.
        notes: what a user of it must know.
    """

    matrix: Tensor
    tensor: str
    file: Path
    sha256: str
    base_model: str | None = None
    notes: tuple[str, ...] = ()


def read_prompt(path: Path, model: FrozenLM, tensor: str | None = None) -> ForeignPrompt:
    """Read a prompt for a model from a PEFT adapter folder or a file of tensors.

    Args:
        path: the folder, or a file that :func:`~bench.interchange.tensors.read_tensors` reads.
        model: the frozen language model it is to be used with.
        tensor: which one; None: ``prompt_embeddings``, or else the only matrix of the model's
            width.

    Raises:
        PromptError: there is no such prompt, or it does not fit the model.
    """
    adapter = read_adapter(path, model.architecture) if path.is_dir() else None
    file = path if adapter is None else adapter.weights
    tensors = read_tensors(file)
    name = _choose(tensors, tensor, model.width, file)
    place = f"prompt file {file}: tensor {name!r}"
    _require_fit(tensors[name], model.width, place)
    matrix = tensors[name].detach().to(torch.float32)
    others = {other: tensor for other, tensor in tensors.items() if other != name}
    notes = [f"the file also holds {_listed(others)}; left out"] if others else []
    if tensors[name].dtype != torch.float32:
        notes.append(f"converted from {str(tensors[name].dtype).removeprefix('torch.')}")
    if adapter is not None:
        matrix = adapter.used_rows(matrix)
        if adapter.copies == 2:
            notes.append("the second of two allocated prompts, which PEFT never uses, left out")
    if not matrix.isfinite().all():
        raise PromptError(f"{place} holds NaN or infinite values; it cannot be used")
    base_model = None if adapter is None else adapter.base_model
    sha256 = hashlib.sha256(read_bytes(file)).hexdigest()
    return ForeignPrompt(matrix.clone(), name, file, sha256, base_model, tuple(notes))


def import_prompt(
    store: PromptStore,
    prompt: ForeignPrompt,
    task: str,
    model: ModelInfo,
    initial: Tensor | None = None,
) -> StoredPrompt:
    """Put a prompt into the store; the same prompt again gets the same digest.

    Args:
        store: where to.
        prompt: the prompt.
        task: the task it was trained on.
        model: the frozen language model it belongs to.
        initial: ``(r, d)``, the ``P_init`` it was trained from; None if unknown: then no method
            that works with differences to it can use the prompt.

    Raises:
        PromptError: ``initial`` has another shape.
        UnknownNameError: there is no such task.
        OutputError: the store cannot be written.
    """
    if initial is not None and initial.shape != prompt.matrix.shape:
        raise PromptError(
            f"the initial prompt has shape {tuple(initial.shape)}, the prompt "
            f"{tuple(prompt.matrix.shape)}: give the one it was trained from"
        )
    origin = {
        "task": get_task(task).name,
        "model": model.digest,
        "prompt": tensor_digest(prompt.matrix),
        "initial": None if initial is None else tensor_digest(initial),
    }
    text = json.dumps({"imported": origin}, sort_keys=True)
    card = PromptCard(
        digest=hashlib.sha256(text.encode()).hexdigest(),
        form="prompt",
        training={
            "task": origin["task"],
            "model": model.digest,
            "model_name": model.name,
            "prompt_length": prompt.matrix.shape[0],
            "file": str(prompt.file),
            "file_sha256": prompt.sha256,
            "tensor": prompt.tensor,
            "base_model": prompt.base_model,
            "notes": [*prompt.notes, *_base_model_notes(prompt.base_model, model)],
        },
        initial_digest=origin["initial"],
        trainable_parameters=prompt.matrix.numel(),
        rows={},
        result={},
        timing={"imported": datetime.now(timezone.utc).isoformat(timespec="seconds")},
        imported=True,
    )
    store.save(card, {MERGED: prompt.matrix})
    return store.load(card.digest)


def _base_model_notes(stated: str | None, model: ModelInfo) -> list[str]:
    """What to tell if a prompt says that it belongs to another model than it is imported for.

    This is no error, as one model has many names: a hub id, and the folder of each copy.
    """
    if stated is None or _same_model(stated, model):
        return []
    shown = stated if stated.isprintable() else ascii(stated)
    return [
        f"the adapter says that it was trained on {shown:.200}, but was imported for {model.name}; "
        "if these are not the same weights, the prompt is of no use"
    ]


def _same_model(stated: str, model: ModelInfo) -> bool:
    if model.bundled:
        return stated == model.name
    if is_folder_name(model.name):
        return Path(stated).expanduser().resolve() == Path(model.name).expanduser().resolve()
    return stated.partition("@")[0] == model.name.partition("@")[0]


def _choose(tensors: dict[str, Tensor], wanted: str | None, width: int, file: Path) -> str:
    """Name of the tensor that is the prompt; half of a low-rank pair is none."""
    shapes = _listed(tensors)
    whole = {name: tensor for name, tensor in tensors.items() if "lora" not in name.lower()}
    if not whole:
        raise PromptError(f"prompt file {file}: holds only a low-rank pair ({shapes}), no prompt")
    if wanted is not None:
        if wanted not in whole:
            raise PromptError(f"prompt file {file}: no prompt is named {wanted!r}; it has {shapes}")
        return wanted
    if PROMPT in whole:
        return PROMPT
    fitting = [name for name, t in whole.items() if t.dim() == 2 and t.shape[1] == width]
    if len(fitting) == 1:
        return fitting[0]
    if len(whole) == 1:
        return next(iter(whole))  # What is wrong with it is said by the checks of the prompt.
    found = f"{len(fitting)} matrices" if fitting else "no matrix"
    raise PromptError(
        f"prompt file {file}: {found} of the model's width {width} ({shapes}); "
        "name the prompt by --tensor"
    )


def _require_fit(tensor: Tensor, width: int, place: str) -> None:
    if tensor.dim() != 2 or not tensor.numel() or not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise PromptError(
            f"{place} is {_shape(tensor)} of {kind}: expected tokens x width of a float type"
        )
    if tensor.shape[1] != width:
        raise PromptError(
            f"{place} is {_shape(tensor)}, but the model's width is {width}: it belongs to another "
            "model"
        )


def _listed(tensors: Mapping[str, Tensor]) -> str:
    """The first names with their shapes, on one line whatever the file calls them."""
    names = sorted(tensors)
    shown = [f"{n if n.isprintable() else ascii(n):.60} {_shape(tensors[n])}" for n in names]
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*shown[:SHOWN], *more])


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
