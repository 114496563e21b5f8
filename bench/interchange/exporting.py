"""The prompt of a finished cell as a PEFT adapter, with a model card."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
from torch import Tensor

from bench.errors import OutputError, PromptError
from bench.files import atomic_write
from bench.interchange.adapters import CONFIG, PROMPT, WEIGHTS, adapter_config
from bench.interchange.model_card import base_model, model_card
from bench.records import Record, find_record
from bench.runs.prompts import PromptStore, StoredPrompt
from bench.runs.results import ResultFolder

CARD = "README.md"


def export_peft(results: ResultFolder, cell: str, folder: Path) -> Record:
    """Write the prompt of a cell as an adapter that ``peft.PeftModel.from_pretrained`` loads.

    Args:
        results: where the cell's record and prompt are.
        cell: as for :func:`bench.records.find_record`.
        folder: gets ``adapter_config.json``, ``adapter_model.safetensors`` and ``README.md``;
            an earlier export there is replaced.

    Returns:
        The cell's record.

    Raises:
        RecordError: there is no such cell.
        PromptError: it failed, or its prompt depends on the input.
        OutputError: the folder holds other files, or cannot be written.
    """
    record = find_record(results.records, cell)
    stored = _stored(record, results.prompts)
    matrix = _matrix(record, stored)
    _require_free(folder)
    name, revision = base_model(record.cell.model)
    config = adapter_config(name, revision, record.cell.model.kind, *matrix.shape)
    tensors = safetensors.torch.save({PROMPT: matrix}, metadata={"format": "pt"})
    atomic_write(folder / WEIGHTS, tensors)
    atomic_write(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())
    atomic_write(folder / CARD, model_card(record, stored.card).encode())
    return record


def _stored(record: Record, store: PromptStore) -> StoredPrompt:
    if record.training is None:
        reason = "it failed" if record.error is None else f"it failed ({record.error.message})"
        raise PromptError(f"cell {record.digest[:12]} has no prompt: {reason}; run it again")
    return store.load(record.training.prompt)


def _matrix(record: Record, stored: StoredPrompt) -> Tensor:
    if stored.card.form != "prompt":
        raise PromptError(
            f"cell {record.digest[:12]} cannot be exported: the prompt of "
            f"{record.cell.method.label} depends on the input, while a PEFT prompt tuning adapter "
            "holds one matrix for all inputs"
        )
    return stored.matrix.float()


def _require_free(folder: Path) -> None:
    """Replace an earlier export, but never mix with other files."""
    try:
        others = {path.name for path in folder.iterdir()} - {CONFIG, WEIGHTS, CARD}
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}: {error.strerror}; choose an empty folder"
        ) from error
    if others:
        raise OutputError(
            f"cannot export to {folder}: it holds {min(others)}; choose an empty folder"
        )
