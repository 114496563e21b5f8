"""File helpers: atomic writes, digests, paths, YAML, parquet."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.errors import ConfigError, OutputError, RecordError, one_line

if TYPE_CHECKING:
    import pandas as pd


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; a kill or power cut leaves the old file or the new one.

    Writes a hidden temporary file in the same folder, syncs it to disk, and renames it to ``path``.
    Missing folders are created.
    """
    temporary = path.parent / f".{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = f"{error.strerror or error}; choose a folder that is writable and has space"
        raise OutputError(f"cannot write {path}: {reason}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def home_path(text: str | Path) -> Path:
    """Path with ``~`` expanded; the ``~name`` of an unknown user stays, as in shells."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


class _Loader(yaml.SafeLoader):
    """Loader that refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.MarkedYAMLError(None, None, f"{key.value!r} twice", key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping; ConfigError if the file is missing or not valid."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"configuration {file}: {error.strerror}; check the path") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"configuration {file}: no valid YAML ({reason})") from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"configuration {file}: expected 'key: value' lines")
    return values or {}


def read_trace(file: Path) -> pd.DataFrame:
    """Read a file of ``--log-groups``; RecordError if it is damaged."""
    import pandas as pd

    try:
        trace: pd.DataFrame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise RecordError(f"cannot read {file} ({one_line(error)}): delete it") from error
    return trace
