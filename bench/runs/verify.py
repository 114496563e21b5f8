"""Is a result folder whole: every digest, schema, and prompt that something rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError, PromptError
from bench.predictions import load_predictions
from bench.records import Record, read_record, schema_validator
from bench.runs.results import ResultFolder
from bench.training.checkpoints import CheckpointFile


def verify(place: ResultFolder) -> tuple[dict[str, int], list[str]]:
    """Read every file of a result folder and its prompt store; changes nothing.

    Returns:
        How many files of each kind were read, and one line for each fault, which names its file.
    """
    counts: dict[str, int] = {}
    faults: list[str] = []
    kinds = {
        "records": (_files(place.records, ".json"), _record),
        "prompts": (_files(place.prompts.folder, ".json"), _prompt),
        "checkpoints": (_files(place.checkpoints, ".safetensors"), _checkpoint),
        "notes of runs": (_files(place.configs, ".yaml"), _note),
    }
    for kind, (paths, check) in kinds.items():
        counts[kind] = len(paths)
        for path in paths:
            try:
                faults += check(path, place)
            except BenchError as error:
                faults.append(str(error))
            except OSError as error:
                faults.append(f"cannot read {path}: {error.strerror or error}")
    return counts, faults


def _files(folder: Path, suffix: str) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = folder.iterdir()
    return sorted(p for p in paths if p.suffix == suffix and not p.name.startswith("."))


def _record(path: Path, place: ResultFolder) -> Iterator[str]:
    record = read_record(path)
    fault = next(schema_validator().iter_errors(json.loads(path.read_bytes())), None)
    if fault is not None:
        yield f"record {path} does not follow the schema: {fault.json_path}: {fault.message}"
    if path.name != record.file_name:
        yield f"record {path} is that of another cell, {record.file_name}"
    if record.predictions is not None:
        load_predictions(place.records, record)
    for digest in _rests_on(record):
        if not place.prompts.has(digest):
            yield f"record {path}: prompt {digest} is not in {place.prompts.folder}"


def _rests_on(record: Record) -> list[str]:
    """The prompts behind a finished record, each once."""
    if record.training is None:
        return []
    sources = [source.prompt for source in record.sources or ()]
    return list(dict.fromkeys([record.training.prompt, *record.cell.requires, *sources]))


def _prompt(path: Path, place: ResultFolder) -> Iterator[str]:
    card = place.prompts.load(path.stem).card
    if card.digest != path.stem:
        raise PromptError(f"prompt {path} is that of another training, {card.digest}")
    required = card.training.get("requires", [])
    for digest in required if isinstance(required, list) else []:
        if not place.prompts.has(str(digest)):
            yield f"prompt {path}: it starts from prompt {digest}, which is not there"


def _checkpoint(path: Path, place: ResultFolder) -> Iterator[str]:
    damage = CheckpointFile(path).damage()
    if damage is not None:
        yield damage


def _note(path: Path, place: ResultFolder) -> Iterator[str]:
    if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
        yield f"note {path} is damaged: its name is not the digest of its content"


__all__ = ["verify"]
