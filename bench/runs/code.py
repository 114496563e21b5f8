"""Digests of the code that decides a result, so that records of two code versions never mix."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import bench

PACKAGE = Path(bench.__file__).parent

HARNESS = (
    "protocol.py",
    "seeding.py",
    "data",
    "models",
    "tasks",
    "training",
    "runs/examples.py",
    "runs/jobs.py",
)
"""What below ``bench`` decides results; the samples count as data, and how the tiny model was
pretrained shows in its weights."""

NOT_HARNESS = {PACKAGE / "data" / "samples", PACKAGE / "models" / "pretraining"}


@cache
def harness_digest() -> str:
    """Digest of what leads from rows to a prompt and its scores, as it stands on disk."""
    files = []
    for name in HARNESS:
        path = PACKAGE / name
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return _digest(path for path in files if NOT_HARNESS.isdisjoint(path.parents))


@cache
def method_digest(module: str) -> str:
    """Digest of a method's module and of the modules of its own package that it imports."""
    return _digest(sorted(_with_imports(module, module.partition(".")[0])))


def _with_imports(module: str, package: str) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _source(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            waiting += [name for name in names if name.partition(".")[0] == package]
    return found


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        text = path.read_bytes().replace(b"\r\n", b"\n")
        total.update(path.name.encode() + b"\0" + hashlib.sha256(text).digest())
    return total.hexdigest()
