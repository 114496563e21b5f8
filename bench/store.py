"""Result folder: records, predictions, prompts, checkpoints and locks.

Records, prompts and checkpoints are written atomically and named
``<task>-<method>-<shots>-<seed>-<id[:12]>``; a SHA-256 in records and prompts detects changes.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from bench.errors import OutputError, PromptError, RecordError
from bench.files import atomic_write
from bench.predictions import Predictions, write_predictions
from bench.record import Record, read_record, write_record

if TYPE_CHECKING:
    from torch import Tensor

    from bench.grid import Run

MERGED = "prompt"  # Tensor name of a merged prompt.
PREFIX = re.compile(r"[0-9a-f]{4,64}")  # The beginning of an id.
ABANDONED = 3600.0  # Age in seconds at which temporary files of killed processes are removed.


@dataclass(frozen=True, eq=False)
class StoredPrompt:
    """A prompt as read from the store or a file: its record and its tensors by name."""

    record: Record
    tensors: Mapping[str, Tensor] = field(repr=False)

    @property
    def prompt_id(self) -> str:
        """Id in the store; for a file, a digest of its content."""
        return self.record.id

    @property
    def task(self) -> str:
        """Task that the prompt was trained on."""
        return self.record.run.task

    @property
    def initial_digest(self) -> str | None:
        """Digest of the prompt's ``P_init``; None if unknown."""
        return None if self.record.training is None else self.record.training.initial_digest

    @property
    def matrix(self) -> Tensor:
        """Merged prompt ``(r, d)``; PromptError if the prompt has no such form."""
        if MERGED not in self.tensors:
            raise PromptError(f"prompt {self.record.id[:12]} is not one matrix; name another one")
        return self.tensors[MERGED]


class ResultStore:
    """Files of a result folder; ``prompts`` is the prompt store (default: ``folder/prompts``)."""

    def __init__(self, folder: Path, prompts: Path | None = None) -> None:
        self.folder, self.records = folder, folder / "records"
        self.checkpoints, self.configs = folder / "checkpoints", folder / "configs"
        self.logs, self.prompts = folder / "logs", prompts or folder / "prompts"
        self.locks = self.prompts / "locks"

    def check_writable(self) -> None:
        """Check that all folders are writable, and remove leftover temporary files."""
        for folder in (self.records, self.prompts, self.checkpoints, self.locks):
            probe = folder / ".writable"
            atomic_write(probe, b"")
            probe.unlink(missing_ok=True)
            for path in folder.glob(".*.tmp"):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > ABANDONED:
                        path.unlink()

    def save_config(self, text: str) -> None:
        """Save a configuration, named by its digest, for ``run --config``."""
        path = self.configs / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
        if not path.exists():
            atomic_write(path, text.encode())

    @contextmanager
    def lock(self, run: Run) -> Iterator[bool]:
        """Hold the lock of a run; yields False if another process holds it."""
        path = self.locks / f"{run.prompt_id}.lock"
        lock = FileLock(path, blocking=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout):  # Held by another process.
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            advice = "choose a folder that is writable and has locks"
            raise OutputError(f"cannot lock {path}: {reason}; {advice}") from error
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def running(self, runs: Iterable[Run]) -> list[Run]:
        """The runs that are locked by any process."""
        locked = []
        for run in runs:
            if (self.locks / f"{run.prompt_id}.lock").exists():
                with self.lock(run) as held:
                    if not held:
                        locked.append(run)
        return locked

    def checkpoint(self, run: Run) -> Path:
        """Path of a run's checkpoint."""
        return self.checkpoints / f"{run.prompt_name}.safetensors"

    def find(self, run: Run) -> Record | None:
        """The record of a run; None if it is missing or damaged."""
        path = self.records / f"{run.name}.json"
        with suppress(RecordError):
            if path.exists() and (record := read_record(path)).id == run.id:
                return record
        return None

    def write(self, record: Record, predictions: Predictions | None = None) -> Record:
        """Write predictions and then their record; replaces earlier files.

        If killed in between, no record exists, so no record has the predictions of another run.
        """
        path = self.records / record.file_name
        _remove(path)
        if predictions is None:
            _remove(path.with_suffix(".jsonl.gz"))
        else:
            block = write_predictions(predictions, path)
            record = record.model_copy(update={"predictions": block})
        write_record(record, path)
        return record

    def record(self, text: str) -> Record:
        """Read the only record with this file name, or whose name or id begins with ``text``."""
        return read_record(_file(self.records, Path(text).name.removesuffix(".json"), "record"))

    def seal(self, run: Run) -> str | None:
        """Seal of a run's stored prompt, new after each training; None if missing or damaged."""
        with suppress(PromptError):
            if stored := self.prompt_of(run):
                return stored.record.seal
        return None

    def save_prompt(self, record: Record, tensors: Mapping[str, Tensor]) -> None:
        """Store a prompt; the record, with the digest of the tensors, is written last."""
        import safetensors.torch

        copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = safetensors.torch.save(copies)
        assert record.prompt is not None
        block = record.prompt.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
        path = self.prompts / record.file_name
        atomic_write(path.with_suffix(".safetensors"), data)
        write_record(record.model_copy(update={"prompt": block}), path)

    def prompt_of(self, run: Run) -> StoredPrompt | None:
        """The prompt of a run; None if it is missing."""
        path = self.prompts / f"{run.prompt_name}.json"
        return _load_prompt(path) if path.exists() else None

    def load_prompt(self, text: str) -> StoredPrompt:
        """Read and check the only prompt whose name or id begins with ``text``."""
        try:
            return _load_prompt(_file(self.prompts, text, "prompt"))
        except RecordError as error:
            raise PromptError(str(error)) from error

    def remove_prompt(self, run: Run) -> None:
        """Delete a prompt, its record first, so that no record exists without its tensors."""
        for suffix in (".json", ".safetensors"):
            _remove(self.prompts / f"{run.prompt_name}{suffix}")


def _file(folder: Path, text: str, kind: str) -> Path:
    """The only JSON file whose name or id begins with ``text``."""
    paths = sorted(folder.glob("*.json"))
    matches = [path for path in paths if text and path.stem.startswith(text)]
    matches = [path for path in matches if path.stem == text] or matches
    if not matches and PREFIX.fullmatch(text):
        matches = [path for path in paths if path.stem.rpartition("-")[2].startswith(text[:12])]
        if len(text) > 12:
            matches = [path for path in matches if read_record(path).id.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(path.stem for path in matches[:3])
        raise RecordError(f"{len(matches)} {kind}s begin with {text!r}: {names}; give more of it")
    prefix = text[:12] if PREFIX.fullmatch(text) else text
    names_by_key = {
        key[:length]: path.stem
        for path in reversed(paths)
        for key in (path.stem, path.stem.rpartition("-")[2])
        for length in (None, len(prefix))
    }
    keys = difflib.get_close_matches(prefix, names_by_key, n=3)
    near = dict.fromkeys(names_by_key[key] for key in keys)
    hint = f"did you mean {' or '.join(near)}?" if near else "give its name or id"
    raise RecordError(f"no {kind} {text!r} in {folder}: {hint}")


def _load_prompt(path: Path) -> StoredPrompt:
    """Read a prompt and check its tensors against the digest in its record."""
    import safetensors.torch

    file = path.with_suffix(".safetensors")
    try:
        record, data = read_record(path), file.read_bytes()
    except (OSError, RecordError) as error:
        raise PromptError(f"{error}: delete {path} and run again, or import it") from error
    if record.prompt is None or hashlib.sha256(data).hexdigest() != record.prompt.sha256:
        raise PromptError(f"prompt {file} is damaged: delete {path} and run again, or import it")
    return StoredPrompt(record, safetensors.torch.load(data))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
