"""Export and import of PEFT prompt-tuning adapters and prompt files.

Adapters are folders, or repositories of the Hugging Face hub: ``hf://OWNER/NAME@REVISION``.
Files are not trusted: safetensors hold only tensors, and PyTorch files are read with
``weights_only=True``. For decoder-only models PEFT puts padding between prompt and input, so
answers are equal only for rows without padding.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from torch import Tensor, nn

from bench.errors import ConfigError, OutputError, PromptError, one_line
from bench.files import atomic_write, home_path
from bench.method import tensor_digest
from bench.models.loading import describe, folder_name, is_folder_name, load
from bench.provenance import now, provenance
from bench.record import ModelBlock, Record
from bench.reports import printable
from bench.store import MERGED, ResultStore, StoredPrompt
from bench.tasks import get_task

HUB = "hf://"
CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "README.md"
OLD_WEIGHTS = "adapter_model.bin"
PROMPT = "prompt_embeddings"  # Tensor name in PEFT; other prompt files use it too.
TASK_TYPES = {"encoder-decoder": "SEQ_2_SEQ_LM", "decoder-only": "CAUSAL_LM"}
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
MAX_FILE_BYTES = 1 << 28  # Bytes; a soft prompt takes a few million.


class AdapterConfig(BaseModel):
    """Fields of ``adapter_config.json`` that are read here, with PEFT's defaults."""

    model_config = ConfigDict(strict=True, extra="ignore")

    peft_type: Literal["PROMPT_TUNING"]
    task_type: Literal["SEQ_2_SEQ_LM", "CAUSAL_LM"] | None = None
    num_virtual_tokens: PositiveInt
    num_transformer_submodules: Literal[1, 2] | None = None
    base_model_name_or_path: str | None = None


def export_peft(store: ResultStore, text: str, folder: Path, repository: str = "") -> Record:
    """Write a record's prompt as a PEFT adapter with a model card; ``text`` as in ``store.record``.

    With ``repository``, upload it to that hub repository. Raises PromptError if the prompt is not
    one matrix or the upload fails, OutputError if the folder holds other files or is read-only.
    """
    record = store.record(text)
    run = record.run
    if record.training is None:
        reason = f" ({record.error.message})" if record.error else ""
        raise PromptError(f"run {record.id[:12]} has no prompt: it failed{reason}; run it again")
    matrix = store.load_prompt(record.training.prompt).tensors.get(MERGED)
    if matrix is None or not len(matrix):
        reason = "depends on the input" if matrix is None else "has no tokens"
        raise PromptError(
            f"run {record.id[:12]} cannot be exported: the prompt of {run.label} {reason}, "
            "PEFT needs one for all inputs; choose another method"
        )
    files = [CONFIG, WEIGHTS, CARD]
    if others := {path.name for path in folder.glob("*")}.difference(files):
        raise OutputError(f"cannot export to {folder}: it holds {min(others)}; name an empty one")
    matrix = matrix.float().contiguous()
    name, revision = base_model(run.model)
    config: dict[str, Any] = {"peft_type": "PROMPT_TUNING", "task_type": TASK_TYPES[run.model.kind]}
    config |= {"base_model_name_or_path": name, "revision": revision, "inference_mode": True}
    config |= {"num_virtual_tokens": len(matrix), "token_dim": matrix.shape[1]}
    config |= {"num_transformer_submodules": 1, "prompt_tuning_init": "RANDOM"}
    atomic_write(folder / WEIGHTS, safetensors.torch.save({PROMPT: matrix}, {"format": "pt"}))
    atomic_write(folder / CONFIG, (json.dumps(config, indent=1) + "\n").encode())
    atomic_write(folder / CARD, model_card(record, len(matrix), repository).encode())
    if repository:
        with hub_errors(repository) as hub:
            repo_id = hub.create_repo(repository, exist_ok=True, token=True).repo_id
            hub.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=files, token=True)
    return record


@contextmanager
def hub_errors(repository: str) -> Iterator[Any]:
    """Yield the module huggingface_hub; wrong repository ids and hub errors raise PromptError."""
    import huggingface_hub as hub

    hub.utils.disable_progress_bars()
    try:
        hub.utils.validate_repo_id(repository)
        yield hub
    except Exception as error:  # They have no common base class.
        advice = "check its name, the network, HF_HUB_OFFLINE and 'hf auth login'"
        raise PromptError(f"hub repository {repository}: {one_line(error)}; {advice}") from error


def import_prompt(
    store: ResultStore,
    source: str | Path,
    task: str,
    model: str,
    tensor: str | None = None,
    initial: Path | None = None,
    seed: int | None = None,
) -> Record:
    """Import a prompt from a file, adapter folder or the hub; equal prompts have equal ids.

    ``tensor`` is its name in the file; None: ``prompt_embeddings``, or the only matrix that fits.
    DTVG needs the prompt's ``P_init``: the file ``initial``, or the initial prompt of this program
    for ``seed``. ``rows.notes`` of the returned record are caveats on the prompt.
    """
    task = get_task(task).name
    if initial is not None and seed is not None:
        raise ConfigError("--initial and --seed both name the initial prompt: give one")
    info, frozen = describe(model), load(model)
    path, origin = home_path(source), str(source)
    if origin.startswith(HUB):
        name, _, revision = origin.removeprefix(HUB).partition("@")
        files = [CONFIG, WEIGHTS, OLD_WEIGHTS]
        with hub_errors(name) as hub:
            folder = hub.snapshot_download(name, revision=revision or None, allow_patterns=files)
        path, origin = Path(folder), f"{HUB}{name}@{Path(folder).name}"  # Named by commit.
    matrix, notes = _read_prompt(path, info, frozen.width, tensor)
    length = len(matrix)
    start = None if seed is None else frozen.initial_prompt(length, seed)
    if initial is not None:
        start, _ = _read_prompt(initial, info, frozen.width)
        if len(start) != length:
            reason = f"the initial prompt {initial} has {len(start)} tokens, the prompt {length}"
            raise PromptError(f"{reason}: give the one it was trained from")
    stored = _imported(origin, info, task, matrix, notes, start, frozen.parameter_count())
    store.save_prompt(stored.record, stored.tensors)
    return store.load_prompt(stored.record.id).record


def read_given(path: Path, model: ModelBlock, task: str) -> StoredPrompt:
    """Read a prompt file or adapter folder named in a configuration; width is checked later."""
    return _imported(str(path), model, task, *_read_prompt(path, model))


def _imported(
    origin: str,
    model: ModelBlock,
    task: str,
    matrix: Tensor,
    notes: list[str],
    initial: Tensor | None = None,
    parameters: int = 0,
) -> StoredPrompt:
    """Imported prompt with its record; most facts on its training are unknown."""
    digest = tensor_digest(matrix)
    initial_digest = None if initial is None else tensor_digest(initial)
    parts = json.dumps(["imported", model.digest, task, digest, initial_digest])
    prompt_id = hashlib.sha256(parts.encode()).hexdigest()
    kind = "hub" if origin.startswith(HUB) else "local"
    run: dict[str, Any] = {
        "task": task,
        **dict.fromkeys(("method", "label", "preset"), "imported"),
        "settings": {},
        "training": {},
        **dict.fromkeys(("seed", "data_seed"), 0),
        **dict.fromkeys(("shots", "input_length", "validation_rows"), None),
        "model": model.model_copy(update={"parameters": parameters}),
        "data": {"kind": kind, "name": origin, "fingerprint": digest, "revision": None},
        "prompt_length": len(matrix),
        "precision": "float32",
        "versions": dict.fromkeys(("results", "method", "task"), 0),
        "needs": [],
    }
    counts = dict.fromkeys(("steps", "best_step", "best_score", "trainable_parameters"), 0)
    origins = {"initial_digest": initial_digest, "prompt": prompt_id}
    values = {
        "id": prompt_id,
        "status": "finished",
        "run": run,
        "rows": {"train": 0, "validation": 0, "test": 0, "few_shot": None, "notes": notes},
        "training": {**counts, **origins, "stopped_early": False, "curve": []},
        "timing": {"started": now(), "finished": now(), "peak_memory_bytes": 0},
        "provenance": provenance(),
        "prompt": {"form": "prompt", "sha256": digest, "imported": True},
    }
    return StoredPrompt(Record.model_validate(values), {MERGED: matrix})


def _read_prompt(
    path: Path, model: ModelBlock, width: int | None = None, tensor_name: str | None = None
) -> tuple[Tensor, list[str]]:
    """Finite float32 matrix ``(r, d)`` of a file or adapter folder, and notes on it.

    ``width`` and ``tensor_name`` select one tensor of the file; None accepts any.
    """
    file, notes, config = path, [], None
    if path.is_dir():
        config = _read_config(path, model)
        file = path / (WEIGHTS if (path / WEIGHTS).exists() else OLD_WEIGHTS)
        base = config.base_model_name_or_path or model.name
        if Path(base.partition("@")[0]).name != Path(model.name.partition("@")[0]).name:
            notes.append(f"trained on {printable(base)[:60]}, but used with {model.name}")
    tensors = _read_tensors(file)
    fitting = [
        name
        for name, tensor in tensors.items()
        if tensor.dim() == 2 and tensor.is_floating_point() and tensor.numel()
        and width in (None, tensor.shape[1]) and "lora" not in name.lower()
    ]  # fmt: skip
    names = [name for name in fitting if name == (tensor_name or PROMPT)]
    if not names and not tensor_name:
        names = fitting
    if len(names) != 1:
        expected = f"{tensor_name or 'one prompt'}, tokens x {width or 'width'} of a float type"
        reason = f"expected {expected}, and no low-rank pair; it holds {_listed(tensors)}"
        advice = "choose another file or model, or name it by import --tensor"
        raise PromptError(f"prompt file {file}: {reason}; {advice}")
    tensor = tensors.pop(names[0])
    length = len(tensor) if config is None else config.num_virtual_tokens
    if config is not None:  # PEFT allocates the prompt of a T5 twice and uses the first half.
        default = 2 if config.task_type == "SEQ_2_SEQ_LM" else 1
        rows = length * (config.num_transformer_submodules or default)
        if len(tensor) != rows:
            reason = f"its tensor has {len(tensor)} rows, its {CONFIG} states {rows}"
            raise PromptError(f"adapter {path}: {reason}")
    matrix = tensor.detach().to(torch.float32)[:length].clone()
    if not matrix.isfinite().all():
        raise PromptError(
            f"prompt file {file}: {printable(names[0])[:60]} has NaN or infinite values"
        )
    if tensors:
        notes.append(f"the file also holds {_listed(tensors)}; left out")
    if tensor.dtype != torch.float32:
        notes.append(f"converted from {str(tensor.dtype).removeprefix('torch.')}")
    if len(matrix) < len(tensor):
        notes.append("the second of two allocated prompts, which PEFT never uses, left out")
    return matrix, notes


def _read_config(folder: Path, model: ModelBlock) -> AdapterConfig:
    try:
        config = AdapterConfig.model_validate_json(_read_bytes(folder / CONFIG))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(map(str, fault["loc"])) or "JSON"
        reason = f"{key}: {printable(fault['msg'])[:200]}"
        raise PromptError(f"{folder / CONFIG} is not of PEFT prompt tuning: {reason}") from error
    expected = TASK_TYPES[model.kind]
    if config.task_type not in (None, expected):
        raise PromptError(f"adapter {folder} is for {config.task_type}, the model for {expected}")
    return config


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PromptError(f"prompt file {path}: {error.strerror}; check the path") from error
    if len(data) > MAX_FILE_BYTES:
        raise PromptError(f"prompt file {path}: more than {MAX_FILE_BYTES:,} bytes is no prompt")
    return data


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Dense tensors of a file by name; a single unnamed tensor gets the name ``tensor``."""
    if path.exists() and path.suffix.lower() not in SUFFIXES:
        expected = f"expected an adapter folder, or a file {', '.join(SUFFIXES)}"
        raise PromptError(f"prompt {path}: {expected}")
    data = _read_bytes(path)
    try:
        is_safe = path.suffix.lower() == SUFFIXES[0]
        content: Any = safetensors.torch.load(data) if is_safe else _unpickle(data)
    except Exception as error:  # A damaged or hostile file may raise anything.
        raise PromptError(
            f"prompt file {path}: damaged, or holds more than tensors, which is never unpickled "
            f"({printable(one_line(error))[:100]}); save the prompt as .safetensors"
        ) from error
    values = content if isinstance(content, dict) else {"tensor": content}
    return {
        str(name): value
        for name, value in values.items()
        if type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
        and not value.is_quantized and not value.is_nested and value.is_cpu
        and value.numel() * value.element_size() <= len(data)  # Views may expand a few values.
    }  # fmt: skip


def _unpickle(data: bytes) -> Any:
    """Content of a PyTorch file; ValueError if it is compressed, which these files never are."""
    file = io.BytesIO(data)
    parts = zipfile.ZipFile(file).infolist() if zipfile.is_zipfile(file) else []
    if sum(part.file_size for part in parts) > len(data):
        raise ValueError("unpacks to more than its size")
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True)


def _listed(tensors: dict[str, Tensor]) -> str:
    """First tensors with shape and dtype, as one printable line."""
    items = [
        f"{printable(name)[:60]} {'x'.join(map(str, tensor.shape))} {str(tensor.dtype)[6:]}"
        for name, tensor in sorted(tensors.items())
    ]
    if len(items) > 6:
        items[6:] = [f"{len(items) - 6} more"]
    return ", ".join(items) or "no dense tensor"


def base_model(model: ModelBlock) -> tuple[str | None, str | None]:
    """Hub id or folder of the frozen model, and its revision; None if only ``load`` reads it."""
    if model.bundled or model.note.startswith("GGUF"):
        return None, None
    if is_folder_name(model.name):
        return folder_name(str(home_path(model.name))), None
    name, _, revision = model.name.partition("@")
    return name, revision or None


def model_card(record: Record, tokens: int, repository: str = "") -> str:
    """Model card in Markdown, with metadata for the Hugging Face hub."""
    from huggingface_hub import ModelCard, ModelCardData

    name, revision = base_model(record.run.model)
    values = {"record": record, "tokens": tokens, "name": name, "revision": revision}
    values["place"] = repository or "path/to/this/folder"
    template = str(Path(__file__).with_name("model_card.md.jinja"))
    return str(ModelCard.from_template(ModelCardData(), template_path=template, **values))
